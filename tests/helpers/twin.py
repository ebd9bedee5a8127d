"""What is compiled, held to what it means in Python: that runs in a process of its own, for imports choose."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

_ROOT: Final = Path(__file__).parents[2]


class Fuzz(Protocol):
    """A module of seeded chance that prints its digests: tests.helpers.stream_fuzz and tests.helpers.session_fuzz."""

    __name__: str

    def digest(self, seed: int, /) -> str:
        """All that happens under this seed, in short."""


def interpreted(*arguments: str) -> str:
    """What a Python that is started with these arguments, and without what was compiled, writes to its output."""
    environment = {**os.environ, "TRUNKLINE_FAST": "off"}
    run = subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=_ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    return run.stdout


def differing_seeds(fuzz: Fuzz, seeds: Sequence[int]) -> list[int]:
    """Under which seeds what runs here does anything else than what is interpreted."""
    digests = interpreted("-m", fuzz.__name__, *map(str, seeds)).split()
    return [seed for seed, digest in zip(seeds, digests, strict=True) if fuzz.digest(seed) != digest]
