"""What docs/reliability.md says of a model's faults is held by tests that exist, and no fault is left out."""

import re
from pathlib import Path
from typing import get_args

from gateway.embedded.fault import Fault

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "reliability.md").read_text()
SECTION = PAGE.partition("## When a model fails")[2].partition("\n## ")[0]


def test_every_kind_of_fault_is_in_the_table() -> None:
    kinds = {get_args(fault.model_fields["kind"].annotation)[0] for fault in get_args(Fault)}
    named = {kind for line in SECTION.splitlines() if line.startswith("| `") for kind in re.findall(r"`(\w+)`", line)}
    assert len(kinds) > 15
    assert kinds - named == set()


def test_every_test_that_is_named_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", SECTION))
    defined = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)\(", path.read_text())
    }
    assert len(named) > 15
    assert named - defined == set()
