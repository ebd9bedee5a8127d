"""Tools that the gateway itself carries out on the call."""

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from gateway.config.tool import BuiltInTool
from gateway.realtime.settings import ToolDefinition
from gateway.tools.errors import ToolFailedError
from gateway.tools.tool import Arguments, Tool, ToolContext, ToolPolicy, check_arguments, schema_of

# How long the words that an agent has begun in a pause may last behind its wish to resume.
RESUME_SECONDS: Final = 20.0


class EndCallArguments(BaseModel):
    """What `end_call` takes."""

    # A model that adds a word to the reason must still be able to hang up.
    model_config = ConfigDict(extra="ignore")
    reason: Annotated[str | None, Field(description="Why the call ends.")] = None


class NoArguments(BaseModel):
    """What a tool takes that takes nothing. Words of the model's own do no harm."""

    model_config = ConfigDict(extra="ignore")


class SendDigitsArguments(BaseModel):
    """What `send_digits` takes."""

    model_config = ConfigDict(extra="forbid")
    digits: Annotated[str, Field(pattern=r"^[0-9A-D*#]{1,32}$", description="The keys to press, such as 1 or 4711#.")]


END_CALL: Final = ToolDefinition(
    name="end_call",
    description=(
        "Ends the telephone call. Say goodbye first; the line is closed when your last word has been heard. "
        "Use it when the caller has said goodbye or has nothing more to ask."
    ),
    parameters=schema_of(EndCallArguments),
)
SEND_DIGITS: Final = ToolDefinition(
    name="send_digits",
    description="Presses keys on the telephone keypad, for an automatic system at the other end of the line.",
    parameters=schema_of(SendDigitsArguments),
)


PAUSE_RECORDING: Final = ToolDefinition(
    name="pause_recording",
    description=(
        "Stops the recording of this call, of its sound and of its words. Use it before the caller says or keys a card "
        "number, a password or anything else that must not be kept, and let it go on with resume_recording as soon as "
        "that was used. What was told meanwhile must not be said again afterwards."
    ),
    parameters=schema_of(NoArguments),
)
RESUME_RECORDING: Final = ToolDefinition(
    name="resume_recording",
    description="Lets the recording of this call go on after pause_recording.",
    parameters=schema_of(NoArguments),
)


class EndCall:
    """Hangs up after the agent's last word. It gives no result: there is nobody left to speak to."""

    definition = END_CALL
    policy = ToolPolicy(answers=False)

    def check(self, arguments: str) -> Arguments:
        """See `Tool`."""
        return check_arguments(EndCallArguments, arguments)

    async def run(self, arguments: Arguments, context: ToolContext) -> object:
        """See `Tool`."""
        context.line.end_call()
        return None


class SendDigits:
    """Sends telephone-events to the far end."""

    definition = SEND_DIGITS
    policy = ToolPolicy()

    def check(self, arguments: str) -> Arguments:
        """See `Tool`."""
        return check_arguments(SendDigitsArguments, arguments)

    async def run(self, arguments: Arguments, context: ToolContext) -> object:
        """See `Tool`."""
        if not context.line.send_digits(str(arguments["digits"])):
            raise ToolFailedError("The other end takes no telephone keys.")
        return {"sent": arguments["digits"]}


class PauseRecording:
    """Keeps what is said from now on out of the recording, the call record and the log."""

    definition = PAUSE_RECORDING
    policy = ToolPolicy()

    def check(self, arguments: str) -> Arguments:
        """See `Tool`."""
        return check_arguments(NoArguments, arguments)

    async def run(self, arguments: Arguments, context: ToolContext) -> object:
        """See `Tool`."""
        return {"recorded": False, "was_recorded": context.line.pause_recording()}


class ResumeRecording:
    """Lets the recording go on. An agent that speaks longer than this allows is told so, and nothing is recorded."""

    definition = RESUME_RECORDING
    policy = ToolPolicy(timeout_seconds=RESUME_SECONDS)

    def check(self, arguments: str) -> Arguments:
        """See `Tool`."""
        return check_arguments(NoArguments, arguments)

    async def run(self, arguments: Arguments, context: ToolContext) -> object:
        """See `Tool`."""
        return {"recorded": await context.line.resume_recording()}


BUILT_IN: Final[Mapping[BuiltInTool, Tool]] = {
    BuiltInTool.END_CALL: EndCall(),
    BuiltInTool.SEND_DIGITS: SendDigits(),
    BuiltInTool.PAUSE_RECORDING: PauseRecording(),
    BuiltInTool.RESUME_RECORDING: ResumeRecording(),
}
