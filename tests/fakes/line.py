"""The call as tools see it, where a test needs none."""

from gateway.tools.tool import TransferOutcome


class SilentLine:
    """A call that takes nothing."""

    def end_call(self) -> None: ...

    def send_digits(self, digits: str) -> bool:
        return False

    async def transfer_call(self, uri: str) -> TransferOutcome:
        return TransferOutcome(403, "Forbidden")

    def pause_recording(self) -> bool:
        return False

    def resume_recording(self) -> bool:
        return False
