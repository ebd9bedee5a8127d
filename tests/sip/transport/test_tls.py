"""SIP over real TLS connections on loopback: handshakes, certificates of both sides, and their renewal."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from sip.event import Acknowledged, Answered, Ended, Failed
from sip.transport.census import ConnectionLimits
from sip.transport.tls import TlsError, client_context
from tests.helpers.sip import ANSWER
from tests.helpers.sip_stream import StreamPeer, options
from tests.helpers.stream_phone import Book, Phone, started, tcp, tls
from tests.helpers.tls_authority import Authority, client_of

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, uvloop.new_event_loop]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.mark.parametrize("loop_factory", LOOPS)
@pytest.mark.parametrize("with_rsa", [True, False])
def test_a_call_over_tls(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], with_rsa: bool, authority: Authority
) -> None:
    async def main() -> None:
        credentials = authority.issue(["127.0.0.1"], with_rsa=with_rsa)
        trust = client_context(authority.certificate)
        alice, bob = Phone(tls(credentials), trust=trust), Phone(tls(credentials), trust=trust)
        async with started(alice, bob):
            alice.call(f"sip:bob@127.0.0.1:{bob.port};transport=tls")
            answered = await alice.wait_for(Answered)
            assert answered.body == ANSWER
            (session,) = bob.agent.sessions
            await bob.wait_for(Acknowledged)
            bob.endpoint.perform(session.bye)
            await alice.wait_for(Ended)
            assert bob.endpoint.connection_count == 1

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


async def test_three_hundred_stalled_handshakes_are_reaped_and_harm_nobody__promise_6(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sip.transport.connections.SWEEP_SECONDS", 0.01)
    bob = Phone(tls(authority.issue(["127.0.0.1"])), limits=ConnectionLimits(handshake=3.0))
    async with started(bob):
        address = bob.endpoint.addresses[0]
        sources = [f"127.0.0.{host}" for host in range(2, 8) for _ in range(50)]
        stalled = [await asyncio.open_connection(*address, local_addr=(source, 0)) for source in sources]
        for _, writer in stalled[::2]:
            writer.write(b"\x16\x03\x01\x02\x00")  # the head of a ClientHello
        async with StreamPeer(address, client_of(authority)) as good:
            good.send(options())
            assert await good.status() == 200
            await bob.until(lambda: bob.agent.counters["handshake_timeout"] == 300)
            good.send(options(2))
            assert await good.status() == 200
            assert bob.endpoint.connection_count == 1
        for _, writer in stalled:
            writer.close()


async def test_nothing_below_tls_1_2(authority: Authority) -> None:
    bob = Phone(tls(authority.issue(["127.0.0.1"])))
    async with started(bob):
        context = client_of(authority)
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            context.minimum_version = ssl.TLSVersion.TLSv1
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(ssl.SSLError):
            await StreamPeer(bob.endpoint.addresses[0], context).__aenter__()
        await bob.until(lambda: bob.agent.counters["tls_error"] == 1)


async def test_plain_text_on_a_tls_port_is_closed(authority: Authority) -> None:
    bob = Phone(tls(authority.issue(["127.0.0.1"])))
    async with started(bob), StreamPeer(bob.endpoint.addresses[0]) as peer:
        peer.send(options())
        assert await peer.closed()
        assert bob.agent.counters["tls_error"] == 1


async def test_a_renewed_certificate_serves_the_next_connection(authority: Authority) -> None:
    bob = Phone(tls(authority.issue(["127.0.0.1", "one.example.net"])))
    async with started(bob):
        address, context = bob.endpoint.addresses[0], client_of(authority)
        async with StreamPeer(address, context, "one.example.net") as old:
            authority.issue(["127.0.0.1", "two.example.net"])
            bob.endpoint.reload_certificates()
            async with StreamPeer(address, context, "two.example.net") as new:
                for peer in (old, new):
                    peer.send(options())
                    assert await peer.status() == 200
        assert bob.agent.counters["certificate_reloaded"] == 1


async def test_a_certificate_that_cannot_be_used_leaves_the_old_one_in_place(authority: Authority) -> None:
    credentials = authority.issue(["127.0.0.1"])
    bob = Phone(tls(credentials))
    async with started(bob):
        credentials.key.write_text("no key")
        bob.endpoint.reload_certificates()
        async with StreamPeer(bob.endpoint.addresses[0], client_of(authority)) as peer:
            peer.send(options())
            assert await peer.status() == 200
        assert bob.agent.counters["certificate_reload_failed"] == 1
        bob.endpoint.reload_certificates()  # unchanged since: not looked at again
        assert bob.agent.counters["certificate_reload_failed"] == 1


async def test_a_listener_without_usable_certificate_leaves_nothing_open(authority: Authority) -> None:
    credentials = authority.issue(["127.0.0.1"])
    credentials.certificate.write_text("nothing")
    bob = Phone(tcp(), tls(credentials))
    with pytest.raises(TlsError, match="cannot be used"):
        await bob.endpoint.start()
    assert bob.endpoint.addresses == []
    with pytest.raises(TlsError, match="holds no certificate authorities"):
        client_context(credentials.certificate)


async def test_a_verified_client_certificate_names_the_peer__rfc5922_7_1(authority: Authority) -> None:
    seen: list[tuple[str, ...]] = []
    bob = Phone(tls(authority.issue(["127.0.0.1"]), client_ca=authority.certificate))
    bob.agent.screen = lambda request, flow: seen.append(flow.peer_names)
    async with started(bob):
        context = client_of(authority)
        async with StreamPeer(bob.endpoint.addresses[0], context) as nameless:
            nameless.send(options())
            assert await nameless.status() == 200
        pbx = authority.issue(["sip:pbx.example.net", "pbx.example.net"], file="pbx")
        context.load_cert_chain(pbx.certificate, pbx.key)
        async with StreamPeer(bob.endpoint.addresses[0], context) as named:
            named.send(options(2))
            assert await named.status() == 200
    assert seen == [(), ("pbx.example.net",)]


async def test_a_client_certificate_can_be_required(authority: Authority, tmp_path: Path) -> None:
    bob = Phone(tls(authority.issue(["127.0.0.1"]), client_ca=authority.certificate, client_required=True))
    other = Authority(tmp_path, "Other Root").issue(["pbx.example.net"], file="other")
    async with started(bob):
        for credentials in (None, other):
            context = client_of(authority)
            if credentials is not None:
                context.load_cert_chain(credentials.certificate, credentials.key)
            async with StreamPeer(bob.endpoint.addresses[0], context) as peer:
                peer.send(options())
                with pytest.raises((EOFError, OSError)):
                    await peer.receive()
        await bob.until(lambda: bob.agent.counters["tls_error"] == 2)
        assert not bob.events


@pytest.mark.parametrize(
    ("names", "domains", "is_trusted"),
    [
        (["*.pstn.example.net"], (), True),  # Twilio's habit
        (["trunk.pstn.example.net"], (), True),
        (["*.example.net"], (), False),
        (["evil.example.org"], ("example.org",), False),  # domains count for peers reached by address only
    ],
)
async def test_the_certificate_of_a_server_is_for_the_host_that_we_meant__rfc5922(
    names: list[str], domains: tuple[str, ...], is_trusted: bool, authority: Authority
) -> None:
    bob = Phone(tls(authority.issue(names)))
    await bob.endpoint.start()
    book = Book(trunk_pstn_example_net=[bob.endpoint.addresses[0]])
    own = authority.issue(["127.0.0.1"], file="own")
    alice = Phone(
        tls(own), resolver=book, trust=client_context(authority.certificate), domains_of=lambda address: domains
    )
    async with started(alice):
        alice.call("sip:bob@trunk.pstn.example.net;transport=tls")
        if is_trusted:
            await alice.wait_for(Answered)
        else:
            failed = await alice.wait_for(Failed)
            assert failed.status == 503
            assert bob.events == []
    await bob.endpoint.aclose()


@pytest.mark.parametrize("domains", [("example.net",), ()])
async def test_a_carrier_reached_by_address_shows_its_domain(domains: tuple[str, ...], authority: Authority) -> None:
    bob = Phone(tls(authority.issue(["*.pstn.example.net"])))
    await bob.endpoint.start()
    own = authority.issue(["127.0.0.1"], file="own")
    alice = Phone(tls(own), trust=client_context(authority.certificate), domains_of=lambda address: domains)
    async with started(alice):
        alice.call(f"sip:bob@127.0.0.1:{bob.port};transport=tls")
        await alice.wait_for(Answered if domains else Failed)
    await bob.endpoint.aclose()


async def test_a_server_of_an_unknown_authority_is_not_spoken_to(authority: Authority, tmp_path: Path) -> None:
    credentials = authority.issue(["127.0.0.1"])
    alice = Phone(tls(credentials), trust=client_context(Authority(tmp_path, "Other Root").certificate))
    bob = Phone(tls(credentials))
    async with started(alice, bob):
        alice.call(f"sip:bob@127.0.0.1:{bob.port};transport=tls")
        await alice.wait_for(Failed)
        assert alice.agent.counters["tls_error"] == 1
