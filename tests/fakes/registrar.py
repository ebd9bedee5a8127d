"""A registrar on loopback: challenges, grants, forgets. Built of the message parser and the digest verifier."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from sip.digest_verifier import DigestVerdict, DigestVerifier
from sip.message import Request, parse_message

LOOPBACK = "127.0.0.1"


@dataclass
class Registrar(asyncio.DatagramProtocol):
    """Bindings by address of record: contact URI and granted seconds. What was received is kept."""

    realm: str = "pbx.example"
    users: dict[str, str] = field(default_factory=lambda: {"gateway": "secret"})
    grants: int = 600
    refuses: int | None = None
    requests: list[Request] = field(default_factory=list)
    bindings: dict[str, dict[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.verifier = DigestVerifier(self.realm, bytes(16), self.users.get)
        self.port = 0
        self._transport: asyncio.DatagramTransport | None = None

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["Registrar"]:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(LOOPBACK, 0))
        self._transport = transport
        self.port = transport.get_extra_info("sockname")[1]
        try:
            yield self
        finally:
            transport.close()
            await asyncio.sleep(0)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        request = parse_message(data)
        if not isinstance(request, Request) or request.method != "REGISTER":
            return
        self.requests.append(request)
        status, headers = self._judge(request)
        response = request.create_response(status, to_tag="registrar", headers=headers)
        assert self._transport is not None
        self._transport.sendto(bytes(response), addr)

    def _judge(self, request: Request) -> tuple[int, list[tuple[str, str]]]:
        if self.refuses is not None:
            return self.refuses, []
        now = asyncio.get_running_loop().time()
        values = request.headers.get_all("Authorization")
        verdict, _ = self.verifier.verify(values, method="REGISTER", request_uri=str(request.uri), now=now)
        if verdict is not DigestVerdict.ACCEPTED:
            challenges = self.verifier.challenges(now, stale=verdict.is_stale)
            return 401, [("WWW-Authenticate", challenge) for challenge in challenges]
        bound = self.bindings.setdefault(str(request.to.uri), {})
        for contact in request.contacts:
            if contact.params.get("expires") == "0":
                bound.pop(str(contact.uri), None)
            else:
                bound[str(contact.uri)] = self.grants
        return 200, [("Contact", f"<{uri}>;expires={seconds}") for uri, seconds in bound.items()]
