"""What can go wrong with a tool.

ToolError                  the label goes into the call record and the metrics
  ├─ ToolArgumentsError    the model's arguments are not what the tool takes: it was not run
  ├─ ToolFailedError       it ran, or tried to, and has no result
  └─ ToolConfigurationError  the configured tool cannot be made: no such function, a parameter without a type
"""

from typing import ClassVar

from gateway.errors import GatewayError


class ToolError(GatewayError):
    """A tool without a result; the message is told to the model."""

    label: ClassVar[str] = "tool_error"


class ToolArgumentsError(ToolError):
    """The arguments are no JSON, or not of the tool's schema. Nothing was done."""

    label: ClassVar[str] = "invalid_arguments"


class ToolFailedError(ToolError):
    """The tool was run and gave no result."""

    label: ClassVar[str] = "failed"


class ToolConfigurationError(ToolError):
    """A tool of the configuration cannot be made."""

    label: ClassVar[str] = "tool_configuration"
