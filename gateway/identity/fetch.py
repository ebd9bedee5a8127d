"""Certificates over HTTPS: fetched once, kept for a while, shared by all calls that wait for the same one."""

import asyncio
import socket
import ssl
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

import httpx

from gateway.identity.certificate import CertificateChain
from gateway.identity.errors import FetchError, IdentityError
from gateway.identity.guard import PORTS, choose_address, locate

# A chain of three P-256 certificates takes 3 kB in PEM.
BODY_LIMIT: Final = 32_768
# Providers publish behind content networks, some of which redirect once.
REDIRECT_LIMIT: Final = 2
# The whole of a fetch. A call waits less (its own limit); what comes later still fills the cache for the next call.
FETCH_SECONDS: Final = 5.0
# Signing certificates live for days to months, and a call with a new one names a new URL. An hour bounds how long a
# revoked one is still taken, half a minute how often a dead repository is asked.
KEEP_SECONDS: Final = 3_600.0
KEEP_FAULT_SECONDS: Final = 30.0
# Some hundred providers sign calls. Beyond this the entry used longest ago goes.
ENTRY_LIMIT: Final = 512
# Fetches under way at once; a flood of calls that each name another URL gets no further.
FETCH_LIMIT: Final = 16

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class CertificateFetcher(Protocol):
    """Gets what a certificate's URL points at."""

    async def fetch(self, url: str) -> bytes:
        """The body. Raises FetchError, also where it takes too long."""


Resolve = Callable[[str, int], Awaitable[list[str]]]


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host as the system knows them, in its order of preference. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class HttpsFetcher:
    """Fetches over HTTPS, from public addresses only.

    A name is resolved once, and the connection goes to the very address that was checked, with the name in SNI, in the
    Host field and in the check of the server's certificate. So a name that changes its address between check and
    connection wins nothing. Each hop of a redirect is checked like the first.

    Args:
        context: how servers are authenticated; the system's roots when None.
        resolve: names to addresses.
        ports: those that a URL may name.
        choose: picks the address out of what a name resolved to, or raises FetchError.
    """

    def __init__(
        self,
        context: ssl.SSLContext | None = None,
        *,
        resolve: Resolve = resolve,
        ports: frozenset[int] = PORTS,
        choose: Callable[[str, list[str]], str] = choose_address,
    ) -> None:
        self._context = context or ssl.create_default_context()
        self._resolve = resolve
        self._ports = ports
        self._choose = choose

    async def fetch(self, url: str) -> bytes:
        """The body behind a URL. Raises FetchError."""
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                for _ in range(REDIRECT_LIMIT + 1):
                    body, redirect = await self._request(url)
                    if redirect is None:
                        return body
                    url = redirect
        except TimeoutError:
            raise FetchError(f"The certificate took longer than {FETCH_SECONDS:.0f} s") from None
        except (OSError, httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise FetchError(f"The certificate could not be fetched: {type(error).__name__}: {error}") from None
        raise FetchError(f"The certificate's URL redirects more than {REDIRECT_LIMIT} times")

    async def _request(self, url: str) -> tuple[bytes, str | None]:
        """One hop: the body, or where it redirects to."""
        location = locate(url, self._ports)
        address = self._choose(location.host, await self._resolve(location.host, location.port))
        target = httpx.URL(scheme="https", host=address, port=location.port, raw_path=location.path.encode())
        host = location.host if location.port == 443 else f"{location.host}:{location.port}"
        # A client for each fetch: a pool would know connections by their address and mix up the names behind it.
        async with (
            httpx.AsyncClient(verify=self._context, trust_env=False, timeout=FETCH_SECONDS) as client,
            client.stream(
                "GET",
                target,
                headers={"Host": host, "Accept-Encoding": "identity", "User-Agent": "stir"},
                extensions={"sni_hostname": location.host},
            ) as response,
        ):
            if response.status_code in _REDIRECTS:
                return b"", str(httpx.URL(url).join(response.headers.get("Location", "")))
            if response.status_code != 200:
                raise FetchError(f"The certificate's server answered {response.status_code}")
            return await _read(response), None


async def _read(response: httpx.Response) -> bytes:
    body = bytearray()
    async for part in response.aiter_raw():
        body += part
        if len(body) > BODY_LIMIT:
            raise FetchError(f"The certificate is larger than {BODY_LIMIT} bytes")
    return bytes(body)


@dataclass(frozen=True, slots=True)
class _Entry:
    outcome: CertificateChain | IdentityError
    until: float


class CertificateSource:
    """Certificate chains by URL.

    Args:
        fetcher: gets what is not known.
        clock: monotonic seconds.
    """

    def __init__(self, fetcher: CertificateFetcher, clock: Callable[[], float]) -> None:
        self._fetcher = fetcher
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._fetches: dict[str, asyncio.Task[CertificateChain | IdentityError]] = {}

    def known(self, url: str) -> CertificateChain | IdentityError | None:
        """What is known without asking anybody; None where it must be fetched."""
        entry = self._entries.get(url)
        if entry is None or entry.until <= self._clock():
            return None
        self._entries.move_to_end(url)
        return entry.outcome

    async def obtain(self, url: str) -> CertificateChain | IdentityError:
        """The chain, or why there is none. A waiter may be cancelled: the fetch goes on for others and the cache."""
        if (outcome := self.known(url)) is not None:
            return outcome
        fetch = self._fetches.get(url)
        if fetch is None:
            if len(self._fetches) >= FETCH_LIMIT:
                return FetchError(f"{FETCH_LIMIT} other certificates are being fetched")
            fetch = self._fetches[url] = asyncio.create_task(self._fetch(url), name="fetch-certificate")
            fetch.add_done_callback(lambda _: self._fetches.pop(url, None))
        return await asyncio.shield(fetch)

    async def aclose(self) -> None:
        """Gives up what is under way."""
        fetches = list(self._fetches.values())
        for fetch in fetches:
            fetch.cancel()
        await asyncio.gather(*fetches, return_exceptions=True)

    async def _fetch(self, url: str) -> CertificateChain | IdentityError:
        outcome: CertificateChain | IdentityError
        try:
            outcome = CertificateChain.parse(await self._fetcher.fetch(url))
        except IdentityError as error:
            outcome = error
        keep = KEEP_SECONDS if isinstance(outcome, CertificateChain) else KEEP_FAULT_SECONDS
        self._entries[url] = _Entry(outcome, self._clock() + keep)
        self._entries.move_to_end(url)
        while len(self._entries) > ENTRY_LIMIT:
            self._entries.popitem(last=False)
        return outcome
