"""Hearing and speaking in one thread, since neither package may be used by two, and the server's loop must not wait."""

import asyncio
import functools
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self, TypeVar

from gateway.embedded.audio import Samples, WireFormat
from gateway.embedded.ear import Ear
from gateway.embedded.voice import Voice

T = TypeVar("T")
# Sentences kept as they go over the wire, some 40 kB each.
_CACHED_SENTENCES: Final = 256


class SpeechWorker:
    """Owns the ear and the voice. Work is done in the order that it comes; what was said before is said at once."""

    def __init__(self, phrases: Iterable[str]) -> None:
        self._phrases = tuple(phrases)
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="speech")
        self._ear: Ear | None = None
        self._voice: Voice | None = None
        self._spoken: OrderedDict[tuple[str, WireFormat], bytes] = OrderedDict()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def prepare(self, sentences: Iterable[str]) -> None:
        """Loads both models and speaks these sentences ahead, so that the first call does not wait for them."""
        await self._run(self._load)
        for sentence in sentences:
            await self.speak(sentence, WireFormat.PCMU)

    async def recognise(self, samples: Samples, rate_hz: int) -> str | None:
        """The phrase that was said, or None."""
        return await self._run(functools.partial(self._recognise, samples, rate_hz))

    async def speak(self, text: str, wire_format: WireFormat) -> bytes:
        """The text as audio."""
        key = (text, wire_format)
        audio = self._spoken.get(key)
        if audio is None:
            audio = await self._run(functools.partial(self._speak, text, wire_format))
            self._spoken[key] = audio
            if len(self._spoken) > _CACHED_SENTENCES:
                self._spoken.popitem(last=False)
        return audio

    async def _run(self, task: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, task)

    def _load(self) -> tuple[Ear, Voice]:
        if self._ear is None or self._voice is None:
            self._ear, self._voice = Ear(self._phrases), Voice()
        return self._ear, self._voice

    def _recognise(self, samples: Samples, rate_hz: int) -> str | None:
        recognition = self._load()[0].recognise(samples, rate_hz)
        return None if recognition is None else recognition.text

    def _speak(self, text: str, wire_format: WireFormat) -> bytes:
        voice = self._load()[1]
        return wire_format.encode(voice.speak(text), voice.rate_hz)
