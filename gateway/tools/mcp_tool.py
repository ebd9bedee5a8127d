"""Tools of servers that speak the Model Context Protocol: under names that every model service takes."""

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import mcp_types

from gateway.config.tool import McpToolSettings
from gateway.realtime.settings import ToolDefinition
from gateway.tools.errors import ToolArgumentsError, ToolFailedError
from gateway.tools.mcp_server import McpServer, ServerTool
from gateway.tools.tool import ARGUMENTS_LIMIT, Arguments, Tool, ToolContext, ToolPolicy

# OpenAI: letters, digits, _ and -, at most 64. Gemini wants a letter or _ first.
NAME_LIMIT: Final = 64
_ILLEGAL: Final = re.compile(r"[^A-Za-z0-9_\-]")
_DIGEST_DIGITS: Final = 6
# What OpenAI takes as the description of a function.
DESCRIPTION_LIMIT: Final = 1_024
# Of a failure's words the model needs the beginning.
FAILURE_LIMIT: Final = 2_000


class McpTool:
    """One tool of a server.

    Args:
        name: what the model calls it.
        listing: what the server says of it.
        server: the session with the server.
        policy: how a call treats it.
    """

    def __init__(self, name: str, listing: ServerTool, server: McpServer, policy: ToolPolicy) -> None:
        self.policy = policy
        self.definition = ToolDefinition(name, listing.description[:DESCRIPTION_LIMIT], _schema(listing.parameters))
        self._server_name = listing.name
        self._server = server
        required = listing.parameters.get("required")
        self._required = tuple(map(str, required)) if isinstance(required, list) else ()

    def check(self, arguments: str) -> Arguments:
        """See `Tool`. Values are the server's to judge: it says what is wrong with them, and does nothing then."""
        if len(arguments) > ARGUMENTS_LIMIT:
            raise ToolArgumentsError(f"The arguments are longer than {ARGUMENTS_LIMIT} characters.")
        try:
            values = json.loads(arguments or "{}")
        except (ValueError, RecursionError):
            raise ToolArgumentsError("The arguments are not JSON.") from None
        if not isinstance(values, dict):
            raise ToolArgumentsError("The arguments are not a JSON object.")
        if missing := [name for name in self._required if name not in values]:
            raise ToolArgumentsError(f"{', '.join(missing)}: required, and not there.")
        return values

    async def run(self, arguments: Arguments, context: ToolContext) -> object:
        """See `Tool`."""
        result = await self._server.call(self._server_name, arguments)
        if result.is_error:
            raise ToolFailedError(_words(result.content)[:FAILURE_LIMIT] or "The tool failed and does not say why.")
        return result.structured_content if result.structured_content is not None else _words(result.content)


def mcp_tools(
    entry: str, settings: McpToolSettings, server: McpServer, policy: ToolPolicy, taken: Collection[str]
) -> dict[str, Tool]:
    """The tools of a server that an agent may use, by the names that its model sees.

    Args:
        entry: the name of the entry in the configuration.
        settings: the entry.
        server: the session.
        policy: of all of them.
        taken: names that mean something else already.
    """
    prefix = entry if settings.prefix is None else settings.prefix
    confirmed = ToolPolicy(
        policy.timeout_seconds, policy.fallback, policy.filler, policy.filler_after_seconds, confirm=True
    )
    tools: dict[str, Tool] = {}
    # In the order of their names: which of two gets the longer name must not depend on the server's order.
    for listing in sorted(server.tools, key=lambda tool: tool.name):
        if settings.allow is not None and listing.name not in settings.allow:
            continue
        name = legal_name(prefix, listing.name, {*taken, *tools})
        tools[name] = McpTool(name, listing, server, confirmed if listing.name in settings.confirm_tools else policy)
    return tools


def legal_name(prefix: str, name: str, taken: Collection[str]) -> str:
    """A name that every service takes; where it would be cut or is taken, with a few digits that tell it apart."""
    legal = _ILLEGAL.sub("_", f"{prefix}_{name}" if prefix else name)
    if not re.match(r"[A-Za-z_]", legal):
        legal = f"_{legal}"
    if len(legal) <= NAME_LIMIT and legal not in taken:
        return legal
    for attempt in range(len(taken) + 1):
        digest = hashlib.sha256(f"{prefix}/{name}/{attempt}".encode()).hexdigest()[:_DIGEST_DIGITS]
        told_apart = f"{legal[: NAME_LIMIT - _DIGEST_DIGITS - 1]}_{digest}"
        if told_apart not in taken:
            return told_apart
    raise AssertionError("more names than were asked for are taken")


def _schema(parameters: Mapping[str, object]) -> dict[str, object]:
    """A schema of type object, as services want it."""
    return {
        "properties": {},
        **{key: value for key, value in parameters.items() if key not in {"$schema", "title"}},
        "type": "object",
    }


def _words(content: Sequence[Any]) -> str:
    """What of a result can be read out; the rest is named."""
    return "\n".join(_word(block) for block in content)


def _word(block: object) -> str:
    match block:
        case mcp_types.TextContent(text=text):
            return text
        case mcp_types.EmbeddedResource(resource=mcp_types.TextResourceContents(text=text)):
            return text
        case mcp_types.ResourceLink(name=name, uri=uri):
            return f"[a link: {name}, {uri}]"
        case mcp_types.ImageContent():
            return "[an image was left out]"
        case mcp_types.AudioContent():
            return "[a sound was left out]"
        case _:
            return "[something that is no text was left out]"
