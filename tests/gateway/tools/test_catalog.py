"""What the tools of all agents share."""

import subprocess
import sys


def test_the_first_request_to_a_web_server_loads_no_event_loop_of_its_library() -> None:
    program = (
        "import asyncio, sys\n"
        "from gateway.tools.catalog import ToolCatalog\n"
        "async def look():\n"
        "    async with ToolCatalog():\n"
        "        print('anyio._backends._asyncio' in sys.modules)\n"
        "asyncio.run(look())\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == "True\n"
