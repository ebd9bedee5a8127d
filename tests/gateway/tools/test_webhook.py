"""Webhooks: signed, asked again only where that is safe, and never more read than a call can use."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.config.tool import WebhookToolSettings
from gateway.tools import webhook
from gateway.tools.errors import ToolArgumentsError, ToolFailedError
from gateway.tools.tool import RESULT_LIMIT, ToolContext, ToolPolicy
from gateway.tools.webhook import WebhookTool, create_client
from tests.fakes.line import SilentLine

KEY = b"0123456789abcdef"
NOW = 1_800_000_000.0


CONTEXT = ToolContext(
    "c1", "t1", "+15551234567", "+15550001111", SilentLine(), "pbx", "reception", "passed", {"x-account": "7"}
)
Answer = tuple[int, Mapping[str, str], bytes]
OK: Answer = (200, {"Content-Type": "application/json"}, b'{"table": 7}')


@dataclass
class WebServer:
    """What was asked, and what is answered; the last answer holds for all that follow."""

    answers: list[Answer | None]
    port: int = 0
    requests: list[tuple[Mapping[str, str], bytes]] = field(default_factory=list)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")[1:-2]
                headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
                self.requests.append((headers, await reader.readexactly(int(headers["content-length"]))))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if answer is None:
                    return
                status, fields, body = answer
                extra = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
                writer.write(f"HTTP/1.1 {status} X\r\n{extra}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def served(*answers: Answer | None, **settings: Any) -> AsyncIterator[tuple[WebServer, WebhookTool]]:
    web = WebServer(list(answers))
    server = await asyncio.start_server(web.handle, "127.0.0.1", 0)
    web.port = server.sockets[0].getsockname()[1]
    async with server, create_client() as client:
        tool = WebhookTool(
            "book",
            WebhookToolSettings.model_validate(
                {
                    "type": "webhook",
                    "url": f"http://127.0.0.1:{web.port}/book",
                    "description": "Books a table.",
                    "parameters": {
                        "guests": {"type": "integer"},
                        "seat": {"choices": ["inside", "garden"], "required": False},
                    },
                    "secret": f"whsec_{base64.b64encode(KEY).decode()}",
                    **settings,
                }
            ),
            ToolPolicy(),
            client,
            lambda: NOW,
        )
        yield web, tool


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "RETRY_PAUSES_SECONDS", (0.0, 0.0))


async def test_a_request_is_signed_and_says_for_which_call() -> None:
    async with served(OK) as (web, tool):
        assert await tool.run(tool.check('{"guests": 4}'), CONTEXT) == {"table": 7}
    ((headers, body),) = web.requests
    assert json.loads(body) == {
        "tool": "book",
        "arguments": {"guests": 4},
        "call": {
            "id": "c1",
            "caller": "+15551234567",
            "dialled": "+15550001111",
            "trunk": "pbx",
            "agent": "reception",
            "verdict": "passed",
            "headers": {"x-account": "7"},
            "variables": {},
        },
    }
    assert headers["idempotency-key"] == headers["webhook-id"] == "c1-t1"
    signed = f"c1-t1.{int(NOW)}.".encode() + body
    expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


async def test_without_a_secret_nothing_is_signed() -> None:
    async with served(OK, secret=None) as (web, tool):
        await tool.run({"guests": 4}, CONTEXT)
    assert "webhook-signature" not in web.requests[0][0]


async def test_a_server_that_may_be_asked_twice_is_asked_again_under_the_same_key() -> None:
    async with served((503, {}, b""), None, OK, idempotent=True) as (web, tool):
        assert await tool.run({"guests": 4}, CONTEXT) == {"table": 7}
    assert [headers["idempotency-key"] for headers, _ in web.requests] == ["c1-t1"] * 3


@pytest.mark.parametrize("answer", [(503, {}, b""), None])
async def test_a_server_that_may_not_be_asked_twice_is_asked_once(answer: Answer | None) -> None:
    async with served(answer) as (web, tool):
        with pytest.raises(ToolFailedError):
            await tool.run({"guests": 4}, CONTEXT)
    assert len(web.requests) == 1


async def test_retries_end() -> None:
    async with served((502, {}, b""), idempotent=True) as (web, tool):
        with pytest.raises(ToolFailedError, match="502"):
            await tool.run({"guests": 4}, CONTEXT)
    assert len(web.requests) == 3


async def test_a_redirect_is_not_followed() -> None:
    async with served((302, {"Location": "http://169.254.169.254/latest"}, b""), idempotent=True) as (web, tool):
        with pytest.raises(ToolFailedError, match="302"):
            await tool.run({"guests": 4}, CONTEXT)
    assert len(web.requests) == 1


async def test_a_server_that_is_not_there_is_a_failure() -> None:
    async with served(OK) as (_, tool):
        pass
    async with create_client() as client:
        tool._client = client
        with pytest.raises(ToolFailedError, match="could not be reached"):
            await tool.run({"guests": 4}, CONTEXT)


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        ((200, {"Content-Type": "text/plain"}, b"table seven"), "table seven"),
        ((204, {}, b""), {"ok": True}),
    ],
)
async def test_an_answer_need_not_be_json(answer: Answer, result: object) -> None:
    async with served(answer) as (_, tool):
        assert await tool.run({"guests": 4}, CONTEXT) == result


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((200, {"Content-Type": "application/json"}, b"{"), "not JSON"),
        ((200, {}, b"x" * (RESULT_LIMIT + 1)), "more than"),
        ((404, {}, b""), "404"),
    ],
)
async def test_an_answer_that_is_no_result_is_a_failure(answer: Answer, reason: str) -> None:
    async with served(answer) as (_, tool):
        with pytest.raises(ToolFailedError, match=reason):
            await tool.run({"guests": 4}, CONTEXT)


@pytest.mark.parametrize("arguments", ["{}", '{"guests": "many"}', '{"guests": 4, "seat": "roof"}', '{"guests":'])
async def test_arguments_are_checked_before_anything_is_sent(arguments: str) -> None:
    async with served(OK) as (_, tool):
        with pytest.raises(ToolArgumentsError):
            tool.check(arguments)


@pytest.mark.parametrize(
    "url", ["http://example.com/", "ftp://example.com/", "https://user:key@example.com/", "https://", "https://a:b/"]
)
def test_a_url_that_would_leak_or_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        WebhookToolSettings.model_validate({"type": "webhook", "url": url, "description": "x"})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
async def test_a_private_address_is_not_asked_where_only_public_ones_may_be(host: str) -> None:
    async with served(OK, public_only=True) as (web, tool):
        tool._settings = tool._settings.model_copy(update={"url": f"http://{host}:{web.port}/book"})
        with pytest.raises(ToolFailedError, match="not a public address"):
            await tool.run({"guests": 4}, CONTEXT)
        assert web.requests == []


async def test_the_address_that_was_checked_is_the_one_that_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        looked_up.append(host)
        return ["192.0.2.1"]

    monkeypatch.setattr(webhook, "resolve", resolve)
    monkeypatch.setattr(webhook, "choose_address", lambda host, found: "127.0.0.1")
    async with served(OK, public_only=True) as (web, tool):
        tool._settings = tool._settings.model_copy(update={"url": f"http://tools.example:{web.port}/book"})
        assert await tool.run({"guests": 4}, CONTEXT) == {"table": 7}
        assert looked_up == ["tools.example"]
        assert web.requests[0][0]["host"] == f"tools.example:{web.port}"
