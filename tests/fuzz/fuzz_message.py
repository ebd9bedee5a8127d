"""A coverage-guided fuzzer for the SIP parser, to be left running: what must hold is in tests/helpers/sip_oracle.py.

    pip install atheris
    python tests/fuzz/fuzz_message.py [-max_total_time=3600] [-jobs=2] [folder of a corpus to keep]

Without a folder it starts from the vectors each time and keeps nothing. A message that costs more than 50 ms (with the
fuzzer's instrumentation, which slows Python some ten times) is reported as a fault too.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

with atheris.instrument_imports(include=["sip"]):
    from tests.helpers.sip_oracle import check_message, check_stream
    from tests.helpers.vector import sip_samples

COST_LIMIT_S: Final = 0.05


def test_one_input(data: bytes) -> None:
    """The first byte says where the stream is cut; the rest is the message."""
    message = data[1:]
    began = time.process_time()
    check_message(message)
    cost = time.process_time() - began
    assert cost < COST_LIMIT_S, f"{len(message)} bytes took {cost * 1000:.1f} ms"
    check_stream(message, len(message) * (data[0] if data else 0) // 256)


def write_samples(folder: Path) -> None:
    """The vectors as files, from which the fuzzer begins."""
    for number, sample in enumerate(sip_samples()):
        (folder / f"vector-{number}").write_bytes(b"\x80" + sample)


def main() -> None:
    """Runs until it finds something or is stopped."""
    with tempfile.TemporaryDirectory() as folder:
        write_samples(Path(folder))
        atheris.Setup([*sys.argv, folder, "-max_len=66000", f"-dict={ROOT / 'tests/fuzz/sip.dict'}"], test_one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
