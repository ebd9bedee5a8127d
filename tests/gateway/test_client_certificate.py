"""TLS client certificates as access to a trunk, in a whole gateway on loopback (RFC 5922 §7)."""

import asyncio
import contextlib
import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.fakes.realtime_server import realtime_server
from tests.helpers.gateway_process import Record
from tests.helpers.house import House, house, obliging
from tests.helpers.patience import until
from tests.helpers.sipp import LOOPBACK
from tests.helpers.tls_authority import Authority, Credentials

NAME = "pbx.example.net"


@asynccontextmanager
async def certified_house(folder: Path, url: str) -> AsyncIterator[House]:
    """A gateway whose one trunk has no address of this machine, only a name in a certificate."""
    server = Authority(folder, "Server Root").issue([LOOPBACK], file="server")
    clients = Authority(folder, "Client Root")
    for name, file in ((NAME, "known"), ("other.example.net", "other")):
        clients.issue([name], file=file)
    Authority(folder, "Foreign Root").issue([NAME], file="foreign")

    def adapt(configuration: Record) -> None:
        configuration["trunks"]["loop"] |= {"allow": ["192.0.2.1/32"], "client_certificates": [NAME.upper()]}
        configuration["network"]["sip"] = [
            {
                "transport": "tls",
                "bind": LOOPBACK,
                "port": 0,
                "certificate": str(server.certificate),
                "key": str(server.key),
                "client_ca": str(clients.certificate),
            }
        ]

    async with house(folder, url, adapt=adapt) as gateway:
        yield gateway


def client_context(folder: Path, file: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(folder / "Server-Root.pem"))
    if file is not None:
        shown = Credentials(folder / f"{file}.crt", folder / f"{file}.key")
        context.load_cert_chain(shown.certificate, shown.key)
    return context


async def ask(gateway: House, file: str | None, patience: float) -> bytes:
    """The first line that OPTIONS is answered with; empty where the connection ends, or nothing comes in time."""
    host, port = gateway.service.addresses[0]
    reader, writer = await asyncio.open_connection(host, port, ssl=client_context(gateway.folder, file))
    branch = secrets.token_hex(8)
    local_port = writer.get_extra_info("sockname")[1]
    writer.write(
        f"OPTIONS sip:1000@{host}:{port} SIP/2.0\r\n"
        f"Via: SIP/2.0/TLS {host}:{local_port};branch=z9hG4bK{branch};rport\r\n"
        f"From: <sip:pbx@{NAME}>;tag={branch}\r\nTo: <sip:1000@{host}>\r\nCall-ID: {branch}\r\nCSeq: 1 OPTIONS\r\n"
        "Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n".encode()
    )
    try:
        async with asyncio.timeout(patience):
            return await reader.readline()
    except (TimeoutError, ConnectionError, ssl.SSLError):
        return b""
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):  # where the gateway was quicker
            await writer.wait_closed()


def counted(gateway: House, label: str) -> int:
    running = gateway.service._running
    assert running is not None
    return running.gate.counters[label]


async def test_a_certificate_with_the_trunks_name_stands_in_for_an_address__rfc5922_7_1(tmp_path: Path) -> None:
    async with realtime_server(obliging) as model, certified_house(tmp_path, model.url) as gateway:
        assert (await ask(gateway, "known", 5.0)).startswith(b"SIP/2.0 200")


@pytest.mark.parametrize(("file", "label"), [(None, "certificate_missing"), ("other", "certificate_unknown")])
async def test_whoever_shows_none_or_another_name_meets_silence_and_is_counted__rfc5922_7_2(
    tmp_path: Path, file: str | None, label: str
) -> None:
    async with realtime_server(obliging) as model, certified_house(tmp_path, model.url) as gateway:
        assert await ask(gateway, file, 0.3) == b""
        await until(lambda: counted(gateway, label) == 1)


async def test_the_name_signed_by_a_foreign_authority_does_not_count__rfc5246_7_4_6(tmp_path: Path) -> None:
    async with realtime_server(obliging) as model, certified_house(tmp_path, model.url) as gateway:
        assert await ask(gateway, "foreign", 0.3) == b""
