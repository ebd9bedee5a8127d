"""The call as tools see it, where a test needs none."""

from pathlib import Path

from gateway.tools.tool import TransferOutcome


class SilentLine:
    """A call that takes nothing."""

    def end_call(self) -> None: ...

    def send_digits(self, digits: str) -> bool:
        return False

    async def transfer_call(self, uri: str) -> TransferOutcome:
        return TransferOutcome(403, "Forbidden")

    async def hold_caller(self, music: Path, max_seconds: float) -> bool:
        return False

    async def play_announcement(self, file: Path) -> bool:
        return False

    def pause_recording(self) -> bool:
        return False

    async def resume_recording(self) -> bool:
        return False
