"""The one ordered list of deadlines."""

from sip.agenda import COMPACTION_FLOOR, Agenda


class Alarm:
    def __init__(self, at: float | None, again: float | None = None) -> None:
        self.at = at
        self.again = again
        self.rang: list[float] = []

    def next_timer(self) -> float | None:
        return self.at

    def handle_timer(self, now: float) -> None:
        self.rang.append(now)
        self.at, self.again = self.again, None


def test_items_ring_in_order_and_once() -> None:
    agenda = Agenda()
    early, late = Alarm(1.0), Alarm(2.0)
    agenda.update(late)
    agenda.update(early)
    assert agenda.next_timer() == 1.0
    agenda.handle_timer(1.5)
    assert (early.rang, late.rang) == ([1.5], [])
    agenda.handle_timer(9.0)
    assert (early.rang, late.rang) == ([1.5], [9.0])
    assert agenda.next_timer() is None


def test_a_deadline_moved_later_is_looked_at_early_and_kept() -> None:
    agenda = Agenda()
    alarm = Alarm(1.0)
    agenda.update(alarm)
    alarm.at = 5.0
    agenda.update(alarm)
    assert agenda.next_timer() == 1.0  # sometimes early
    agenda.handle_timer(1.0)
    assert alarm.rang == []
    assert agenda.next_timer() == 5.0


def test_a_deadline_moved_earlier_rings_then_and_not_again() -> None:
    agenda = Agenda()
    alarm = Alarm(5.0)
    agenda.update(alarm)
    alarm.at = 1.0
    agenda.update(alarm)
    agenda.handle_timer(1.0)
    agenda.handle_timer(6.0)
    assert alarm.rang == [1.0]
    assert len(agenda) == 0


def test_a_withdrawn_deadline_never_rings() -> None:
    agenda = Agenda()
    alarm = Alarm(1.0)
    agenda.update(alarm)
    alarm.at = None
    agenda.update(alarm)
    agenda.update(alarm)
    assert agenda.next_timer() is None
    agenda.handle_timer(2.0)
    assert alarm.rang == []


def test_what_is_armed_for_the_present_rings_in_the_same_turn() -> None:
    agenda = Agenda()
    alarm = Alarm(1.0, again=1.0)
    agenda.update(alarm)
    agenda.handle_timer(1.0)
    assert alarm.rang == [1.0, 1.0]


def test_withdrawn_entries_do_not_pile_up() -> None:
    agenda = Agenda()
    for number in range(20 * COMPACTION_FLOOR):
        alarm = Alarm(1000.0 + number)
        agenda.update(alarm)
        alarm.at = None
        agenda.update(alarm)
    assert len(agenda._heap) <= COMPACTION_FLOOR + 1
