"""What a benchmark has measured, beside the bar that it should meet: a table to read, and a file to keep."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Measure:
    """One line of the table."""

    what: str
    bar: str
    measured: str
    is_met: bool | None  # None: told for information, no bar stands on it


def at_most(what: str, value: float, bar: float, unit: str) -> Measure:
    """A measure that must not exceed its bar."""
    return Measure(what, f"≤ {bar:g} {unit}", f"{value:.1f} {unit}", value <= bar)


def exactly(what: str, value: int, bar: int = 0) -> Measure:
    """A count that must be as it should."""
    return Measure(what, str(bar), str(value), value == bar)


def told(what: str, value: str) -> Measure:
    """A figure on which no bar stands."""
    return Measure(what, "", value, None)


def show(measures: Sequence[Measure], title: str) -> None:
    """Prints the table."""
    table = Table(title=title)
    for heading in ("what", "bar", "measured", "verdict"):
        table.add_column(heading)
    verdicts = {True: "[green]met[/]", False: "[red]missed[/]", None: ""}
    for measure in measures:
        table.add_row(measure.what, measure.bar, measure.measured, verdicts[measure.is_met])
    Console().print(table)


def keep(measures: Iterable[Measure], folder: Path) -> None:
    """Leaves the figures as JSON."""
    (folder / "figures.json").write_text(json.dumps([asdict(measure) for measure in measures], indent=2))


def exit_code(measures: Iterable[Measure]) -> int:
    """1 where a bar is missed."""
    return int(any(measure.is_met is False for measure in measures))
