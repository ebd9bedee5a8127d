"""Tools that the gateway itself carries out."""

from typing import Final

from gateway.realtime.settings import ToolDefinition

END_CALL: Final = ToolDefinition(
    name="end_call",
    description=(
        "Ends the telephone call. Say goodbye first; the line is closed when your last word has been heard. "
        "Use it when the caller has said goodbye or has nothing more to ask."
    ),
    parameters={"type": "object", "properties": {"reason": {"type": "string", "description": "Why the call ends."}}},
)
