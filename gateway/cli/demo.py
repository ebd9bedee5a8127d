"""`trunkline demo`: hear a conversation happen, with no account and no phone."""

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console

from gateway.errors import GatewayError


def run(directory: Path | None) -> int:
    """Plays the demo into a folder and says what it left there.

    Returns:
        0 where both sides understood every line, 1 where they did not or the demo could not be played.
    """
    console = Console(highlight=False, soft_wrap=True)
    try:
        from gateway.demo.performance import perform
        from gateway.picture import draw_conversation
    except ModuleNotFoundError as error:
        print(f"The demo needs {error.name}: pip install 'trunkline[embedded,pictures]'", file=sys.stderr)
        return 1
    folder = directory or Path(f"demo-{datetime.now():%Y%m%d-%H%M%S}")
    folder.mkdir(parents=True, exist_ok=True)
    console.print("Starting the gateway with the embedded model server, and placing a SIP call to it …")
    try:
        performance = uvloop.run(perform(folder.resolve(), Narrator(console).narrate))
    except (GatewayError, TimeoutError, OSError) as error:
        console.print(f"The demo failed: {error}", style="bold red", markup=False)
        return 1
    picture = folder / "conversation.png"
    draw_conversation(performance.recording_path, performance.record, picture)
    media = performance.record.media
    console.print()
    for check in performance.checks:
        mark = "[green]understood[/]" if check.is_good else "[bold red]not understood[/]"
        console.print(f"  {mark} by the {check.listener}: ", end="")
        console.print(check.said, markup=False)
        if not check.is_good:
            console.print(f"    what arrived: {check.understood or 'nothing'}", markup=False)
    if media is not None:
        console.print(
            f"\n{performance.record.duration_ms / 1000:.1f} s of {media.codec}, {media.packets_rx} packets received, "
            f"{media.lost} lost, {media.packets_tx} sent"
        )
    console.print(f"\nIn [bold]{folder}/[/]:")
    for name, what in (
        (performance.recording_path.name, "the recording: caller left, agent right"),
        (picture.name, "its picture, with the turns marked"),
        (performance.record_path.name, "the call record"),
        (performance.captured_path.name, "what the caller's telephone heard"),
        ("gateway.yaml", "the configuration that it ran with"),
        ("gateway.log", "the gateway's log"),
    ):
        console.print(f"  {name:28} {what}", markup=False)
    return 0 if performance.is_good else 1


class Narrator:
    """Prints the conversation as it happens, from the gateway's log."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._latency_ms: int | None = None

    def narrate(self, event: dict[str, Any]) -> None:
        """Takes one log entry."""
        match event.get("event"):
            case "answered":
                self._console.print(f"\n  answered {event['set_up_ms']} ms after the INVITE\n")
            case "turn":
                self._latency_ms = event["latency_ms"]
            case "said" if event["speaker"] == "caller":
                self._console.print(f"  [bold blue]caller[/]  {_plain(event['text'])}")
            case "said":
                waited = (
                    "" if self._latency_ms is None else f"  [dim]{self._latency_ms} ms after the caller's last word[/]"
                )
                self._latency_ms = None
                self._console.print(f"  [bold yellow]agent[/]   {_plain(event['text'])}{waited}")
            case "interrupted":
                heard = event["heard_ms"] / 1000
                self._console.print(f"          [dim]the caller speaks over the agent after {heard:.1f} s of it[/]")
            case "ended":
                self._console.print(f"\n  call ended: {event['reason'].replace('_', ' ')}")
            case _:
                pass


def _plain(text: str) -> str:
    return text.replace("[", r"\[")
