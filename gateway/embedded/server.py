"""The server: which path, model and mode a connection asks for, and one session for each connection."""

import http
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit
from weakref import WeakKeyDictionary

from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from gateway.embedded import gemini, live
from gateway.embedded.activity import silero_probability
from gateway.embedded.agent import AgentSession, Pace
from gateway.embedded.connection import SessionConnection
from gateway.embedded.errors import FaultError
from gateway.embedded.fault import Burst, DeltaStorm, Expire, Fault, FaultRule, Status, faults_for, parse_fault
from gateway.embedded.faulty_wire import FaultyWire
from gateway.embedded.load import TALK_SPEED, EchoSession, SilentSession, TalkSession
from gateway.embedded.script import Script
from gateway.embedded.served import ServedSession
from gateway.embedded.session import SESSION_LIMIT_S, Session
from gateway.embedded.wire import PlainWire
from gateway.embedded.worker import SpeechWorker

PATH: Final = "/v1/realtime"
FOREIGN_PATHS: Final = frozenset((gemini.PATH, live.PATH))
# One append may hold 15 MiB of base64; the rest of its JSON fits easily.
_MAX_MESSAGE_BYTES: Final = 16 * 2**20
_MODEL_PREFIX: Final = "embedded-"
_HANDSHAKE_TIMEOUT_S: Final = 10.0
_CLOSE_TIMEOUT_S: Final = 2.0
# Messages read ahead of the session: half a second of 20 ms appends.
_READ_AHEAD: Final = 25
# So fast that a response is there in a millisecond.
_AT_ONCE: Final = 10_000.0
# A link to config/scripts/restaurant.yaml, so that an installed package has it too.
DEFAULT_SCRIPT: Final = Path(__file__).with_name("restaurant.yaml")


class Mode(Enum):
    """What the server does with a caller; the model `embedded-echo` asks for the mode `echo`, and so on."""

    AGENT = "agent"
    ECHO = "echo"
    TALK = "talk"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How to serve. `mode` is for models whose name is no mode's; `session_limit_s` is the longest session."""

    script: Script
    host: str = "127.0.0.1"
    port: int = 0
    mode: Mode = Mode.AGENT
    pace: Pace = field(default_factory=Pace)
    session_limit_s: float = SESSION_LIMIT_S
    faults: tuple[FaultRule, ...] = ()


class RealtimeServer:
    """Makes a session for each connection. `sessions` is how many are open."""

    def __init__(self, settings: ServerSettings, worker: SpeechWorker) -> None:
        self._settings = settings
        self._worker = worker
        self._connections = 0
        self._faults: WeakKeyDictionary[ServerConnection, tuple[Fault, ...]] = WeakKeyDictionary()
        self._handles = gemini.Handles()
        self.sessions = 0

    def check_request(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuses what the service refuses at the upgrade: 404 for another path or model, 400 without a model."""
        self._connections += 1
        parts = urlsplit(request.path)
        try:
            asked = tuple(parse_fault(text) for text in parse_qs(parts.query).get("fault", []))
        except FaultError as error:
            return _refusal(connection, http.HTTPStatus.BAD_REQUEST, "invalid_fault", str(error))
        faults = faults_for(self._settings.faults, self._connections) + asked
        self._faults[connection] = faults
        status = next((fault for fault in faults if isinstance(fault, Status)), None)
        if status is not None:
            return _status_refusal(connection, status)
        if parts.path in FOREIGN_PATHS:
            return None  # the model is named in the first message
        if parts.path != PATH:
            return _refusal(connection, http.HTTPStatus.NOT_FOUND, "not_found", f"There is nothing at {parts.path}")
        model = _model(request.path)
        if not model:
            return _refusal(
                connection, http.HTTPStatus.BAD_REQUEST, "missing_model", "You must provide a model parameter."
            )
        if model.startswith(_MODEL_PREFIX) and self._mode(model) is None:
            message = f"The model `{model}` does not exist."
            return _refusal(connection, http.HTTPStatus.NOT_FOUND, "model_not_found", message)
        return None

    async def handle(self, socket: ServerConnection) -> None:
        """Serves one connection until it closes."""
        path = "" if socket.request is None else socket.request.path
        faults = self._faults.pop(socket, ())
        session = self._served(path, faults)
        text = urlsplit(path).path != gemini.PATH  # its JSON comes in binary frames
        wire = FaultyWire(socket, faults, text=text) if faults else PlainWire(socket, text=text)
        self.sessions += 1
        try:
            await SessionConnection(session, wire, self._worker).run()
        finally:
            self.sessions -= 1

    def _served(self, path: str, faults: tuple[Fault, ...]) -> ServedSession:
        def make(model: str) -> Session | None:
            mode = self._mode(model)
            if mode is None:
                return None
            return self._session(model, mode, faults, speed=live.SPEED if at == live.PATH else None)

        limit_s = next((fault.after_ms / 1000 for fault in faults if isinstance(fault, Expire)), None)
        limit_s = self._settings.session_limit_s if limit_s is None else limit_s
        at = urlsplit(path).path
        if at == gemini.PATH:
            return gemini.GeminiSession(make, _token, self._handles, limit_s)
        if at == live.PATH:
            return live.LiveSession(make, _token, limit_s, time.time())
        model = _model(path)
        return self._session(model, self._mode(model) or self._settings.mode, faults)

    def _mode(self, model: str) -> Mode | None:
        if not model.startswith(_MODEL_PREFIX):
            return self._settings.mode
        name = model.removeprefix(_MODEL_PREFIX)
        return Mode(name) if name in {mode.value for mode in Mode} else None

    def _session(self, model: str, mode: Mode, faults: tuple[Fault, ...], *, speed: float | None = None) -> Session:
        limit_s, wall_time_s = self._settings.session_limit_s, time.time()
        pace, talk_speed = self._settings.pace, TALK_SPEED
        if speed is not None:
            pace, talk_speed = replace(pace, speed=speed), speed
        for fault in faults:
            match fault:
                case Expire():
                    limit_s = fault.after_ms / 1000
                case Burst():
                    pace, talk_speed = replace(pace, speed=0), _AT_ONCE
                case DeltaStorm():
                    pace, talk_speed = replace(pace, speed=fault.speed, delta_ms=fault.delta_ms), fault.speed
        match mode:
            case Mode.AGENT:
                return AgentSession(
                    model,
                    script=self._settings.script,
                    pace=pace,
                    probability=silero_probability,
                    token=_token,
                    wall_time_s=wall_time_s,
                    limit_s=limit_s,
                )
            case Mode.ECHO:
                return EchoSession(model, token=_token, wall_time_s=wall_time_s, limit_s=limit_s)
            case Mode.TALK:
                return TalkSession(model, speed=talk_speed, token=_token, wall_time_s=wall_time_s, limit_s=limit_s)
            case Mode.SILENT:
                return SilentSession(model, token=_token, wall_time_s=wall_time_s, limit_s=limit_s)


@asynccontextmanager
async def running(settings: ServerSettings) -> AsyncIterator[str]:
    """Serves while the context lasts, and yields the URL without path and query. An agent's models are loaded first."""
    async with SpeechWorker(settings.script.meanings) as worker:
        if settings.mode is Mode.AGENT:
            await worker.prepare([settings.script.greeting])
        server = RealtimeServer(settings, worker)
        async with serve(
            server.handle,
            settings.host,
            settings.port,
            process_request=server.check_request,
            compression=None,
            max_size=_MAX_MESSAGE_BYTES,
            max_queue=_READ_AHEAD,
            open_timeout=_HANDSHAKE_TIMEOUT_S,
            close_timeout=_CLOSE_TIMEOUT_S,
            server_header=None,
        ) as listener:
            host, port = next(iter(listener.sockets)).getsockname()[:2]
            yield f"ws://[{host}]:{port}" if ":" in host else f"ws://{host}:{port}"


def _model(path: str) -> str:
    return parse_qs(urlsplit(path).query).get("model", [""])[0]


def _token() -> str:
    return secrets.token_hex(9)


def _status_refusal(connection: ServerConnection, fault: Status) -> Response:
    codes = {401: "invalid_api_key", 403: "forbidden", 404: "model_not_found", 429: "rate_limit_exceeded"}
    status = http.HTTPStatus(fault.code)
    response = _refusal(connection, status, codes.get(fault.code, "server_error"), status.description or status.phrase)
    if fault.retry_after_s is not None:
        response.headers["Retry-After"] = str(fault.retry_after_s)
    return response


def _refusal(connection: ServerConnection, status: http.HTTPStatus, code: str, message: str) -> Response:
    body = {"error": {"message": message, "type": "invalid_request_error", "code": code, "param": None}}
    response = connection.respond(status, json.dumps(body))
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = "application/json"
    return response
