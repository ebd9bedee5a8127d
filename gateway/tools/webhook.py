"""Web servers as tools: one signed JSON POST, and again only where that is safe.

The headers are those of Standard Webhooks: `webhook-id`, `webhook-timestamp`, `webhook-signature: v1,BASE64` over
`id.timestamp.body`. The id is the same when a request is sent again, and is the `Idempotency-Key` as well.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Literal

import httpx
from pydantic import BaseModel, ConfigDict, Field, create_model

from gateway.config.tool import LONGEST_TOOL_SECONDS, ParameterSettings, ParameterType, WebhookToolSettings
from gateway.identity.errors import FetchError
from gateway.identity.fetch import resolve
from gateway.identity.guard import choose_address
from gateway.realtime.settings import ToolDefinition
from gateway.tools.errors import ToolFailedError
from gateway.tools.tool import RESULT_LIMIT, Arguments, ToolContext, ToolPolicy, check_arguments, schema_of

# Between two attempts: what a load balancer needs to notice a server that is gone.
RETRY_PAUSES_SECONDS: Final = (0.2, 0.8)
# Answers that say that the server behind the gateway did not take the request, or may be asked again.
_RETRYABLE_STATUSES: Final = frozenset((502, 503, 504))
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - not a secret: the mark of one
_TYPES: Final[dict[ParameterType, type]] = {
    ParameterType.STRING: str,
    ParameterType.INTEGER: int,
    ParameterType.NUMBER: float,
    ParameterType.BOOLEAN: bool,
}


class _Again(Exception):  # noqa: N818 - not an error of ours: an attempt that may be repeated
    """An attempt failed in a way that allows another."""


class WebhookTool:
    """A tool that a web server carries out.

    Args:
        name: what the model calls it.
        settings: where, how signed, which arguments.
        policy: how a call treats it.
        client: shared by all webhooks: no redirects, no proxies from the environment.
        wall_clock: seconds since 1970, for the signature.
    """

    def __init__(
        self,
        name: str,
        settings: WebhookToolSettings,
        policy: ToolPolicy,
        client: httpx.AsyncClient,
        wall_clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._client = client
        self._wall_clock = wall_clock
        self._key = None if settings.secret is None else signing_key(settings.secret.get_secret_value())
        self._model = _model_of(name, settings.parameters)
        self.policy = policy
        self.definition = ToolDefinition(name, settings.description, schema_of(self._model))

    def check(self, arguments: str) -> Arguments:
        """See `Tool`."""
        return {name: value for name, value in check_arguments(self._model, arguments).items() if value is not None}

    async def run(self, arguments: Arguments, context: ToolContext) -> object:
        """See `Tool`. The caller of `run` bounds the time."""
        message_id = f"{context.call_id}-{context.tool_call_id}"
        body = json.dumps(
            {
                "tool": self.definition.name,
                "arguments": arguments,
                "call": {
                    "id": context.call_id,
                    "caller": context.caller,
                    "dialled": context.dialled,
                    "trunk": context.trunk,
                    "agent": context.agent,
                    "verdict": context.verdict or None,
                    "headers": dict(context.headers),
                    "variables": dict(context.variables),
                },
            },
            ensure_ascii=False,
        ).encode()
        for pause in (*RETRY_PAUSES_SECONDS, None):
            try:
                return await self._post(message_id, body)
            except _Again as error:
                if pause is None:
                    raise ToolFailedError(str(error)) from error
                await asyncio.sleep(pause)
        raise ToolFailedError("The web server was not asked.")  # not reached: the last attempt returns or raises

    async def _post(self, message_id: str, body: bytes) -> object:
        """One attempt. Raises _Again where another is safe, else ToolFailedError."""
        idempotent = self._settings.idempotent
        try:
            async with self._request(self._headers(message_id, body), body) as response:
                if response.status_code in _RETRYABLE_STATUSES and idempotent:
                    raise _Again(f"The web server answered {response.status_code}.")
                if not response.is_success:
                    raise ToolFailedError(f"The web server answered {response.status_code}.")
                return await _read(response)
        except httpx.ConnectError as error:  # the request has not left this machine
            raise _Again(f"The web server could not be reached: {error}") from error
        except httpx.HTTPError as error:
            reason = f"The web server did not answer: {type(error).__name__}: {error}"
            raise (_Again(reason) if idempotent else ToolFailedError(reason)) from error

    @asynccontextmanager
    async def _request(self, headers: dict[str, str], body: bytes) -> AsyncIterator[httpx.Response]:
        """The answer to one request, its body not yet read."""
        url = httpx.URL(self._settings.url)
        if not self._settings.public_only:
            async with self._client.stream("POST", url, content=body, headers=headers) as response:
                yield response
            return
        try:
            address = choose_address(url.host, await resolve(url.host, url.port or 443))
        except FetchError as error:
            raise ToolFailedError(f"The web server may not be asked: {error}.") from error
        except OSError as error:
            raise _Again(f"The web server could not be found: {error}") from error
        # The connection goes to the very address that was checked. A client of its own: a pool would know connections
        # by their address and mix up the names behind it.
        headers["Host"] = url.netloc.decode("ascii")
        async with (
            create_client() as client,
            client.stream(
                "POST",
                url.copy_with(host=address),
                content=body,
                headers=headers,
                extensions={"sni_hostname": url.host},
            ) as response,
        ):
            yield response

    def _headers(self, message_id: str, body: bytes) -> dict[str, str]:
        timestamp = str(int(self._wall_clock()))
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # so that the size limit is one of what is really held
            "Idempotency-Key": message_id,
            "webhook-id": message_id,
            "webhook-timestamp": timestamp,
        }
        if self._key is not None:
            headers["webhook-signature"] = sign(self._key, message_id, timestamp, body)
        return headers


def create_client() -> httpx.AsyncClient:
    """The client that all webhooks share. A tool's own timeout bounds the whole of a request; this one each step."""
    return httpx.AsyncClient(
        follow_redirects=False, trust_env=False, timeout=LONGEST_TOOL_SECONDS, headers={"User-Agent": "trunkline"}
    )


def signing_key(secret: str) -> bytes:
    """The key of a secret: what follows `whsec_` is base64, anything else is taken as it stands."""
    if secret.startswith(SECRET_PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
        except binascii.Error:
            return secret.encode()
    return secret.encode()


def sign(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    """The value of `webhook-signature`."""
    digest = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


async def _read(response: httpx.Response) -> object:
    """JSON as a value, anything else as text; nothing beyond the limit is read."""
    body = bytearray()
    async for part in response.aiter_raw():
        body += part
        if len(body) > RESULT_LIMIT:
            raise ToolFailedError(f"The web server answered with more than {RESULT_LIMIT} bytes.")
    text = body.decode("utf-8", "replace")
    if not text:
        return {"ok": True}
    if "json" not in response.headers.get("Content-Type", ""):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise ToolFailedError("The web server answered with something that is not JSON.") from error


def _model_of(name: str, parameters: Mapping[str, ParameterSettings]) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for key, parameter in parameters.items():
        # A type that is known at run time only, which no annotation can say.
        kind: Any = _TYPES[parameter.type]
        if parameter.choices:
            kind = Literal[parameter.choices]
        if parameter.required:
            fields[key] = (kind, Field(description=parameter.description))
        else:
            fields[key] = (kind | None, Field(default=None, description=parameter.description))
    return create_model(f"{name}_arguments", __config__=ConfigDict(extra="forbid"), **fields)
