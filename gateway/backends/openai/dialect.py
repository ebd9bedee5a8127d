"""How the servers of the OpenAI Realtime protocol differ, as values."""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from gateway.realtime.capability import AudioFormat, RealtimeCapabilities

_G711: Final = (AudioFormat.PCMU, AudioFormat.PCMA)


class SessionShape(Enum):
    """The form of the `session` object."""

    GA = "ga"
    """Nested: `audio.input.format` and so on."""
    BETA = "beta"
    """Flat: `input_audio_format` and so on, as before May 2026; many compatible servers still take nothing else."""


# An idle session costs nothing where tokens are charged, and lives for an hour; two minutes leave nearly all of it.
# What xAI charges for a session that waits is not known, so there it does not wait.
REST_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Dialect:
    """One family of servers.

    `announces`: the server speaks first (`session.created`), and the settings wait for it. `confirms`: it answers the
    settings (`session.updated`). `echoes_event_ids`: its errors name the event they are about.
    """

    name: str
    capabilities: RealtimeCapabilities
    shape: SessionShape = SessionShape.GA
    api_key_header: str | None = None
    announces: bool = True
    confirms: bool = True
    takes_semantic_vad: bool = True
    takes_truncation: bool = True


OPENAI: Final = Dialect(
    name="openai",
    capabilities=RealtimeCapabilities(
        input_formats=(*_G711, AudioFormat.PCM16_24K),
        output_formats=(*_G711, AudioFormat.PCM16_24K),
        session_limit_s=3600.0,
        rest_s=REST_SECONDS,
        answers_aside=True,
    ),
)
# Azure's 2.x deployments refuse the `truncation` property, and take the key in a header of its own.
AZURE: Final = Dialect(name="azure", capabilities=OPENAI.capabilities, api_key_header="api-key", takes_truncation=False)
# xAI knows server_vad or nothing, and may begin with conversation.created.
XAI: Final = Dialect(
    name="xai",
    capabilities=RealtimeCapabilities(
        input_formats=(*_G711, AudioFormat.PCM16_24K, AudioFormat.PCM16_16K),
        output_formats=(*_G711, AudioFormat.PCM16_24K, AudioFormat.PCM16_16K),
        session_limit_s=3600.0,
    ),
    takes_semantic_vad=False,
    takes_truncation=False,
)
# Nothing more is known of these than that they speak as the beta did. G.711 is theirs by name, not always in fact.
BETA: Final = Dialect(
    name="beta",
    capabilities=RealtimeCapabilities(
        input_formats=(AudioFormat.PCM16_24K, *_G711),
        output_formats=(AudioFormat.PCM16_24K, *_G711),
        rest_s=REST_SECONDS,
    ),
    shape=SessionShape.BETA,
    takes_semantic_vad=False,
    takes_truncation=False,
)
# GA words, without what only OpenAI's own models take.
COMPATIBLE: Final = Dialect(
    name="compatible",
    capabilities=replace(OPENAI.capabilities, answers_aside=False),
    takes_semantic_vad=False,
    takes_truncation=False,
)

DIALECTS: Final = {dialect.name: dialect for dialect in (OPENAI, AZURE, XAI, BETA, COMPATIBLE)}
