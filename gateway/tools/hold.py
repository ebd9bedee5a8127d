"""The tools with which an agent lets the caller hear something else than itself."""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from gateway.config.hold import AnnouncementSettings, HoldSettings
from gateway.config.tool import BuiltInTool
from gateway.realtime.settings import ToolDefinition
from gateway.tools.built_in import NoArguments
from gateway.tools.errors import ToolFailedError
from gateway.tools.tool import Arguments, ToolContext, ToolPolicy, check_arguments, schema_of

HOLD_DESCRIPTION: Final = (
    "Lets the caller wait with music, while something takes time. Tell the caller first. The music ends by itself when "
    "you speak again; while it plays you do not hear the caller."
)
ANNOUNCEMENT_DESCRIPTION: Final = (
    "Plays a recorded announcement to the caller, to its end. Your last word is heard first; go on when you have the "
    "result, and do not repeat what was announced."
)
LONGEST_ANNOUNCEMENT_SECONDS: Final = 300.0


class HoldCaller:
    """Music on hold. It gives no result: whatever the agent says next ends the hold.

    Args:
        settings: the music.
    """

    policy = ToolPolicy(answers=False, timeout_seconds=30.0)

    def __init__(self, settings: HoldSettings) -> None:
        self._settings = settings
        self.definition = ToolDefinition(BuiltInTool.HOLD_CALLER.value, HOLD_DESCRIPTION, schema_of(NoArguments))

    def check(self, arguments: str) -> Arguments:
        """See `Tool`."""
        return check_arguments(NoArguments, arguments)

    async def run(self, arguments: Arguments, context: ToolContext) -> object:
        """See `Tool`."""
        if not await context.line.hold_caller(self._settings.music, float(self._settings.max_seconds)):
            raise ToolFailedError("The caller cannot be put on hold at this moment.")
        return None


class PlayAnnouncement:
    """One of the agent's announcements.

    Args:
        announcements: by the name that the model says.
    """

    policy = ToolPolicy(timeout_seconds=LONGEST_ANNOUNCEMENT_SECONDS)

    def __init__(self, announcements: dict[str, AnnouncementSettings]) -> None:
        self._announcements = announcements
        names = tuple(announcements)
        told = "; ".join(f"{name}: {one.description}" for name, one in announcements.items())
        # A choice that is known at run time only, which no annotation can say.
        kind: Any = Annotated[Literal[names], Field(description=told)]
        self._model: type[BaseModel] = create_model(
            "PlayAnnouncementArguments", __config__=ConfigDict(extra="ignore"), announcement=(kind, ...)
        )
        self.definition = ToolDefinition(
            BuiltInTool.PLAY_ANNOUNCEMENT.value, ANNOUNCEMENT_DESCRIPTION, schema_of(self._model)
        )

    def check(self, arguments: str) -> Arguments:
        """See `Tool`."""
        return check_arguments(self._model, arguments)

    async def run(self, arguments: Arguments, context: ToolContext) -> object:
        """See `Tool`."""
        name = str(arguments["announcement"])
        if not await context.line.play_announcement(self._announcements[name].file):
            raise ToolFailedError("The announcement cannot be played at this moment.")
        return {"played": name}
