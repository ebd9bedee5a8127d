"""The house's walls (docs/architecture.md): who may import whom, and who may touch the outside world."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SIP_MAY_IMPORT = {"sip", "dns"}
RTP_MAY_IMPORT = {"rtp", "numpy", "av", "soxr", "pylibsrtp", "aiortc"}
OUTSIDE_WORLD = {"asyncio", "socket", "ssl", "select", "selectors"}
NONDETERMINISM = {"time", "random", "secrets", "uuid"}
SIP_EDGE = ("sip/transport/",)
RTP_EDGE = ("rtp/clock.py", "rtp/datagram.py", "rtp/socket.py")


def imports(path: Path) -> Iterator[str]:
    """Yields the top-level name of every module that the file imports."""
    for node in ast.walk(ast.parse(path.read_text(), filename=str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute in this house"
            assert node.module is not None
            yield node.module.split(".")[0]


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def is_third_party_or_ours(name: str) -> bool:
    import sys

    return name not in sys.stdlib_module_names


@pytest.mark.parametrize(("package", "allowed"), [("sip", SIP_MAY_IMPORT), ("rtp", RTP_MAY_IMPORT)])
def test_package_imports_only_what_the_design_allows(package: str, allowed: set[str]) -> None:
    assert modules(package), f"{package} has no modules"
    offences = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(package)
        for name in imports(path)
        if is_third_party_or_ours(name) and name not in allowed
    ]
    assert offences == []


@pytest.mark.parametrize(("package", "edge"), [("sip", SIP_EDGE), ("rtp", RTP_EDGE)])
def test_cores_are_sans_io(package: str, edge: tuple[str, ...]) -> None:
    offences = [
        f"{relative} imports {name}"
        for path in modules(package)
        if not (relative := str(path.relative_to(ROOT))).startswith(edge)
        for name in imports(path)
        if name in OUTSIDE_WORLD | NONDETERMINISM
    ]
    assert offences == []


def test_call_knows_nothing_of_json_and_backends_know_nothing_of_sip() -> None:
    offences = [
        f"{path.relative_to(ROOT)} imports {name}"
        for folder, banned in (("gateway/realtime", {"sip", "rtp"}), ("gateway/backends", {"sip", "rtp"}))
        for path in modules(folder)
        for name in imports(path)
        if name in banned
    ]
    assert offences == []
