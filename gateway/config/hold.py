"""What an agent lets the caller hear that it does not say itself: music on hold, and announcements from files."""

from typing import Annotated

from pydantic import Field

from gateway.config.value import InputPath, Settings

LONGEST_HOLD_SECONDS = 600


class HoldSettings(Settings):
    """Music on hold."""

    music: InputPath
    """Sound file of any common format, played again and again; relative to the folder of gateway.yaml."""
    max_seconds: Annotated[int, Field(ge=1, le=LONGEST_HOLD_SECONDS)] = 60
    """Longest hold. Then the caller is back with the agent, which is told so. What the agent says ends it earlier."""


class AnnouncementSettings(Settings):
    """One announcement."""

    file: InputPath
    """Sound file of any common format; relative to the folder of gateway.yaml."""
    description: Annotated[str, Field(min_length=1)]
    """What the model is told about it: what is said in it, and when to play it."""
