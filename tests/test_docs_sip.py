"""docs/sip.md names a test for everything that it says is supported: each of them exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", (ROOT / "docs" / "sip.md").read_text())


def test_every_row_names_a_test() -> None:
    rows = [line for line in (ROOT / "docs" / "sip.md").read_text().splitlines() if line.startswith("|")][2:]
    assert len(rows) == len(NAMED) > 0


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_named_test_exists(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text())
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert name in functions
