"""A call as Twilio delivers it: what the gateway sends inside the dialog, seen at the proxy between the two."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from tests.helpers.gateway_process import TWILIO_NUMBER, GatewayProcess
from tests.helpers.sipp import LOOPBACK, Address, free_udp_ports, run_sipp

pytestmark = [pytest.mark.sipp, pytest.mark.process]

PRIVATE_CONTACT = "sip:+15552223333@172.25.75.240:5060;transport=udp"


class Hop(asyncio.DatagramProtocol):
    """The outer side of Twilio's proxy: passes on to SIPp what arrives here, and keeps it."""

    def __init__(self, onward: Address) -> None:
        self._onward = onward
        self._transport: asyncio.DatagramTransport | None = None
        self.datagrams: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)  # the selector loop's is one in all but name

    def datagram_received(self, data: bytes, addr: Address) -> None:
        assert self._transport is not None
        self.datagrams.append(data.decode())
        self._transport.sendto(data, self._onward)

    @classmethod
    @asynccontextmanager
    async def open(cls, port: int, onward: Address) -> AsyncIterator["Hop"]:
        loop = asyncio.get_running_loop()
        transport, hop = await loop.create_datagram_endpoint(lambda: cls(onward), local_addr=(LOOPBACK, port))
        try:
            yield hop
        finally:
            transport.close()


async def test_bye_follows_the_route_set_to_the_first_hop__rfc3261_12_2_1_1(
    gateway: GatewayProcess, tmp_path: Path
) -> None:
    hop_port, inner_port, sipp_port = free_udp_ports(3)
    keys: dict[str, str | int] = {"hop_port": hop_port, "inner_port": inner_port}
    async with Hop.open(hop_port, (LOOPBACK, sipp_port)) as hop:
        run = await asyncio.to_thread(
            run_sipp, "uac-twilio-invite", gateway.sip_address, tmp_path,
            number=TWILIO_NUMBER, local_port=sipp_port, keys=keys,
        )  # fmt: skip
    run.assert_clean()

    (bye,) = run.received(method="BYE")
    assert hop.datagrams, "the BYE went past the first hop"
    assert all(datagram.startswith(f"BYE {PRIVATE_CONTACT} SIP/2.0\r\n") for datagram in hop.datagrams)
    assert bye.start_line == f"BYE {PRIVATE_CONTACT} SIP/2.0"
    assert [route.strip() for line in bye.headers("Route") for route in line.split(",")] == [
        f"<sip:127.0.0.1:{hop_port};r2=on;lr>",
        f"<sip:127.0.0.1:{inner_port};r2=on;lr>",
    ]

    record = gateway.wait_for_record(run.sip_call_id)
    assert record["carrier_call_id"] == "CA00000000000000000000000000000001"
    assert record["dialled"] == TWILIO_NUMBER
    assert record["caller"] == "+15552223333"


async def test_answer_copies_vias_and_record_routes_untouched__rfc3261_8_2_6_2(
    gateway: GatewayProcess, tmp_path: Path
) -> None:
    (sipp_port,) = free_udp_ports(1)
    keys: dict[str, str | int] = {"hop_port": sipp_port, "inner_port": 5091}  # SIPp itself is the hop
    run = await asyncio.to_thread(
        run_sipp, "uac-twilio-invite", gateway.sip_address, tmp_path,
        number=TWILIO_NUMBER, local_port=sipp_port, keys=keys,
    )  # fmt: skip
    run.assert_clean()

    invite = run.messages[0]
    for status in (180, 200):
        for response in run.received(status=status, method="INVITE"):
            sent, received = invite.headers("Via"), response.headers("Via")
            assert received[1:] == sent[1:], "the inner Via is not ours to change"
            assert received[0].startswith(sent[0]), "to the top Via only received and rport may be added"
            assert response.headers("Record-Route") == invite.headers("Record-Route")
            assert "172.25.75.240" not in (response.header("Contact") or "")
