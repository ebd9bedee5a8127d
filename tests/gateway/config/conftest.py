"""Configurations as text, and what is found in them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from gateway.config.load import Inspection, inspect

Inspect = Callable[..., Inspection]

MINIMAL = """\
trunks:
  pbx:
    allow: [192.0.2.0/24]
    numbers: {"*": reception}
agents:
  reception:
    backends: [model]
    instructions: Be brief.
backends:
  model: {type: embedded}
"""


@pytest.fixture
def minimal() -> str:
    """The smallest configuration that is fine."""
    return MINIMAL


@pytest.fixture
def inspect_text(tmp_path: Path) -> Inspect:
    """Writes the text as gateway.yaml and inspects it."""

    def inspect_text(
        text: str, environ: Mapping[str, str] | None = None, ephemeral_ports: tuple[int, int] | None = None
    ) -> Inspection:
        file = tmp_path / "gateway.yaml"
        file.write_text(dedent(text))
        return inspect(file, environ or {}, ephemeral_ports=ephemeral_ports)

    return inspect_text
