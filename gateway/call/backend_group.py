"""Backends that can follow one another within a call, because they speak the same audio formats."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from gateway.realtime.capability import RealtimeCapabilities
from gateway.realtime.session import RealtimeBackend


@dataclass(frozen=True, slots=True)
class BackendGroup:
    """Backends in the agent's order; `capabilities` are the first one's with the formats that all of them share."""

    backends: tuple[RealtimeBackend, ...]
    capabilities: RealtimeCapabilities


def group_backends(backends: Iterable[RealtimeBackend]) -> Sequence[BackendGroup]:
    """Puts each backend into the first group that it shares formats with.

    A leg's converters are made for one pair of formats when the call is answered. So a backend of another group can
    take a call that the first group refuses, and cannot take over from it in mid-call.
    """
    groups: list[BackendGroup] = []
    for backend in backends:
        for index, group in enumerate(groups):
            shared = _shared(group.capabilities, backend.capabilities)
            if shared.input_formats and shared.output_formats:
                groups[index] = BackendGroup((*group.backends, backend), shared)
                break
        else:
            groups.append(BackendGroup((backend,), backend.capabilities))
    return groups


def _shared(ours: RealtimeCapabilities, theirs: RealtimeCapabilities) -> RealtimeCapabilities:
    return replace(
        ours,
        input_formats=tuple(audio for audio in ours.input_formats if audio in theirs.input_formats),
        output_formats=tuple(audio for audio in ours.output_formats if audio in theirs.output_formats),
    )
