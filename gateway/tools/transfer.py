"""The tool that hands the caller over to somebody else."""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from gateway.config.tool import BuiltInTool
from gateway.config.transfer import TransferSettings
from gateway.realtime.settings import ToolDefinition
from gateway.tools.errors import ToolArgumentsError, ToolFailedError
from gateway.tools.tool import Arguments, ToolContext, ToolPolicy, check_arguments, schema_of

DESCRIPTION: Final = (
    "Hands the caller over to somebody else by telephone. Tell the caller first; your last word is heard before the "
    "line is handed over. When it works the conversation is over; when it does not you get the reason, and the caller "
    "is with you again."
)
LONGEST_WISH: Final = 256  # characters: a SIP URI, not a story


class TransferCall:
    """Blind transfer to what the agent's allow-list holds.

    Args:
        settings: the allow-list.
    """

    def __init__(self, settings: TransferSettings) -> None:
        self._settings = settings
        self._model = _model_of(settings)
        self.definition = ToolDefinition(BuiltInTool.TRANSFER_CALL.value, DESCRIPTION, schema_of(self._model))
        self.policy = ToolPolicy(
            timeout_seconds=settings.timeout_seconds, fallback=settings.fallback, confirm=settings.confirm
        )

    def check(self, arguments: str) -> Arguments:
        """See `Tool`. A destination that is not listed is an argument that is wrong: nothing is dialled."""
        checked = check_arguments(self._model, arguments)
        if self._settings.resolve(str(checked["destination"])) is None:
            raise ToolArgumentsError(f"destination: calls may not be transferred to {checked['destination']!r}.")
        return checked

    async def run(self, arguments: Arguments, context: ToolContext) -> object:
        """See `Tool`."""
        uri = self._settings.resolve(str(arguments["destination"]))
        if uri is None:
            raise ToolFailedError("The destination is not listed.")  # not reached: `check` comes first
        outcome = await context.line.transfer_call(uri)
        if not outcome.is_done:
            raise ToolFailedError(
                f"The transfer failed: {outcome.status} {outcome.reason}. The caller is still on the line with you."
            )
        return {"transferred": True, "status": outcome.status}


def _model_of(settings: TransferSettings) -> type[BaseModel]:
    """The schema of the arguments: a choice of names, or free text where numbers are allowed beside them."""
    names = tuple(settings.destinations)
    if not settings.allow:
        # A choice that is known at run time only, which no annotation can say.
        kind: Any = Literal[names]
        description = "To whom."
    else:
        kind = Annotated[str, Field(max_length=LONGEST_WISH)]
        known = f"One of {', '.join(names)}; or a" if names else "A"
        description = f"{known} telephone number with + and country code, or a SIP URI."
    field: Any = (kind, Field(description=description))
    return create_model("TransferCallArguments", __config__=ConfigDict(extra="ignore"), destination=field)
