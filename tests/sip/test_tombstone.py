"""The short memory of ended dialogs."""

import pytest

from sip import tombstone
from sip.dialog import DialogId
from sip.tombstone import Tombstones

ID = DialogId("call", "ours", "theirs")


def test_an_ended_dialog_is_remembered_for_its_lifetime() -> None:
    stones = Tombstones(32.0)
    stones.add(ID, 1.0)
    assert stones.holds(ID, 32.9)
    assert not stones.holds(ID, 33.0)
    assert len(stones) == 0


def test_the_oldest_is_forgotten_beyond_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tombstone, "TOMBSTONE_LIMIT", 3)
    stones = Tombstones(32.0)
    for number in range(5):
        stones.add(DialogId(f"call-{number}", "a", "b"), 1.0)
    assert len(stones) == 3
    assert not stones.holds(DialogId("call-0", "a", "b"), 2.0)
    assert stones.holds(DialogId("call-4", "a", "b"), 2.0)
