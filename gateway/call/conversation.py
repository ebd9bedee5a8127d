"""What was said in a call, by whom, how much of it was heard, and how long each answer took.

Pure bookkeeping: every method takes `now` (monotonic seconds) or media milliseconds. The marks of a turn follow the
latency budget of design §7: caller stopped → speech_stopped → response.created → first delta → first RTP out.
"""

from dataclasses import dataclass, field
from enum import Enum, unique
from typing import Final

# Utterances kept for one call. An hour of quick exchanges is about a thousand; past the bound the oldest are dropped
# and counted, so that a talkative model cannot grow a call's memory without end.
UTTERANCE_LIMIT: Final = 4_000

# Characters that the fragments of one item may add up to: an hour of speech is about 60,000.
FRAGMENTS_LIMIT: Final = 100_000


@unique
class Speaker(Enum):
    """Who said it."""

    CALLER = "caller"
    AGENT = "agent"


@dataclass(slots=True)
class Utterance:
    """One item of the conversation.

    `heard_ms` is, for the agent, the speech of this item that left the socket; `generated_ms` is what the model sent.
    `text` is the whole transcript, `heard_text` the part that the caller can have heard.
    """

    speaker: Speaker
    item_id: str
    at_ms: int
    text: str = ""
    generated_ms: int = 0
    heard_ms: int = 0
    interrupted: bool = False

    @property
    def heard_text(self) -> str:
        """The words up to the point of interruption, by proportion of time, cut at a word's end."""
        if not self.interrupted:
            return self.text
        if self.generated_ms <= 0 or self.heard_ms <= 0:
            return ""
        share = min(1.0, self.heard_ms / self.generated_ms)
        cut = round(len(self.text) * share)
        if cut >= len(self.text):
            return self.text
        return self.text[:cut].rpartition(" ")[0]


@dataclass(slots=True)
class Turn:
    """The marks of one answer of the agent, in monotonic seconds; None where a mark was not seen."""

    response_id: str
    caller_stopped: float | None = None
    speech_stopped: float | None = None
    response_created: float | None = None
    first_delta: float | None = None
    first_rtp: float | None = None
    interrupted: bool = False

    @property
    def is_reply(self) -> bool:
        """Whether the caller's speech led to it (a greeting has no caller before it)."""
        return self.speech_stopped is not None

    def span_ms(self, begin: float | None, end: float | None) -> int | None:
        """Milliseconds between two marks, or None where one is missing."""
        return None if begin is None or end is None else round((end - begin) * 1000)

    @property
    def latency_ms(self) -> int | None:
        """From the caller's last word to the first RTP packet of the answer."""
        return self.span_ms(self.caller_stopped, self.first_rtp)


@dataclass(slots=True)
class Conversation:
    """The transcript and the turns of one call.

    Args:
        started: the moment of the answer, from which `at_ms` counts.
    """

    started: float
    utterances: list[Utterance] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    dropped_utterances: int = 0
    caller_turns: int = 0
    """How often the caller has spoken: asked once a second, however long the call."""
    _by_item: dict[str, Utterance] = field(default_factory=dict)
    _turn_by_response: dict[str, Turn] = field(default_factory=dict)
    _response_by_item: dict[str, str] = field(default_factory=dict)
    _caller_stopped: float | None = None
    _speech_stopped: float | None = None

    def caller_started(self, item_id: str, now: float) -> None:
        """The model heard the caller begin: their utterance takes its place in the order now, its words come later."""
        self._utterance(Speaker.CALLER, item_id, now)

    def caller_stopped(self, caller_stopped: float, now: float) -> None:
        """The model heard the caller stop; the next response answers this."""
        self._caller_stopped, self._speech_stopped = caller_stopped, now

    def caller_said(self, item_id: str, text: str, now: float) -> Utterance:
        """The transcript of the caller's item."""
        utterance = self._utterance(Speaker.CALLER, item_id, now)
        utterance.text = text
        return utterance

    def response_started(self, response_id: str, now: float) -> None:
        """The model began an answer."""
        turn = Turn(response_id, self._caller_stopped, self._speech_stopped, response_created=now)
        self._caller_stopped = self._speech_stopped = None
        self.turns.append(turn)
        self._turn_by_response[response_id] = turn

    def agent_audio(self, response_id: str, item_id: str, generated_ms: int, now: float) -> Utterance:
        """Speech of the agent arrived; `generated_ms` is the whole of this item so far, and may be kept up to date."""
        utterance = self._utterance(Speaker.AGENT, item_id, now)
        utterance.generated_ms = generated_ms
        self._response_by_item[item_id] = response_id
        turn = self._turn_by_response.get(response_id)
        if turn is not None and turn.first_delta is None:
            turn.first_delta = now
        return utterance

    def agent_fragment(self, item_id: str, text: str, now: float) -> None:
        """A piece of the agent's words, in their order; `agent_said` replaces the pieces."""
        utterance = self._utterance(Speaker.AGENT, item_id, now)
        if len(utterance.text) < FRAGMENTS_LIMIT:
            utterance.text += text

    def agent_said(self, item_id: str, text: str, now: float) -> Utterance:
        """The transcript of the agent's item, whole."""
        utterance = self._utterance(Speaker.AGENT, item_id, now)
        utterance.text = text
        return utterance

    def agent_heard_from(self, item_id: str, now: float) -> Turn | None:
        """The first packet of an item left the socket. Returns the turn, if this is the turn's first packet."""
        turn = self._turn_of(item_id)
        if turn is None or turn.first_rtp is not None:
            return None
        turn.first_rtp = now
        return turn

    def agent_item_played(self, item_id: str, sent_ms: int) -> None:
        """All of an item has left the socket."""
        if (utterance := self._by_item.get(item_id)) is not None:
            utterance.heard_ms = sent_ms

    def agent_interrupted(self, item_id: str, sent_ms: int) -> None:
        """The caller spoke over this item after `sent_ms` of it had left the socket."""
        if (utterance := self._by_item.get(item_id)) is not None:
            utterance.heard_ms, utterance.interrupted = sent_ms, True
        if (turn := self._turn_of(item_id)) is not None:
            turn.interrupted = True

    def _turn_of(self, item_id: str) -> Turn | None:
        return self._turn_by_response.get(self._response_by_item.get(item_id, ""))

    def _utterance(self, speaker: Speaker, item_id: str, now: float) -> Utterance:
        utterance = self._by_item.get(item_id)
        if utterance is None:
            utterance = Utterance(speaker, item_id, at_ms=round((now - self.started) * 1000))
            self._by_item[item_id] = utterance
            self.utterances.append(utterance)
            self.caller_turns += speaker is Speaker.CALLER
            if len(self.utterances) > UTTERANCE_LIMIT:
                oldest = self.utterances.pop(0)
                self._by_item.pop(oldest.item_id, None)
                self._response_by_item.pop(oldest.item_id, None)
                self.dropped_utterances += 1
        return utterance
