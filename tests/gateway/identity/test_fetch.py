"""Certificates over HTTPS: real TLS on loopback, and a cache in virtual time."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.identity import fetch
from gateway.identity.errors import CertificateError, FetchError
from gateway.identity.fetch import (
    BODY_LIMIT,
    ENTRY_LIMIT,
    FETCH_LIMIT,
    KEEP_FAULT_SECONDS,
    KEEP_SECONDS,
    CertificateSource,
    HttpsFetcher,
)
from tests.helpers.stir import X5U, Provider

HOST = "cr.example.com"
Answer = Callable[[str], bytes]


def server_certificate(folder: Path, host: str = HOST) -> Path:
    """A certificate and its key for a web server that is its own authority."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, host)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    path = folder / "server.pem"
    path.write_bytes(
        certificate.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return path


class Repository:
    """An HTTPS server that answers every request by a function of its head, and keeps what it saw."""

    def __init__(self, certificate: Path, answer: Answer) -> None:
        self.answer = answer
        self.heads: list[str] = []
        self.names: list[str | None] = []
        self.port = 0
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate)
        self.context.sni_callback = lambda _, name, __: self.names.append(name)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["Repository"]:
        server = await asyncio.start_server(self._handle, "127.0.0.1", 0, ssl=self.context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        writer.write(self.answer(head))
        try:
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        except (ConnectionError, ssl.SSLError):
            pass  # the client has seen enough


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return server_certificate(tmp_path)


def fetcher_for(
    repository: Repository, certificate: Path, *, resolve: Callable[[str, int], Awaitable[list[str]]] | None = None
) -> HttpsFetcher:
    async def loopback(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    return HttpsFetcher(
        ssl.create_default_context(cafile=str(certificate)),
        resolve=resolve or loopback,
        ports=frozenset({repository.port}),
        choose=lambda host, addresses: addresses[0],
    )


async def fetched(certificate: Path, answer: Answer, path: str = "/a.pem") -> tuple[bytes, Repository]:
    async with Repository(certificate, answer).serve() as repository:
        body = await fetcher_for(repository, certificate).fetch(f"https://{HOST}:{repository.port}{path}")
        return body, repository


async def test_connection_goes_to_the_checked_address_with_the_name_in_sni_and_host(certificate: Path) -> None:
    body, repository = await fetched(certificate, lambda _: ok(b"chain"), "/a.pem?x=1")
    assert body == b"chain"
    assert repository.names == [HOST]
    assert repository.heads[0].startswith("GET /a.pem?x=1 HTTP/1.1\r\n")
    assert f"\r\nHost: {HOST}:{repository.port}\r\n" in repository.heads[0]


async def test_certificate_of_another_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="certificate"):
        await fetched(server_certificate(tmp_path, "evil.example.com"), lambda _: ok(b"chain"))


@pytest.mark.parametrize("length", [True, False])
async def test_body_beyond_the_limit_is_refused(certificate: Path, length: bool) -> None:
    body = b"x" * (BODY_LIMIT + 1)
    answer = ok(body) if length else b"HTTP/1.1 200 OK\r\n\r\n" + body
    with pytest.raises(FetchError, match="larger"):
        await fetched(certificate, lambda _: answer)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", b"garbage\r\n\r\n", b""])
async def test_other_answers_are_refused(certificate: Path, answer: bytes) -> None:
    with pytest.raises(FetchError):
        await fetched(certificate, lambda _: answer)


async def test_redirect_is_followed_once_and_checked_again(certificate: Path) -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: /b.pem\r\nContent-Length: 0\r\n\r\n"
    body, repository = await fetched(certificate, lambda head: moved if "/a.pem" in head else ok(b"chain"))
    assert body == b"chain"
    assert len(repository.heads) == 2


@pytest.mark.parametrize(
    "location", ["http://169.254.169.254/latest", "https://localhost:22/", "file:///etc/passwd", "/a.pem", "https://["]
)
async def test_redirect_to_where_no_url_may_lead_is_refused(certificate: Path, location: str) -> None:
    moved = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
    with pytest.raises(FetchError):
        await fetched(certificate, lambda _: moved)


async def test_name_that_leads_inside_is_not_connected_to(certificate: Path) -> None:
    async with Repository(certificate, lambda _: ok(b"chain")).serve() as repository:
        fetcher = HttpsFetcher(ports=frozenset({repository.port}))  # with the real guard and resolver
        for host in ("127.0.0.1", "localhost"):
            with pytest.raises(FetchError, match="not a public address"):
                await fetcher.fetch(f"https://{host}:{repository.port}/")
        assert repository.names == []


async def test_name_without_an_address_is_a_fault(certificate: Path) -> None:
    async def nothing(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    async with Repository(certificate, lambda _: ok(b"")).serve() as repository:
        with pytest.raises(FetchError, match="no such name"):
            await fetcher_for(repository, certificate, resolve=nothing).fetch(f"https://{HOST}:{repository.port}/")


async def test_fetch_ends_in_time(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(fetch, "FETCH_SECONDS", 0.01)
    with pytest.raises(FetchError, match="took longer"):
        await HttpsFetcher(resolve=never).fetch(X5U)


# The cache.


class FakeFetcher:
    """Serves what the test gives it, and counts."""

    def __init__(self, outcome: bytes | FetchError) -> None:
        self.outcome = outcome
        self.urls: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def fetch(self, url: str) -> bytes:
        self.urls.append(url)
        await self.gate.wait()
        if isinstance(self.outcome, FetchError):
            raise self.outcome
        return self.outcome


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_chain_is_fetched_once_and_kept_for_a_while(provider: Provider) -> None:
    fetcher, clock = FakeFetcher(provider.pem), Clock()
    source = CertificateSource(fetcher, clock)
    assert source.known(X5U) is None
    assert await source.obtain(X5U) == provider.chain
    assert await source.obtain(X5U) == source.known(X5U) == provider.chain
    assert len(fetcher.urls) == 1
    clock.now = KEEP_SECONDS
    assert source.known(X5U) is None
    await source.obtain(X5U)
    assert len(fetcher.urls) == 2


async def test_fault_is_kept_for_a_short_while() -> None:
    fetcher, clock = FakeFetcher(FetchError("dead")), Clock()
    source = CertificateSource(fetcher, clock)
    assert isinstance(await source.obtain(X5U), FetchError)
    assert isinstance(await source.obtain(X5U), FetchError)
    assert len(fetcher.urls) == 1
    clock.now = KEEP_FAULT_SECONDS
    await source.obtain(X5U)
    assert len(fetcher.urls) == 2


async def test_what_is_no_certificate_is_kept_as_a_fault() -> None:
    source = CertificateSource(FakeFetcher(b"<html>"), Clock())
    assert isinstance(await source.obtain(X5U), CertificateError)


async def test_calls_that_wait_for_one_url_share_a_fetch_and_one_may_go(provider: Provider) -> None:
    fetcher = FakeFetcher(provider.pem)
    fetcher.gate.clear()
    source = CertificateSource(fetcher, Clock())
    first, second = (asyncio.create_task(source.obtain(X5U)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    fetcher.gate.set()
    assert await second == provider.chain
    assert len(fetcher.urls) == 1


async def test_fetches_under_way_are_limited() -> None:
    fetcher = FakeFetcher(FetchError("late"))
    fetcher.gate.clear()
    source = CertificateSource(fetcher, Clock())
    waiting = [asyncio.create_task(source.obtain(f"{X5U}?{number}")) for number in range(FETCH_LIMIT)]
    await asyncio.sleep(0)
    assert isinstance(await source.obtain(X5U), FetchError)
    assert X5U not in fetcher.urls
    await source.aclose()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)


async def test_cache_is_bounded() -> None:
    fetcher = FakeFetcher(FetchError("dead"))
    source = CertificateSource(fetcher, Clock())
    for number in range(ENTRY_LIMIT + 1):
        await source.obtain(f"{X5U}?{number}")
    assert source.known(f"{X5U}?0") is None
    assert source.known(f"{X5U}?1") is not None
