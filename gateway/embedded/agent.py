"""The mode `agent`: listens by voice activity, understands by the script, speaks and calls tools."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from gateway.embedded import client_event as c
from gateway.embedded.activity import ActivityDetector, Edge, SpeechProbability
from gateway.embedded.audio import Samples
from gateway.embedded.brain import Brain, FunctionCall, Reply, quoted_words
from gateway.embedded.client_event import ClientEventError
from gateway.embedded.conversation import Item
from gateway.embedded.response import CancelReason, Hearing, Pause, Response, Steps, Synthesis
from gateway.embedded.script import Meaning, Script
from gateway.embedded.session import HearingWork, Session, Work, decode_audio

# What is kept of a turn, or of audio that nobody commits. The oldest goes first.
_LONGEST_TURN_S: Final = 60
# The service refuses to commit less.
_SHORTEST_COMMIT_MS: Final = 100
# Sound from before the detected start that is kept in any case, since detection takes two windows.
_DETECTION_MS: Final = 200


@dataclass(frozen=True, slots=True)
class Pace:
    """How speech is sent: deltas of `delta_ms`, `speed` times faster than real time (0: all at once).

    `thinking_ms` passes before a response's first word, as a model would take it.
    """

    delta_ms: int = 100
    speed: float = 10.0
    thinking_ms: int = 0

    @property
    def interval_s(self) -> float:
        """Time from delta to delta."""
        return self.delta_ms / 1000 / self.speed if self.speed else 0.0


class AgentSession(Session):
    """A session with ears, a script and a voice."""

    def __init__(
        self, model: str, *, script: Script, pace: Pace, probability: Callable[[], SpeechProbability], **session: Any
    ) -> None:
        super().__init__(model, **session)
        self._brain = Brain(script)
        self._pace = pace
        self._new_probability = probability
        self._input: list[Samples] = []
        self._input_samples = 0
        self._rate_hz = self.state.input_format.rate_hz
        self._appended_samples = 0
        self._detector: ActivityDetector | None = None
        self._turn_item_id: str | None = None
        self._turn_start_ms = 0
        self._heard: dict[str, str | None] = {}
        self._hearing: set[str] = set()
        self._unanswered: str | None = None
        self._calls: dict[str, Meaning | None] = {}
        self._results: list[Item] = []
        self._user_audio_ms = 0
        self._idle_due: float | None = None
        self._settings_key: object = None

    # Listening.

    def _settings_changed(self, now: float) -> None:
        key = (self.state.activity, self.state.input_format)
        if key == self._settings_key:
            return
        self._settings_key = key
        appended_ms = self._appended_ms
        self._rate_hz = self.state.input_format.rate_hz
        self._appended_samples = appended_ms * self._rate_hz // 1000
        self._clear()

    def _clear(self) -> None:
        self._input, self._input_samples = [], 0
        self._turn_item_id = None
        # Made anew with the next audio: it costs two milliseconds, and many sessions are configured before they hear.
        self._detector = None

    @property
    def _appended_ms(self) -> int:
        return self._appended_samples * 1000 // self._rate_hz

    def _append(self, audio: bytes, now: float) -> None:
        samples = self.state.input_format.decode(decode_audio(audio))
        if not len(samples):
            return
        activity = self.state.activity
        if self._detector is None and activity is not None:
            self._detector = ActivityDetector(activity, self._rate_hz, self._new_probability(), self._appended_ms)
        self._input.append(samples)
        self._input_samples += len(samples)
        self._appended_samples += len(samples)
        if self._detector is None:
            self._forget_before(_LONGEST_TURN_S * 1000)
            return
        for change in self._detector.append(samples):
            if change.edge is Edge.STARTED:
                self._speech_started(change.audio_ms)
            else:
                self._speech_stopped(change.audio_ms, now)
        padding_ms = activity.prefix_padding_ms if activity else 0
        self._forget_before(_LONGEST_TURN_S * 1000 if self._turn_item_id else padding_ms + _DETECTION_MS)

    def _forget_before(self, keep_ms: int) -> None:
        keep = keep_ms * self._rate_hz // 1000
        while self._input and self._input_samples - len(self._input[0]) >= keep:
            self._input_samples -= len(self._input.pop(0))

    def _speech_started(self, audio_ms: int) -> None:
        self._turn_item_id = self._new_id("item")
        self._turn_start_ms = audio_ms
        self._idle_due = None
        self._emit("input_audio_buffer.speech_started", audio_start_ms=audio_ms, item_id=self._turn_item_id)
        if self.state.interrupt_response and (active := self._active) is not None:
            self._interrupt(active, CancelReason.TURN_DETECTED)

    def _speech_stopped(self, audio_ms: int, now: float) -> None:
        item_id = self._turn_item_id or self._new_id("item")
        self._emit("input_audio_buffer.speech_stopped", audio_end_ms=audio_ms, item_id=item_id)
        self._commit_item(item_id)
        if self.state.create_response and self._active is None:
            self._create_response(c.ResponsePart(), now)

    def _commit(self, now: float) -> None:
        buffered_ms = self._input_samples * 1000 // self._rate_hz
        if buffered_ms < _SHORTEST_COMMIT_MS:
            message = (
                "Error committing input audio buffer: buffer too small. Expected at least "
                f"{_SHORTEST_COMMIT_MS}ms of audio, but buffer only has {buffered_ms}ms of audio."
            )
            raise ClientEventError("input_audio_buffer_commit_empty", message)
        self._commit_item(self._turn_item_id or self._new_id("item"))

    def _commit_item(self, item_id: str) -> None:
        """The buffer becomes an item of the caller, which is listened to by the worker."""
        speech = np.concatenate(self._input) if self._input else np.zeros(0, dtype=np.int16)
        if self._turn_item_id is not None:
            kept_ms = max(self._appended_ms - self._turn_start_ms, 0)
            speech = speech[-max(kept_ms * self._rate_hz // 1000, 1) :]
        self._input, self._input_samples, self._turn_item_id = [], 0, None
        item = Item(item_id, "message", role="user", content=[{"type": "input_audio", "transcript": None}])
        item.audio += self.state.input_format.encode(speech, self._rate_hz)
        item.duration_ms = len(speech) * 1000 // self._rate_hz
        self._user_audio_ms += item.duration_ms
        previous = self.conversation.last_id
        self._emit("input_audio_buffer.committed", previous_item_id=previous, item_id=item_id)
        self.conversation.add(item)
        self._emit("conversation.item.added", previous_item_id=previous, item=item.as_json())
        self._emit("conversation.item.done", previous_item_id=previous, item=item.as_json())
        self._hearing.add(item_id)
        self._unanswered = item_id
        self.work.append(HearingWork(item_id, speech, self._rate_hz))

    def finish_work(self, work: Work, result: Any, now: float) -> None:
        """Takes the worker's result: speech to send on, or words that were heard."""
        if not isinstance(work, HearingWork):
            super().finish_work(work, result, now)
            return
        self._hearing.discard(work.item_id)
        self._heard[work.item_id] = result
        self._transcribed(work, result or "")
        for response in list(self._responses.values()):
            if response.waits_for_item == work.item_id:
                response.waits_for_item = None
                self._advance(response, None, now)

    def _transcribed(self, work: HearingWork, text: str) -> None:
        if work.item_id in self.conversation:
            self.conversation[work.item_id].content[0]["transcript"] = text
        if not self.state.transcribes:
            return
        kind = "conversation.item.input_audio_transcription"
        if text:
            self._emit(f"{kind}.delta", item_id=work.item_id, content_index=0, delta=text)
        usage = {"type": "duration", "seconds": round(len(work.samples) / work.rate_hz, 3)}
        self._emit(f"{kind}.completed", item_id=work.item_id, content_index=0, transcript=text, usage=usage)

    def _heard_ms(self) -> int:
        return self._user_audio_ms

    # Answering.

    def _item_created(self, item: Item) -> None:
        if item.type == "function_call_output":
            self._results.append(item)
        elif item.type == "message" and item.role == "user":
            self._heard[item.id] = item.text
            self._unanswered = item.id

    def _create_response(self, part: c.ResponsePart, now: float) -> None:
        response = self._begin(part)
        self._idle_due = None if response.in_conversation else self._idle_due
        response.steps = self._steps(response, part)
        self._advance(response, None, now)

    def _steps(self, response: Response, part: c.ResponsePart) -> Steps:
        item_id = self._unanswered if response.in_conversation else None
        if item_id in self._hearing and not (part.instructions and quoted_words(part.instructions)):
            yield Hearing(str(item_id))
        if self._pace.thinking_ms:
            yield Pause(self._pace.thinking_ms / 1000)
        reply = self._reply(response, part)
        if reply.words is not None:
            yield from self._say(response, reply.words)
        for call in reply.calls:
            yield from self._call(response, call, reply.meaning)

    def _reply(self, response: Response, part: c.ResponsePart) -> Reply:
        """What the response holds: quoted words, words to a tool's result, an answer, or a greeting, in this order."""
        quoted = quoted_words(part.instructions) if part.instructions else None
        if quoted is not None:
            return Reply(quoted)
        if not response.in_conversation:
            asked = [item.content[0].text for item in part.input or () if item.role == "user" and item.content]
            return self._brain.answer(asked[-1] if asked else None, ())
        if self._results:
            results, self._results = self._results, []
            replies = [self._brain.report(self._calls.pop(item.call_id or "", None), item.output) for item in results]
            return Reply(" ".join(reply.words for reply in replies if reply.words) or None)
        if self._unanswered is not None:
            text, self._unanswered = self._heard.pop(self._unanswered, None), None
            tools = self.state.tool_names
            if part.tools is not None:
                tools = frozenset(tool.name for tool in part.tools if isinstance(tool, c.FunctionTool))
            return self._brain.answer(text, tools)
        return self._brain.prompt() if self._has_spoken else self._brain.greet()

    def _say(self, response: Response, words: str) -> Steps:
        item = self._writer.open_message(response)
        if response.modality == "text":
            for fragment in _fragments(words, 4):
                self._writer.say(response, item, fragment)
            self._writer.close_message(response, item)
            return
        audio: bytes = yield Synthesis(words)
        size = self._pace.delta_ms * response.output_format.bytes_per_ms
        pieces = [audio[start : start + size] for start in range(0, len(audio), size)]
        for piece, fragment in zip(pieces, _fragments(words, len(pieces)), strict=True):
            if fragment:
                self._writer.say(response, item, fragment)
            self._writer.sound(response, item, piece)
            if self._pace.interval_s:
                yield Pause(self._pace.interval_s)
        self._writer.close_message(response, item)

    def _call(self, response: Response, call: FunctionCall, meaning: Meaning | None) -> Steps:
        item = self._writer.open_call(response, call.name)
        self._calls[item.call_id or ""] = meaning
        for fragment in _fragments(call.arguments, 3, between_words=False):
            self._writer.argue(response, item, fragment)
            yield Pause(self._pace.interval_s)
        self._writer.close_call(response, item)

    # Silence of the caller.

    def _response_finished(self, response: Response, now: float) -> None:
        idle_ms = self.state.idle_timeout_ms
        if idle_ms is not None and response.in_conversation and self._turn_item_id is None:
            playing_ms = sum(item.duration_ms for item in response.output)
            self._idle_due = now + (playing_ms + idle_ms) / 1000

    def next_timer(self) -> float | None:
        """When `handle_timer` is due, in the clock of `now`."""
        dues = [due for due in (super().next_timer(), self._idle_due) if due is not None]
        return min(dues, default=None)

    def handle_timer(self, now: float) -> None:
        """Does what is due."""
        super().handle_timer(now)
        if self._idle_due is None or now < self._idle_due:
            return
        self._idle_due = None
        if self._active is None and self._turn_item_id is None:
            self._time_out(now)

    def _time_out(self, now: float) -> None:
        """The caller has said nothing: the service commits an empty turn and lets the model speak up."""
        content = [{"type": "input_audio", "transcript": None}]
        item = Item(self._new_id("item"), "message", role="user", content=content)
        idle_ms = self.state.idle_timeout_ms or 0
        start_ms = max(self._appended_ms - idle_ms, 0)
        times = {"audio_start_ms": start_ms, "audio_end_ms": self._appended_ms}
        self._emit("input_audio_buffer.timeout_triggered", item_id=item.id, **times)
        previous = self.conversation.add(item)
        self._emit("input_audio_buffer.committed", previous_item_id=previous, item_id=item.id)
        self._emit("conversation.item.added", previous_item_id=previous, item=item.as_json())
        self._emit("conversation.item.done", previous_item_id=previous, item=item.as_json())
        self._unanswered = None
        self._create_response(c.ResponsePart(), now)


def _fragments(text: str, count: int, *, between_words: bool = True) -> Iterator[str]:
    """The text in `count` pieces of about the same length; a piece may be empty where words are kept whole."""
    start = 0
    for index in range(1, count + 1):
        end = len(text) * index // max(count, 1)
        if between_words and index < count:
            gap = text.rfind(" ", start, end)
            end = gap if gap > start else start
        yield text[start:end]
        start = end
