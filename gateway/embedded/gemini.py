"""Gemini Live, acted out: `setup`, `serverContent`, `interrupted`, `toolCall`, `goAway` and handles to resume by.

The service takes its speech to be played in real time: a turn is complete when its playback ends, and a caller who
speaks up before that interrupts it, although everything was generated long ago.
"""

import json
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Final

from gateway.embedded.brain import quoted_words
from gateway.embedded.foreign import (
    PCM_RATE_HZ,
    ForeignError,
    ForeignSession,
    JsonObject,
    MakeSession,
    RateConverter,
    Talk,
    decode_base64,
    functions_of,
    message_item,
    tool_result,
)
from gateway.embedded.gemini_message import ClientContent, ClientMessage, Content, RealtimeInput, Setup, ToolResponse
from gateway.embedded.session import Closure, HearingWork

PATH: Final = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
# The service warns so long before it ends a connection, or earlier where that is all there is.
GO_AWAY_S: Final = 10.0
GO_AWAY_SHARE: Final = 0.25
# Conversations that can be taken up again; the service keeps them for hours, a fake for as long as there is room.
MAX_HANDLES: Final = 64
_PCM: Final = {"type": "audio/pcm", "rate": PCM_RATE_HZ}
_BYTES_PER_MS: Final = PCM_RATE_HZ * 2 // 1000
_THRESHOLDS: Final = {"START_SENSITIVITY_LOW": 0.7, "START_SENSITIVITY_HIGH": 0.4}
_DEFAULT_RATE_HZ: Final = 16_000

INVALID: Final = 1007
DEADLINE: Final = Closure(1011, "Deadline expired before operation could complete.")


class Handles:
    """Conversations by the handle that resumes them: one for all connections of a server."""

    def __init__(self) -> None:
        self._talks: OrderedDict[str, Talk] = OrderedDict()

    def keep(self, handle: str, talk: Talk) -> None:
        """Keeps a conversation; the oldest goes where there are too many."""
        self._talks[handle] = talk
        if len(self._talks) > MAX_HANDLES:
            self._talks.popitem(last=False)

    def take(self, handle: str) -> Talk | None:
        """The conversation of a handle, which is used up."""
        return self._talks.pop(handle, None)


class GeminiSession(ForeignSession):
    """One connection."""

    def __init__(self, make: MakeSession, token: Callable[[], str], handles: Handles, limit_s: float) -> None:
        super().__init__(make, token)
        self._handles = handles
        self._limit_s = limit_s
        self._go_away_due: float | None = None
        self._setup: Setup | None = None
        self._awaits_history = False
        self._converter: RateConverter | None = None
        self._rate_hz = 0
        self._turn_is_open = False
        self._turn_due: float | None = None
        self._played_until = 0.0
        self._usage: JsonObject | None = None

    # The client's messages.

    def _take(self, message: JsonObject, now: float) -> None:
        client = ClientMessage.model_validate(message)
        if len(client.model_fields_set) != 1:
            raise ForeignError("a message has exactly one field")
        if client.setup is not None:
            self._take_setup(client.setup, now)
        elif self._setup is None:
            raise ForeignError("the first message must be a setup")
        elif client.realtime_input is not None:
            self._take_realtime_input(client.realtime_input, now)
        elif client.client_content is not None:
            self._take_client_content(client.client_content, now)
        elif client.tool_response is not None:
            self._take_tool_response(client.tool_response, now)

    def _refuse(self, reason: str, now: float) -> None:
        self.closure = Closure(INVALID, f"Request contains an invalid argument: {reason}"[:120])

    def _take_setup(self, setup: Setup, now: float) -> None:
        if self._setup is not None:
            raise ForeignError("setup must be the first message and only the first")
        resumption = setup.session_resumption
        handle = resumption.handle if resumption is not None else None
        if handle is None:
            name = setup.model.removeprefix("models/")
            inner = self._make(name)
            if inner is None:
                self.closure = Closure(1008, f"models/{name} is not found for API version v1beta"[:120])
                return
            self._talk = Talk(inner, self)
        else:
            self._talk = self._handles.take(handle)
            if self._talk is None:
                raise ForeignError("the session resumption handle is not known")
            self._adopt(self._talk, now)
        self._setup = setup
        self._awaits_history = bool(setup.history_config and setup.history_config.initial_history_in_client_content)
        self._talk.inner.start(now)
        self._go_away_due = now + self._limit_s - min(GO_AWAY_S, self._limit_s * GO_AWAY_SHARE)
        self._say("session.update", now, session=_session_of(setup))

    def _adopt(self, talk: Talk, now: float) -> None:
        """Takes over from a connection that is lost, or about to be: what it was saying is cut off."""
        talk.owner = self
        self._say("response.cancel", now)
        talk.inner.transmits.clear()
        talk.inner.closure = None
        self.work.extend(work for work in talk.unfinished if isinstance(work, HearingWork))

    def _take_realtime_input(self, given: RealtimeInput, now: float) -> None:
        if given.audio is not None:
            self._append(given.audio.data, given.audio.mime_type, now)
        if given.activity_start is not None:
            self._say("input_audio_buffer.clear", now)
            self._interrupt(now)
        if given.activity_end is not None:
            self._say("input_audio_buffer.commit", now)
            self._want_response({}, now)
        if given.text is not None:
            self._take_text(given.text, now)

    def _append(self, data: str, mime_type: str, now: float) -> None:
        kind, _, parameter = mime_type.partition(";")
        rate = parameter.strip().removeprefix("rate=") or str(_DEFAULT_RATE_HZ)
        if kind.strip() != "audio/pcm" or not rate.isdecimal() or not 8_000 <= int(rate) <= 48_000:
            raise ForeignError(f"cannot hear {mime_type}")
        if self._converter is None or self._rate_hz != int(rate):
            self._rate_hz = int(rate)
            self._converter = RateConverter(self._rate_hz, PCM_RATE_HZ)
        audio = self._converter.convert(decode_base64(data))
        if audio:
            self._say("input_audio_buffer.append", now, audio=b64encode(audio).decode())

    def _take_text(self, text: str, now: float) -> None:
        """Words of the caller, or, in brackets or with quoted words, what the agent is to do."""
        if text.startswith("[") and text.endswith("]"):
            part = {"instructions": text[1:-1]} if quoted_words(text) else {}
            self._want_response(part, now)
            return
        self._say("conversation.item.create", now, item=message_item("user", text))
        self._want_response({}, now)

    def _take_client_content(self, content: ClientContent, now: float) -> None:
        for turn in content.turns:
            for item in _items(turn):
                self._say("conversation.item.create", now, item=item)
        if self._awaits_history:
            self._awaits_history = not content.turn_complete
        elif content.turn_complete:
            self._want_response({}, now)

    def _take_tool_response(self, response: ToolResponse, now: float) -> None:
        talk = self._talk
        if talk is None:
            return
        for result in response.function_responses:
            if not result.id:
                raise ForeignError("a function response needs the id of its call")
            if talk.calls.pop(result.id, None) is None:
                continue  # cancelled, or never asked for
            talk.results += 1
            output = result.response.get("output", result.response.get("error", result.response))
            text = output if isinstance(output, str) else json.dumps(output)
            self._say("conversation.item.create", now, item=tool_result(result.id, text))
        if talk.results and not talk.calls:
            talk.results = 0
            self._want_response({}, now)

    # What the session inside tells.

    def _tell(self, event: JsonObject, now: float) -> None:
        setup = self._setup
        match event["type"]:
            case "session.updated":
                self._emit(setupComplete={})
                self._give_handle()
            case "input_audio_buffer.speech_started":
                self._interrupt(now)
            case "response.created":
                self._turn_is_open, self._turn_due = True, None
            case "response.output_audio.delta":
                self._speak(event["delta"], now)
            case "response.output_audio_transcript.delta" if setup and setup.output_audio_transcription is not None:
                self._emit(serverContent={"outputTranscription": {"text": event["delta"]}})
            case "conversation.item.input_audio_transcription.completed" if event["transcript"]:
                self._emit(serverContent={"inputTranscription": {"text": event["transcript"], "finished": True}})
            case "response.done":
                self._finish_response(event["response"], now)

    def _speak(self, delta: str, now: float) -> None:
        if not self._turn_is_open:
            return
        part = {"inlineData": {"mimeType": f"audio/pcm;rate={PCM_RATE_HZ}", "data": delta}}
        self._emit(serverContent={"modelTurn": {"parts": [part]}})
        duration_ms = len(delta) * 3 // 4 / _BYTES_PER_MS
        self._played_until = max(self._played_until, now) + duration_ms / 1000

    def _finish_response(self, response: JsonObject, now: float) -> None:
        self._usage = _usage_of(response["usage"]) if response["usage"] else None
        if response["status"] == "failed":
            error = response["status_details"]["error"]
            self.closure = Closure(1011, f"Internal error encountered: {error['code']}"[:120])
        elif response["status"] == "cancelled":
            self._interrupt(now)
        elif self._turn_is_open and self._calls_of_response and self._talk is not None:
            self._talk.calls |= {call["call_id"]: call["name"] for call in self._calls_of_response}
            calls = [
                {"id": call["call_id"], "name": call["name"], "args": json.loads(call["arguments"])}
                for call in self._calls_of_response
            ]
            self._emit(toolCall={"functionCalls": calls})
        elif self._turn_is_open:
            self._emit(serverContent={"generationComplete": True})
            self._turn_due = max(self._played_until, now)

    def _interrupt(self, now: float) -> None:
        """The caller speaks up; where the agent is not heard that is nothing to tell."""
        setup, talk = self._setup, self._talk
        spared = setup is not None and setup.realtime_input_config.activity_handling == "NO_INTERRUPTION"
        if not self._turn_is_open or spared or talk is None:
            return
        if talk.calls:
            self._emit(toolCallCancellation={"ids": list(talk.calls)})
            talk.calls.clear()
            talk.results = 0
        self._emit(serverContent={"interrupted": True})
        self._played_until = now
        self._wanted.clear()
        self._complete_turn()

    def _complete_turn(self) -> None:
        self._turn_is_open, self._turn_due = False, None
        message: JsonObject = {"serverContent": {"turnComplete": True}}
        if self._usage is not None:
            message["usageMetadata"], self._usage = self._usage, None
        self._emit(**message)
        self._give_handle()

    def _give_handle(self) -> None:
        if self._setup is None or self._setup.session_resumption is None or self._talk is None:
            return
        handle = f"handle-{self._token()}"
        self._handles.keep(handle, self._talk)
        self._emit(sessionResumptionUpdate={"newHandle": handle, "resumable": True})

    def _expired(self, now: float) -> None:
        self.closure = DEADLINE

    def _dues(self) -> Sequence[float | None]:
        return (self._turn_due, self._go_away_due)

    def _do_due(self, now: float) -> None:
        if self._turn_due is not None and now >= self._turn_due:
            self._complete_turn()
        if self._go_away_due is not None and now >= self._go_away_due:
            self._go_away_due = None
            left_s = min(GO_AWAY_S, self._limit_s * GO_AWAY_SHARE)
            self._emit(goAway={"timeLeft": f"{left_s:g}s"})

    def _emit(self, **message: Any) -> None:
        if self.closure is None:
            self.transmits.append(json.dumps(message).encode())


def _session_of(setup: Setup) -> JsonObject:
    detection = setup.realtime_input_config.automatic_activity_detection
    turns: JsonObject | None = None
    if not detection.disabled:
        turns = {
            "type": "server_vad",
            "threshold": _THRESHOLDS.get(detection.start_of_speech_sensitivity or "", 0.5),
            "interrupt_response": setup.realtime_input_config.activity_handling != "NO_INTERRUPTION",
        }
        if detection.silence_duration_ms is not None:
            turns["silence_duration_ms"] = detection.silence_duration_ms
    instruction = setup.system_instruction
    words = [part.text for part in instruction.parts if part.text] if instruction is not None else []
    declared = [
        declaration.model_dump(by_alias=True) for tool in setup.tools for declaration in tool.function_declarations
    ]
    transcription = None if setup.input_audio_transcription is None else {"model": "embedded"}
    return {
        "type": "realtime",
        "instructions": "\n".join(words),
        "tools": functions_of(declared),
        "audio": {
            "input": {"format": _PCM, "turn_detection": turns, "transcription": transcription},
            "output": {"format": _PCM},
        },
    }


def _items(turn: Content) -> list[JsonObject]:
    items: list[JsonObject] = []
    for part in turn.parts:
        if part.text is not None:
            role = "assistant" if turn.role == "model" else "user"
            is_note = role == "user" and part.text.startswith("[") and part.text.endswith("]")
            items.append(message_item("system" if is_note else role, part.text))
        if part.function_call is not None:
            call = part.function_call
            arguments = json.dumps(call.args)
            items.append({"type": "function_call", "call_id": call.id, "name": call.name, "arguments": arguments})
        if part.function_response is not None and part.function_response.id is not None:
            items.append(tool_result(part.function_response.id, json.dumps(part.function_response.response)))
    return items


def _usage_of(usage: JsonObject) -> JsonObject:
    given, gone = usage["input_token_details"], usage["output_token_details"]
    return {
        "promptTokenCount": usage["input_tokens"],
        "responseTokenCount": usage["output_tokens"],
        "totalTokenCount": usage["total_tokens"],
        "promptTokensDetails": _by_modality(given),
        "responseTokensDetails": _by_modality(gone),
    }


def _by_modality(details: JsonObject) -> list[JsonObject]:
    return [
        {"modality": modality, "tokenCount": details[f"{modality.lower()}_tokens"]} for modality in ("TEXT", "AUDIO")
    ]
