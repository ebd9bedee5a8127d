"""The agents section: who answers, with which words and on which model."""

import enum
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from gateway.config.fallback import FallbackSettings, HangUpSettings
from gateway.config.hold import AnnouncementSettings, HoldSettings
from gateway.config.template import TemplateText, names
from gateway.config.tool import BuiltInTool, ToolName, ToolSettings
from gateway.config.transfer import TransferSettings
from gateway.config.value import InputPath, Language, Name, Settings, leave_out_empty
from gateway.realtime.settings import Eagerness, NoiseReduction

# Services end a session after an hour or less, but a call's session is renewed before that: sense bounds a call.
LONGEST_CALL_SECONDS = 86_400


ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]


class ServerVadSettings(Settings):
    """Turns are found by silence."""

    type: Literal["server_vad"]
    """Turns are found by silence."""
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    """How sure the detector must be that it hears speech; higher needs louder speech."""
    prefix_padding_ms: Annotated[int, Field(ge=0, le=5000)] = 300
    """Audio from before the detected start of speech that belongs to the turn."""
    silence_duration_ms: Annotated[int, Field(ge=50, le=10000)] = 500
    """Silence that ends a turn."""
    idle_timeout_ms: Annotated[int, Field(ge=1000, le=600_000)] | None = None
    """Silence of the caller after which the service lets the model speak up by itself, where it can. With `silence` the
    gateway does this, in words of yours."""
    interrupt_response: bool = True
    """Whether the caller can interrupt the agent."""


class SemanticVadSettings(Settings):
    """Turns are found by what was said."""

    type: Literal["semantic_vad"]
    """Turns are found by what was said."""
    eagerness: Eagerness = Eagerness.AUTO
    """How soon a pause is taken for the end of a turn: `low` waits at most 8 s, `medium` and `auto` 4 s, `high` 2 s."""
    interrupt_response: bool = True
    """Whether the caller can interrupt the agent."""


class ClientVadSettings(Settings):
    """Turns are found by the gateway itself, by loudness: for models that find none."""

    type: Literal["client_vad"]
    """Turns are found by the gateway itself, by loudness: for models that find none."""
    threshold_dbfs: Annotated[float, Field(ge=-80, le=0)] = -42.0
    """The quietest speech, in decibels below full scale. On a noisy line it must stand out from the noise besides."""
    start_ms: Annotated[int, Field(ge=20, le=1000)] = 60
    """Speech until a turn begins."""
    silence_duration_ms: Annotated[int, Field(ge=50, le=10000)] = 500
    """Silence that ends a turn."""
    interrupt_response: bool = True
    """Whether the caller can interrupt the agent."""


TurnDetectionSettings = Annotated[
    ServerVadSettings | SemanticVadSettings | ClientVadSettings, Field(discriminator="type")
]


class TranscriptionSettings(Settings):
    """The caller's words as text; the agent's words always come as text."""

    enabled: bool = True
    """Whether the caller's speech is transcribed. The service charges for it apart from the conversation."""
    model: str | None = None
    """Transcription model (for Azure the name of its deployment). When absent the backend's own choice."""
    prompt: str | None = None
    """Words that the transcription should expect: names, products."""


class PromptSettings(Settings):
    """Stored words."""

    file: InputPath
    """Sound file of any common format; relative to the folder of gateway.yaml."""
    words: str = ""
    """What is said in it, for the transcript."""


class ModelLossSettings(Settings):
    """What the caller hears when the model is lost in mid-call, while another session or backend is sought."""

    filler: PromptSettings | None = None
    """Said when the caller waits for an answer and hears nothing. When absent: "One moment, please." """
    filler_after_ms: Annotated[int, Field(ge=0, le=10_000)] = 250
    """Silence before the filler is said."""
    apology: PromptSettings | None = None
    """Said when no backend can be had, before the fallback. When absent: "I am sorry, we have a technical problem."
    and what follows: that the caller should call again, is connected with somebody, or may leave a message."""
    fallback: FallbackSettings = HangUpSettings(type="hang_up")
    """What then becomes of the caller."""
    give_up_after_seconds: Annotated[float, Field(gt=0, le=60)] = 8.0
    """Longest search for a session that goes on with the conversation."""

    @property
    def has_fallback(self) -> bool:
        """Whether more is done for the caller than to hang up."""
        return not isinstance(self.fallback, HangUpSettings)


class DeadAirSettings(Settings):
    """What happens when the model is connected and owes an answer, and does not speak. Times count from the caller's
    last word, or from the last sound of an answer that stopped.
    """

    nudge_after_seconds: Annotated[float, Field(ge=0, le=60)] = 4.0
    """Then the model is asked once more for an answer; 0: never."""
    filler_after_seconds: Annotated[float, Field(ge=0, le=60)] = 5.0
    """Then the caller hears stored words; 0: never."""
    filler: PromptSettings | None = None
    """Those words. When absent: the filler of `model_loss`."""
    replace_after_seconds: Annotated[float, Field(ge=0, le=120)] = 9.0
    """Then another session takes the conversation over: of the same backend first, and of the others after that;
    0: never."""

    @model_validator(mode="after")
    def _keep_their_order(self) -> Self:
        times = [self.nudge_after_seconds, self.filler_after_seconds, self.replace_after_seconds]
        given = [seconds for seconds in times if seconds]
        if given != sorted(given):
            raise ValueError("the nudge comes before the filler, and both before the replacement")
        return self


class Undecided(enum.StrEnum):
    """What the agent does while it is not clear whether the caller interrupts it."""

    PAUSE = "pause"  # and goes on where it stopped
    SPEAK_ON = "speak_on"


class SummarySettings(Settings):
    """Words of the model about a call that has ended, for its record. The caller does not hear them.

    A call in which `pause_recording` was used has none.
    """

    instructions: Annotated[str, Field(min_length=1)] = (
        "Summarise this call in two or three sentences: what the caller wanted, what was agreed, what is still open."
    )
    """What the model is asked. It may be another question, such as which of five matters the call was about."""
    timeout_seconds: Annotated[float, Field(gt=0, le=30)] = 5.0
    """Longest wait for the words; without them the record has none."""


class InterruptionSettings(Settings):
    """When the caller's speech cuts the agent off. With one of these set, the gateway decides and not the service."""

    protect_greeting: bool = False
    """Whether the first words of the agent are said to their end, whatever the caller says meanwhile."""
    minimum_speech_ms: Annotated[int, Field(ge=0, le=5000)] = 0
    """Speech over the agent's words that counts as an interruption, so that a cough does not cut the agent off. 0
    leaves it to the service: any sound that it takes for speech."""
    while_undecided: Undecided = Undecided.PAUSE
    """What the agent does until that much was heard: `pause` is silent within a packet and goes on in the midst of its
    word where it was a cough, `speak_on` does not stop."""


class SilenceSettings(Settings):
    """What happens when neither side says anything."""

    prompt: str | None = None
    """What the agent says to a caller who has fallen silent, such as "Are you still there?"."""
    prompt_after_seconds: Annotated[float, Field(ge=1, le=600)] = 10.0
    """Silence before the prompt, and between two of them."""
    prompts: Annotated[int, Field(ge=1, le=20)] = 2
    """Most prompts before the caller speaks again."""
    hang_up_after_seconds: Annotated[float, Field(ge=1, le=3600)] | None = None
    """Longest time that the caller may say nothing, prompts included; then the gateway hangs up."""


class CandidateSettings(Settings):
    """A share of an agent's calls that another agent answers: to try a new version on a few callers first."""

    agent: Name
    """The agent that answers them, such as one in a file of its own."""
    percent: Annotated[float, Field(ge=0, le=100)]
    """How many of a hundred calls. Which ones is decided by the Call-ID of each, and so always in the same way."""


class AgentSettings(Settings):
    """One agent."""

    version: Name | None = None
    """Name of this version, for call records and the log. They also carry a hash of the agent's content, so it may be
    absent."""
    candidate: CandidateSettings | None = None
    """A share of the calls that another agent answers."""
    backends: Annotated[tuple[Name, ...], Field(min_length=1)]
    """Model backends in order of preference; a call takes the first that can be used."""
    instructions: Annotated[TemplateText, Field(min_length=1)]
    """What the model is told about its role, before the first word. It may be filled in for each call, as in
    `{{ caller }}`, `{{ dialled }}`, `{{ trunk }}`, `{{ agent }}`, `{{ verdict }}` (of the check of the caller's number:
    passed, failed, no_signature and others; empty where the trunk asks for none), `{{ headers["X-Account"] }}`
    (headers of the INVITE that begin with X-) and `{{ variables.NAME }}`; the syntax is Jinja2's. Headers are the
    caller's words, not yours."""
    voice: str | None = None
    """Voice of the model (OpenAI: marin, cedar, alloy, …). When absent the backend's own."""
    language: Language | None = None
    """Language that the caller is expected to speak (en, de, pt-BR). A hint for transcription and for the voice."""
    speed: Annotated[float, Field(ge=0.25, le=1.5)] | None = None
    """How fast the model speaks, where its service can be told (OpenAI: 1 is usual)."""
    noise_reduction: NoiseReduction | None = None
    """Noise reduction of the service, where it has one: `near_field` for handsets, `far_field` for loudspeaking. On a
    telephone line compare with and without."""
    reasoning_effort: ReasoningEffort | None = None
    """How long the model thinks before it speaks, where it can be told: more effort, later answers (OpenAI's 2.x models
    take about 1.1 s with `minimal` and 2.3 s with `high`)."""
    max_output_tokens: Annotated[int, Field(ge=1, le=32_768)] | None = None
    """Longest answer in tokens, tool calls included; speech is about 20 tokens a second. An answer that reaches it is
    cut off."""
    greeting: TemplateText | None = None
    """What the agent says first; it may be filled in as the instructions. When absent the caller speaks first."""
    variables: Annotated[Mapping[str, str], BeforeValidator(leave_out_empty)] = {}
    """Values of your own for instructions and greeting."""
    turn_detection: TurnDetectionSettings = ServerVadSettings(type="server_vad")
    """How the end of the caller's turn is found."""
    transcription: TranscriptionSettings = TranscriptionSettings()
    """Transcription of the caller's words."""
    max_duration_seconds: Annotated[int, Field(ge=1, le=LONGEST_CALL_SECONDS)] = 3300
    """Longest call; then the gateway hangs up. It may be longer than a service's sessions: these are renewed."""
    built_in_tools: tuple[BuiltInTool, ...] = (BuiltInTool.END_CALL,)
    """Tools of the gateway that the model may use: `end_call` hangs up after the agent's last word,
    `send_digits` presses keys, `transfer_call` hands the caller over to what `transfer` lists, `pause_recording` and
    `resume_recording` keep what nobody may keep, such as a card's number, out of the recording, the call record and the
    log (docs/agents.md), `hold_caller` plays the music of `hold` until the agent speaks again, `play_announcement`
    plays one of `announcements`."""
    hold: HoldSettings | None = None
    """Music on hold: for `hold_caller`, and while a transfer is under way that leaves the caller waiting here."""
    announcements: Mapping[Name, AnnouncementSettings] = {}
    """Announcements that `play_announcement` may play, by the name that the model says."""
    transfer: TransferSettings | None = None
    """Where `transfer_call` may send the caller. What is not listed is never dialled."""
    tools: Mapping[ToolName, ToolSettings] = {}
    """Tools of your own, by the name that the model sees."""
    shared_tools: tuple[ToolName, ...] = ()
    """Tools of the section `tools` at the top of the configuration that the model may use too, by their names."""
    interruption: InterruptionSettings = InterruptionSettings()
    """When the caller's speech cuts the agent off."""
    silence: SilenceSettings = SilenceSettings()
    """What happens when neither side says anything."""
    max_tool_calls: Annotated[int, Field(ge=0, le=10_000)] | None = None
    """Most tools that the model may use in one call; further ones are refused. When absent there is no limit."""
    max_cost: Annotated[float, Field(gt=0)] | None = None
    """Most money that one call may cost, by the `prices` of its backends; then the gateway hangs up."""
    model_loss: ModelLossSettings = ModelLossSettings()
    """What the caller hears when the model is lost in mid-call."""
    summary: SummarySettings | None = None
    """Words of the model about the call, for its record: `{}` asks for a summary. For OpenAI and Azure only."""
    dead_air: DeadAirSettings = DeadAirSettings()
    """What happens when the model is there and does not answer."""

    @property
    def tells_verdict(self) -> bool:
        """Whether its texts say what became of the check of the caller's number, which must be known first then."""
        return any(names(text, "verdict") for text in (self.instructions, self.greeting or ""))
