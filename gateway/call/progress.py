"""Where a conversation stands: who speaks, what is awaited, and what a lost session leaves open."""

from collections.abc import Iterator

from gateway.realtime.event import (
    AudioDelta,
    AudioDone,
    RealtimeEvent,
    ResponseDone,
    ResponseStarted,
    ResponseStatus,
    SpeechStarted,
    SpeechStopped,
    ToolCall,
    ToolCallCancelled,
)


class Progress:
    """Follows the events of a call's sessions. Pure."""

    def __init__(self) -> None:
        self.caller_speaks = False
        self.revision = 0
        """Counts what has happened, apart from audio: unchanged, nothing was said meanwhile."""
        self._response_id: str | None = None
        self.open_items: dict[str, str] = {}
        """Items of speech that may go on, and their responses."""
        self._reply_due = False
        self._response_spoke = False
        self._unanswered: set[str] = set()

    @property
    def responds(self) -> bool:
        """Whether a response runs."""
        return self._response_id is not None

    @property
    def model_is_awaited(self) -> bool:
        """Whether it is the model, and not a tool or the caller, that owes the next word."""
        return (self._response_id is not None or self._reply_due) and not self.caller_speaks

    @property
    def reply_is_due(self) -> bool:
        """Whether the caller waits for words: a response runs or should, or a tool is at work."""
        return self._response_id is not None or self._reply_due or bool(self._unanswered)

    def ask(self) -> None:
        """The model was asked to speak."""
        self._reply_due = True

    def dismiss_turn(self) -> None:
        """What the caller said does not count as a turn: nobody will answer it."""
        self._reply_due = False

    def answer_tool(self, call_id: str) -> None:
        """A tool has answered: the model will speak about it, once the last of those that it asked for has."""
        self._unanswered.discard(call_id)
        self._reply_due |= not self._unanswered

    def settle_tool(self, call_id: str) -> None:
        """A tool's work is over, and whether the model gets an answer is another matter."""
        self._unanswered.discard(call_id)

    def follow(self, event: RealtimeEvent) -> None:
        """Takes note of an event of the current session."""
        if isinstance(event, AudioDelta):
            if event.item_id not in self.open_items:
                self.open_items[event.item_id] = event.response_id
                self._response_spoke = True
            return
        self.revision += 1
        match event:
            case SpeechStarted():
                self.caller_speaks = True
            case SpeechStopped():
                self.caller_speaks, self._reply_due = False, True
            case ResponseStarted(response_id):
                self._response_id, self._reply_due, self._response_spoke = response_id, False, False
            case AudioDone(_, item_id):
                self.open_items.pop(item_id, None)
            case ResponseDone(response_id, status):
                self.open_items = {item: owner for item, owner in self.open_items.items() if owner != response_id}
                if response_id == self._response_id:
                    self._response_id = None
                    # A response that failed before its first word leaves the caller waiting for another.
                    self._reply_due |= status is ResponseStatus.FAILED and not self._response_spoke
            case ToolCall(call_id=call_id):
                self._unanswered.add(call_id)
            case ToolCallCancelled(call_id):
                self._unanswered.discard(call_id)
            case _:
                pass  # what changes nothing

    def end(self, reason: str) -> Iterator[RealtimeEvent]:
        """Ends what a session that is gone had begun, so that what was received is played to its end."""
        open_items, self.open_items = self.open_items, {}
        response_id, self._response_id = self._response_id, None
        self._reply_due = False
        for item_id, owner in open_items.items():
            yield AudioDone(owner, item_id)
        if response_id is not None:
            yield ResponseDone(response_id, ResponseStatus.FAILED, reason, None)
