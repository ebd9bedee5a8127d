"""A server of the Model Context Protocol made with the official package, as a program of its own.

    python mcp_program.py stdio | http PORT   [--log FILE]

What befalls a call of `wait` is written into the log file: begun, cancelled, done.
"""

import argparse
import asyncio
import os
from pathlib import Path

from mcp.server import MCPServer
from mcp.server.mcpserver import Context, Image

server = MCPServer("crm")
log = Path(os.devnull)


def note(word: str) -> None:
    with log.open("a") as file:
        file.write(f"{word}\n")


@server.tool()
def look_up(name: str) -> dict[str, object]:
    """Looks a customer up."""
    return {"name": name, "pid": os.getpid(), "secret": os.environ.get("CRM_SECRET"), "key": os.environ.get("A_KEY")}


@server.tool(name="orders.list all", structured_output=False)
def list_orders() -> str:
    """Lists the orders."""
    return "none"


@server.tool()
async def wait(seconds: float = 60) -> str:
    """Takes its time."""
    note("begun")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        note("cancelled")
        raise
    note("done")
    return "done"


@server.tool()
def fail() -> str:
    """Fails."""
    raise RuntimeError("the database is away")


@server.tool(structured_output=False)
def much() -> str:
    """Says much."""
    return "x" * 200_000


@server.tool(structured_output=False)
def too_much() -> str:
    """Says more than anybody can hear."""
    return "x" * 3_000_000


@server.tool(structured_output=False)
def picture() -> list[object]:
    """Words and a picture."""
    return ["Here it is.", Image(data=b"\x89PNG", format="png")]


@server.tool(structured_output=False)
async def learn(context: Context) -> str:
    """Adds a tool."""

    def learnt() -> str:
        """Was not there before."""
        return "learnt"

    server.add_tool(learnt)
    await context.notify_tools_changed()  # to who listens for it, as of 2026
    await context.session.send_tool_list_changed()  # before that, a message of its own
    return "ok"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("way", choices=("stdio", "http"))
    parser.add_argument("port", type=int, nargs="?", default=0)
    parser.add_argument("--log", type=Path, default=log)
    options = parser.parse_args()
    log = options.log
    if options.way == "http":
        server.run("streamable-http", host="127.0.0.1", port=options.port)
    else:
        server.run("stdio")
