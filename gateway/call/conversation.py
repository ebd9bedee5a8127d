"""What was said in a call, by whom, how much of it was heard, and how long each answer took.

Pure bookkeeping: every method takes `now` (monotonic seconds) or media milliseconds. The marks of a turn follow the
latency budget of design §7: caller stopped → speech_stopped → response.created → first delta → first RTP out.
"""

import math
from dataclasses import dataclass, field
from enum import Enum, unique
from typing import Final

from gateway.call.discretion import Discretion
from gateway.fast import GeneratedSpeech

# Utterances kept for one call. An hour of quick exchanges is about a thousand; past the bound the oldest are dropped
# and counted, so that a talkative model cannot grow a call's memory without end.
UTTERANCE_LIMIT: Final = 4_000

# Characters that the fragments of one item may add up to: an hour of speech is about 60,000.
FRAGMENTS_LIMIT: Final = 100_000

# Words of the caller may come so long after they were said; it counts where nobody tells when the caller began.
TRANSCRIPT_LATE_SECONDS: Final = 5.0


@unique
class Speaker(Enum):
    """Who said it."""

    CALLER = "caller"
    AGENT = "agent"


@dataclass(slots=True)
class Utterance(GeneratedSpeech):
    """One item of the conversation.

    `heard_ms` is, for the agent, the speech of this item that left the socket; `generated_ms` is what the model sent.
    `text` is the whole transcript, `heard_text` the part that the caller can have heard. Where it is `withheld` the
    words are for the model alone, and stand in no record and no log.
    """

    speaker: Speaker
    item_id: str
    at_ms: int
    text: str = ""
    heard_ms: int = 0
    interrupted: bool = False
    began: float = 0.0
    is_open: bool = False
    """The caller is heard to go on."""
    withheld: bool = False

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
    discretion: Discretion = field(default_factory=Discretion)
    """What must not be kept."""
    _last_caller: Utterance | None = None
    _caller_said_at: float = -math.inf

    def withhold(self) -> None:
        """What is said from now on is not kept, nor what the caller has begun to say."""
        self.discretion.begin()
        for utterance in self.utterances:
            utterance.withheld |= utterance.is_open

    def caller_started(self, item_id: str, now: float, began: float | None = None) -> None:
        """The model heard the caller begin: their utterance takes its place in the order now, its words come later.

        Args:
            item_id: the model's name of it.
            now: when it was told.
            began: when it was, where that is known better.
        """
        last, utterance = self._last_caller, self._utterance(Speaker.CALLER, item_id, now)
        utterance.withheld |= self.discretion.covers(now if began is None else began)
        if last is not None and last is not utterance and last.is_open:
            utterance.withheld |= last.withheld  # its session was lost, and the next one hears the same words
            last.is_open = False
        utterance.is_open, self._last_caller = True, utterance

    def caller_stopped(self, caller_stopped: float, now: float, item_id: str = "") -> None:
        """The model heard the caller stop; the next response answers this."""
        self._caller_stopped, self._speech_stopped = caller_stopped, now
        if (utterance := self._by_item.get(item_id)) is not None:
            utterance.is_open = False

    def caller_said(self, item_id: str, text: str, now: float) -> Utterance:
        """The transcript of the caller's item; when it was said is another matter than when it comes.

        Where nobody told of its beginning it may have been said at any time since the words before it.
        """
        is_known = item_id in self._by_item
        utterance = self._utterance(Speaker.CALLER, item_id, now)
        if not is_known:
            utterance.withheld = self.discretion.covers(min(self._caller_said_at, now - TRANSCRIPT_LATE_SECONDS))
        utterance.text, utterance.is_open, self._caller_said_at = text, False, now
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
        utterance.withheld |= self.discretion.touches(utterance.began)
        if len(utterance.text) < FRAGMENTS_LIMIT:
            utterance.text += text

    def agent_said(self, item_id: str, text: str, now: float) -> Utterance:
        """The transcript of the agent's item, whole."""
        utterance = self._utterance(Speaker.AGENT, item_id, now)
        utterance.text = text
        utterance.withheld |= self.discretion.touches(utterance.began)
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
            utterance = Utterance(speaker, item_id, at_ms=round((now - self.started) * 1000), began=now)
            self._by_item[item_id] = utterance
            self.utterances.append(utterance)
            self.caller_turns += speaker is Speaker.CALLER
            if len(self.utterances) > UTTERANCE_LIMIT:
                oldest = self.utterances.pop(0)
                self._by_item.pop(oldest.item_id, None)
                self._response_by_item.pop(oldest.item_id, None)
                self.dropped_utterances += 1
        return utterance
