"""The embedded server as a child process."""

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from gateway.embedded.errors import StartError
from gateway.embedded.server import PATH, Mode

# Loading the models takes a second or two on a quiet machine.
_START_TIMEOUT_S: Final = 60.0
_STOP_TIMEOUT_S: Final = 5.0
_LINE_PREFIX: Final = "listening "
_QUOTED_ERROR_BYTES: Final = 4_096


class EmbeddedServer:
    """Starts `python -m gateway.embedded`, and ends it when the context ends.

    `url` is the Realtime endpoint without the model. Where the child dies `wait` returns; starting it anew is the
    caller's matter. The child ends with its parent even where the parent is killed, since its stdin closes then.
    """

    def __init__(
        self,
        *,
        script: Path | None = None,
        mode: Mode = Mode.AGENT,
        host: str = "127.0.0.1",
        port: int = 0,
        arguments: Sequence[str] = (),
        start_timeout_s: float = _START_TIMEOUT_S,
    ) -> None:
        self._arguments = ["--host", host, "--port", str(port), "--mode", mode.value, *arguments]
        if script is not None:
            self._arguments += ["--script", str(script)]
        self._start_timeout_s = start_timeout_s
        self._process: asyncio.subprocess.Process | None = None
        self._errors: asyncio.Task[None] | None = None
        self._error_text = bytearray()
        self.url = ""

    @property
    def pid(self) -> int | None:
        """The child's process id, None before it was started."""
        return None if self._process is None else self._process.pid

    async def __aenter__(self) -> Self:
        try:
            async with asyncio.timeout(self._start_timeout_s):
                await self._start()
        except TimeoutError:
            await self.aclose()
            raise StartError(f"The embedded server did not come up within {self._start_timeout_s:g} s") from None
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def wait(self) -> int:
        """Returns the exit status once the child has ended."""
        if self._process is None:
            raise StartError("The embedded server was not started")
        return await self._process.wait()

    async def aclose(self) -> None:
        """Ends the child: its stdin closes, then SIGKILL where it takes too long. Safe to call twice."""
        process = self._process
        if process is None:
            return
        if process.stdin is not None and not process.stdin.is_closing():
            process.stdin.close()
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if self._errors is not None:
            await self._errors
            self._errors = None

    async def _start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gateway.embedded",
            *self._arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, errors = self._process.stdout, self._process.stderr
        if out is None or errors is None:
            raise StartError("The embedded server was started without its pipes")
        self._errors = asyncio.create_task(self._keep_errors(errors))
        line = (await out.readline()).decode().strip()
        if not line.startswith(_LINE_PREFIX):
            await self._process.wait()
            await self._errors
            text = self._error_text.decode(errors="replace").strip() or f"exit status {self._process.returncode}"
            raise StartError(f"The embedded server did not start: {text}")
        self.url = line.removeprefix(_LINE_PREFIX) + PATH

    async def _keep_errors(self, stream: asyncio.StreamReader) -> None:
        """Reads stderr to its end, so that the child never stalls on it, and keeps what it said last."""
        while chunk := await stream.read(_QUOTED_ERROR_BYTES):
            self._error_text += chunk
            del self._error_text[:-_QUOTED_ERROR_BYTES]
