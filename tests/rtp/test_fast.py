"""The compiled paths do what those in Python do, bit for bit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rtp import fast
from tests.helpers.stream_fuzz import diary, digest

SEEDS = range(24)


@pytest.mark.skipif(not fast.is_compiled, reason="nothing was compiled here: there is one implementation")
def test_compiled_and_interpreted_streams_tell_send_and_count_the_same_whatever_happens() -> None:
    interpreted = subprocess.run(
        [sys.executable, "-m", "tests.helpers.stream_fuzz", *map(str, SEEDS)],
        env={**os.environ, "TRUNKLINE_FAST": "off"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert [digest(seed) for seed in SEEDS] == interpreted


def test_the_fuzz_reaches_what_is_regular_and_what_is_not() -> None:
    lines = [line for seed in range(6) for line in diary(seed)]
    kinds = {line.split(" ", 1)[0] for line in lines}
    assert {"audio", "digit", "sent", "started", "finished", "drained", "turn"} <= kinds
    assert sum(line.startswith("audio") and line.endswith("False") for line in lines) > 1000
    assert sum(line.startswith("audio") and line.endswith("True") for line in lines) > 100


def test_paths_can_be_had_without_a_compiler() -> None:
    code = "from rtp import fast; from rtp.path import InboundPath; print(fast.InboundPath is InboundPath)"
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TRUNKLINE_FAST": "off"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "True"
