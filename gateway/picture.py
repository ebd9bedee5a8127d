"""The picture of a conversation: both channels over time, who said what, and how long the caller waited.

Needs the `pictures` extra (matplotlib); everything else of the gateway works without it.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from gateway.audio_file import Samples, read_wav
from gateway.call.record import CallRecord, UtteranceRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CALLER_COLOUR: Final = "#2f6f9f"
AGENT_COLOUR: Final = "#c8662b"
WAIT_COLOUR: Final = "#e9e3d5"
INK: Final = "#33322e"
INCHES_PER_SECOND: Final = 0.42
ENVELOPE_MS: Final = 20
LONGEST_CAPTION: Final = 46


def draw_conversation(recording: Path, record: CallRecord, picture: Path) -> None:
    """Draws a recording (stereo WAV, caller left, agent right) with the turns of its record, as a PNG.

    Raises:
        ModuleNotFoundError: the `pictures` extra is not installed.
        OSError: the recording cannot be read or the picture not written.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    samples, rate_hz = read_wav(recording)
    seconds = len(samples) / rate_hz
    figure, (caller, agent) = plt.subplots(
        2, 1, sharex=True, figsize=(max(9.0, min(40.0, seconds * INCHES_PER_SECOND)), 5.4), layout="constrained"
    )
    _draw_channel(caller, samples[:, 0], rate_hz, CALLER_COLOUR, f"caller {record.caller}")
    _draw_channel(agent, samples[:, 1], rate_hz, AGENT_COLOUR, f"agent {record.agent}")
    for number, utterance in enumerate(record.transcript):
        axes = caller if utterance.speaker == "caller" else agent
        _caption(axes, utterance, level=number % 4 // 2)
    for turn in record.turns:
        if turn.latency_ms is None:
            continue
        begin = (turn.at_ms - (turn.detection_ms or 0) - (turn.response_ms or 0)) / 1000
        end = begin + turn.latency_ms / 1000
        for axes in (caller, agent):
            axes.axvspan(begin, end, color=WAIT_COLOUR, zorder=0)
        agent.annotate(
            f"{turn.latency_ms} ms", ((begin + end) / 2, -1.28), ha="center", va="bottom", fontsize=7.5, color=INK
        )
    agent.set_xlabel("seconds since the answer; shaded: the caller's last word to the agent's first packet")
    caller.set_title(
        f"{record.caller} → {record.dialled}, {record.duration_ms / 1000:.1f} s, ended: {record.end.reason}",
        loc="left",
        fontsize=10,
        color=INK,
    )
    figure.savefig(picture, dpi=130)
    plt.close(figure)


def _draw_channel(axes: "Axes", samples: Samples, rate_hz: int, colour: str, label: str) -> None:
    low, high = _envelope(samples, rate_hz)
    time = np.arange(len(low)) * ENVELOPE_MS / 1000
    axes.fill_between(time, low, high, color=colour, linewidth=0.4, edgecolor=colour)
    axes.set_ylim(-1.3, 1.75)
    axes.set_xlim(0, max(1.0, len(samples) / rate_hz))
    axes.set_yticks([])
    axes.set_ylabel(label, color=colour)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _envelope(samples: Samples, rate_hz: int) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and highest sample of every 20 ms, as shares of the loudest sample of the channel."""
    step = rate_hz * ENVELOPE_MS // 1000
    blocks = samples[: len(samples) // step * step].astype(np.float64).reshape(-1, step)
    if not len(blocks):
        return np.zeros(1), np.zeros(1)
    peak = max(1.0, float(np.abs(blocks).max()))
    return blocks.min(axis=1) / peak, blocks.max(axis=1) / peak


def _caption(axes: "Axes", utterance: UtteranceRecord, *, level: int) -> None:
    text = utterance.text if utterance.heard_text is None else utterance.heard_text
    if len(text) > LONGEST_CAPTION:
        text = text[:LONGEST_CAPTION].rpartition(" ")[0] + " …"
    if utterance.interrupted:
        text += " ⨯"
    axes.annotate(
        text,
        (utterance.at_ms / 1000, 1.12 + 0.3 * level),
        fontsize=8,
        color=INK,
        va="bottom",
        annotation_clip=True,
    )
