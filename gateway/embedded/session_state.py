"""A session's settings as the service keeps and shows them."""

from typing import Any, Final

from gateway.embedded.activity import ActivitySettings
from gateway.embedded.audio import WireFormat
from gateway.embedded.client_event import (
    ClientEventError,
    PcmFormat,
    SemanticVadPart,
    ServerVadPart,
    SessionPart,
)

# How long a pause ends a turn under semantic detection. There is no semantics here; the order of the four is kept.
_SEMANTIC_SILENCE_MS: Final = {"high": 300, "medium": 500, "auto": 500, "low": 1200}
_DEFAULT_INSTRUCTIONS: Final = "You are the embedded agent of Trunkline. You answer as your script says."


class SessionState:
    """The session object. `update` takes what a client sends; the properties say what it means."""

    def __init__(self, session_id: str, model: str, expires_at: int) -> None:
        self.value: dict[str, Any] = {
            "type": "realtime",
            "object": "realtime.session",
            "id": session_id,
            "model": model,
            "expires_at": expires_at,
            "output_modalities": ["audio"],
            "instructions": _DEFAULT_INSTRUCTIONS,
            "tools": [],
            "tool_choice": "auto",
            "max_output_tokens": "inf",
            "tracing": None,
            "truncation": "auto",
            "prompt": None,
            "include": None,
            "audio": {
                "input": {
                    "format": PcmFormat(type="audio/pcm").model_dump(),
                    "noise_reduction": None,
                    "transcription": None,
                    "turn_detection": ServerVadPart(type="server_vad").model_dump(),
                },
                "output": {"format": PcmFormat(type="audio/pcm").model_dump(), "voice": "marin", "speed": 1.0},
            },
        }
        self._read()

    def update(self, part: SessionPart, *, has_spoken: bool) -> None:
        """Takes what is present. Raises ClientEventError and changes nothing where the service would refuse it."""
        changes = part.model_dump(exclude_unset=True, exclude={"audio", "type"})
        if "model" in changes and changes.pop("model") != self.value["model"]:
            raise ClientEventError("invalid_value", "The model of a session cannot be changed", "session.model")
        output = part.audio.output if part.audio is not None else None
        current = self.value["audio"]["output"]
        if output is not None and output.voice not in (None, current["voice"]) and has_spoken:
            message = "Cannot update a conversation's voice if assistant audio is present."
            raise ClientEventError("cannot_update_voice", message, "session.audio.output.voice")
        self.value.update(changes)
        if part.audio is not None:
            for name in ("input", "output"):
                self._update_audio(name, getattr(part.audio, name))
        self._read()

    def _update_audio(self, name: str, part: Any) -> None:
        if part is None:
            return
        for field in part.model_fields_set:
            value = getattr(part, field)
            if value is None and field == "format":
                continue
            # What replaces a setting as a whole is shown with its defaults.
            filled = hasattr(value, "model_dump") and field in {"format", "turn_detection", "noise_reduction"}
            self.value["audio"][name][field] = (
                value.model_dump() if filled else part.model_dump(exclude_unset=True, include={field})[field]
            )

    def _read(self) -> None:
        audio = self.value["audio"]
        self.input_format = WireFormat(audio["input"]["format"]["type"])
        self.output_format = WireFormat(audio["output"]["format"]["type"])
        self.transcribes = audio["input"]["transcription"] is not None
        detection = audio["input"]["turn_detection"]
        self.activity: ActivitySettings | None = None
        self.create_response = self.interrupt_response = False
        self.idle_timeout_ms: int | None = None
        if detection is None:
            return
        self.create_response = detection["create_response"]
        self.interrupt_response = detection["interrupt_response"]
        if detection["type"] == "server_vad":
            part = ServerVadPart.model_validate(detection)
            self.activity = ActivitySettings(part.threshold, part.prefix_padding_ms, part.silence_duration_ms)
            self.idle_timeout_ms = part.idle_timeout_ms
        else:
            semantic = SemanticVadPart.model_validate(detection)
            self.activity = ActivitySettings(silence_duration_ms=_SEMANTIC_SILENCE_MS[semantic.eagerness])

    @property
    def modality(self) -> str:
        """Either `audio` or `text`."""
        return str(self.value["output_modalities"][0])

    @property
    def tool_names(self) -> frozenset[str]:
        """Functions that may be called now."""
        if self.value["tool_choice"] == "none":
            return frozenset()
        return frozenset(tool["name"] for tool in self.value["tools"] or () if tool["type"] == "function")
