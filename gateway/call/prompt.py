"""Stored words: what a caller hears when there is no model to speak."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.audio_file import Samples, read_audio
from gateway.config.agent import AgentSettings, PromptSettings
from gateway.realtime.capability import AudioFormat
from rtp.codec.g711 import encode_alaw, encode_ulaw

_FOLDER: Final = Path(__file__).parent / "prompts"


@dataclass(frozen=True, slots=True)
class Prompt:
    """Words and their sound in every format that a session may speak."""

    words: str
    audio: Mapping[AudioFormat, bytes]


@dataclass(frozen=True, slots=True)
class Prompts:
    """What an agent's callers hear: `filler` while another model is sought, `apology` when there is none, `waiting`
    while a model that is there does not answer.
    """

    filler: Prompt | None = None
    apology: Prompt | None = None
    waiting: Prompt | None = None


def load_prompt(path: Path, words: str) -> Prompt:
    """Reads a prompt. Raises AudioFileError."""
    return Prompt(words, {audio: _encode(read_audio(path, audio.sample_rate_hz), audio) for audio in AudioFormat})


def load_prompts(agent: AgentSettings) -> Prompts:
    """The prompts of an agent, its own or those that come with the gateway. Raises AudioFileError."""
    loss, waiting = agent.model_loss, agent.dead_air.filler
    filler = _own_or(loss.filler, FILLER)
    return Prompts(
        filler,
        _own_or(loss.apology, APOLOGIES[loss.fallback.type]),
        filler if waiting is None else load_prompt(waiting.file, waiting.words),
    )


def _own_or(settings: PromptSettings | None, bundled: tuple[str, str]) -> Prompt:
    if settings is not None:
        return load_prompt(settings.file, settings.words)
    name, words = bundled
    return load_prompt(_FOLDER / name, words)


def _encode(samples: Samples, audio: AudioFormat) -> bytes:
    match audio:
        case AudioFormat.PCMU:
            return encode_ulaw(samples)
        case AudioFormat.PCMA:
            return encode_alaw(samples)
        case AudioFormat.PCM16_16K | AudioFormat.PCM16_24K:
            return samples.astype("<i2").tobytes()


FILLER: Final = ("filler.wav", "One moment, please.")
# By what follows it.
APOLOGIES: Final[Mapping[str, tuple[str, str]]] = {
    "hang_up": ("apology.wav", "I am sorry, we have a technical problem. Please call again later. Goodbye."),
    "transfer": (
        "apology_transfer.wav",
        "I am sorry, we have a technical problem. One moment please, I am connecting you with somebody else.",
    ),
    "voicemail": (
        "apology_voicemail.wav",
        "I am sorry, we have a technical problem. Please leave a message after the tone.",
    ),
}
