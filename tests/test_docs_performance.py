"""docs/performance.md repeats figures of docs/sound-quality.md: a new measurement changes both."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def rows(page: str) -> list[list[str]]:
    lines = (DOCS / page).read_text().splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


def test_the_scores_are_those_of_the_page_that_the_benchmark_made() -> None:
    measured = {
        (codec, loss): f"{plain} → {concealed}"
        for codec, loss, jitter, _, plain, concealed, *_ in (row for row in rows("sound-quality.md") if len(row) == 8)
        if jitter == "30 ms" and re.fullmatch(r"\d%", loss)
    }
    codecs = ("PCMU", "G.722", "Opus")
    told = {
        (codec, loss): score
        for loss, *scores in rows("performance.md")
        if re.fullmatch(r"\d%", loss)
        for codec, score in zip(codecs, scores, strict=True)
    }
    assert {loss for _, loss in told} == {"0%", "1%", "3%", "5%"}
    assert told == measured
