"""One server of a name after the other, for INVITE and for other requests (RFC 3263 §4.3), in virtual time."""

import pytest

from sip.event import Answered, Ended, Failed, Provisional
from sip.header import NameAddr
from sip.message import Request, Response
from sip.session.state import SessionState
from sip.transaction.machine import Failure
from sip.uri import Uri
from tests.helpers.sip import ANSWER, AgentHost, Network, WireHost

NAME = "trunk.example.net"


@pytest.fixture
def servers(network: Network) -> list[WireHost]:
    hosts = [network.wire(f"192.0.2.{number}") for number in (11, 12, 13)]
    network.names[NAME] = [host.address for host in hosts]
    return hosts


@pytest.fixture
def alice(network: Network) -> AgentHost:
    return network.agent("192.0.2.1", next_server_after=4.0)


def reply(
    server: WireHost, to: AgentHost, status: int, method: str = "INVITE", *, tag: str = "", body: bytes = b""
) -> None:
    request = server.requests(method)[-1]
    headers = [("Contact", f"<sip:{server.address.host}>")] if status < 300 else []
    headers += [("Content-Type", "application/sdp")] if body else []
    tag = tag or server.address.host
    server.send(request.create_response(status, to_tag=None if status == 100 else tag, headers=headers, body=body), to)


def first_times(network: Network, alice: AgentHost, method: str = "INVITE") -> list[tuple[float, str]]:
    times: dict[str, float] = {}
    for packet in network.sent(alice, method):
        times.setdefault(packet.destination.host, packet.time)
    return [(time, host) for host, time in times.items()]


def test_a_silent_server_is_followed_by_the_next_after_4_s_each_in_a_transaction_of_its_own(
    network: Network, alice: AgentHost, servers: list[WireHost]
) -> None:
    call = alice.call(NAME)
    network.run(9.0)
    assert first_times(network, alice) == [(0.0, "192.0.2.11"), (4.0, "192.0.2.12"), (8.0, "192.0.2.13")]
    invites = [server.requests("INVITE")[0] for server in servers]
    assert len({invite.top_via.branch for invite in invites}) == 3
    assert len({(i.call_id, str(i.cseq), i.from_.tag, i.body) for i in invites}) == 1
    reply(servers[2], alice, 200, body=ANSWER)
    network.run(20.0)
    assert alice.only(Answered).body == ANSWER
    assert call.state is SessionState.CONFIRMED
    last = max(packet.time for packet in network.sent(alice, "INVITE"))
    assert last < 9.1, "silent servers are left in peace once somebody answers"


def test_a_server_that_has_said_100_is_waited_for(network: Network, alice: AgentHost, servers: list[WireHost]) -> None:
    alice.call(NAME)
    network.run(1.0)
    reply(servers[0], alice, 100)
    network.run(30.0)
    assert servers[1].inbox == []


def test_without_a_further_server_the_silent_ones_have_their_time__rfc3261_17_1_1_2(
    network: Network, alice: AgentHost, servers: list[WireHost]
) -> None:
    network.names[NAME] = network.names[NAME][:2]
    alice.call(NAME)
    network.run(30.0)
    assert alice.of(Failed) == []
    reply(servers[0], alice, 180)
    reply(servers[0], alice, 200, body=ANSWER)
    network.run(0.1)
    assert alice.only(Answered).response.to.tag == "192.0.2.11"


def test_all_silent_is_a_408(network: Network, alice: AgentHost, servers: list[WireHost]) -> None:
    alice.call(NAME)
    network.run(50.0)
    assert alice.only(Failed).status == 408
    network.run(60.0)
    alice.assert_empty()


def test_whoever_speaks_first_is_the_one_and_the_other_is_cancelled_when_it_wakes(
    network: Network, alice: AgentHost, servers: list[WireHost]
) -> None:
    alice.call(NAME)
    network.run(5.0)
    reply(servers[0], alice, 180)  # slow, and quicker than the second all the same
    network.run(0.1)
    assert [event.remote_tag for event in alice.of(Provisional)] == ["192.0.2.11"]
    reply(servers[1], alice, 180)
    network.run(0.1)
    assert len(servers[1].requests("CANCEL")) == 1
    assert servers[1].requests("CANCEL")[0].top_via.branch == servers[1].requests("INVITE")[0].top_via.branch
    reply(servers[0], alice, 200, body=ANSWER)
    reply(servers[1], alice, 200, body=ANSWER)
    network.run(0.1)
    assert alice.only(Answered).response.to.tag == "192.0.2.11"
    assert len(servers[1].requests("ACK")) == len(servers[1].requests("BYE")) == 1, "a 2xx that crosses the CANCEL"


def test_a_refusal_of_one_ends_the_call_and_a_late_answer_of_another_gets_ack_and_bye__rfc3261_13_2_2_4(
    network: Network, alice: AgentHost, servers: list[WireHost]
) -> None:
    alice.call(NAME)
    network.run(5.0)
    reply(servers[1], alice, 486)
    network.run(0.1)
    assert alice.only(Failed).status == 486
    reply(servers[0], alice, 200, body=ANSWER)
    network.run(0.1)
    assert len(servers[0].requests("ACK")) == len(servers[0].requests("BYE")) == 1
    assert len(alice.of(Ended)) == 1


def test_503_leads_on_at_once_and_the_last_word_stands(
    network: Network, alice: AgentHost, servers: list[WireHost]
) -> None:
    alice.call(NAME)
    for server in servers:
        network.run(0.1)
        reply(server, alice, 503)
    network.run(0.1)
    assert alice.only(Failed).status == 503
    assert [round(time, 1) for time, _ in first_times(network, alice)] == [0.0, 0.1, 0.2]


def test_cancel_leaves_silent_servers_in_peace(network: Network, alice: AgentHost, servers: list[WireHost]) -> None:
    call = alice.call(NAME)
    network.run(4.1)
    alice.do(call.cancel)
    count = len(servers[0].requests("INVITE"))
    network.run(20.0)
    assert len(servers[0].requests("INVITE")) == count
    network.run(60.0)
    alice.assert_empty()


# -- requests other than INVITE -----------------------------------------------------------------------------------


def ask(alice: AgentHost) -> list[Response | Failure]:
    outcomes: list[Response | Failure] = []
    alice.do(
        alice.agent.request,
        "OPTIONS",
        target=Uri.parse(f"sip:{NAME}"),
        from_=NameAddr.parse("<sip:alice@192.0.2.1>"),
        on_outcome=lambda outcome, now: outcomes.append(outcome),
    )
    return outcomes


def test_options_go_on_after_silence_and_503__rfc3263_4_3(
    network: Network, alice: AgentHost, servers: list[WireHost]
) -> None:
    outcomes = ask(alice)
    network.run(4.1)
    reply(servers[1], alice, 503, "OPTIONS")
    network.run(0.1)
    reply(servers[2], alice, 200, "OPTIONS")
    network.run(0.1)
    assert [outcome.status for outcome in outcomes] == [200]
    assert [round(time, 1) for time, _ in first_times(network, alice, "OPTIONS")] == [0.0, 4.0, 4.1]


def test_the_first_final_response_counts_though_its_server_was_slow(
    network: Network, alice: AgentHost, servers: list[WireHost]
) -> None:
    outcomes = ask(alice)
    network.run(5.0)
    reply(servers[0], alice, 200, "OPTIONS")
    reply(servers[1], alice, 404, "OPTIONS")
    network.run(40.0)
    assert [outcome.status for outcome in outcomes] == [200]


@pytest.mark.parametrize(("statuses", "last"), [((503, 503, 503), 503), ((503, None, None), 408)])
def test_the_last_word_of_the_last_server_stands(
    network: Network, alice: AgentHost, servers: list[WireHost], statuses: tuple[int | None, ...], last: int
) -> None:
    outcomes = ask(alice)
    for server, status in zip(servers, statuses, strict=True):
        network.run(0.1)
        if status is not None:
            reply(server, alice, status, "OPTIONS")
    network.run(80.0)
    assert [outcome.status for outcome in outcomes] == [last]
    alice.assert_empty()


def test_no_server_at_all_is_a_transport_error(network: Network, alice: AgentHost) -> None:
    network.names[NAME] = []
    outcomes = ask(alice)
    assert outcomes == [Failure.TRANSPORT_ERROR]


def test_a_bye_finds_the_second_server_of_its_route__rfc3263_4_3(
    network: Network, alice: AgentHost, servers: list[WireHost]
) -> None:
    bob = network.wire("192.0.2.2")
    call = alice.call(bob)
    network.run(0.1)
    invite = bob.requests("INVITE")[0]
    fields = [
        ("Contact", "<sip:bob@192.0.2.2>"),
        ("Record-Route", f"<sip:{NAME};lr>"),
        ("Content-Type", "application/sdp"),
    ]
    bob.send(invite.create_response(200, to_tag="b", headers=fields, body=ANSWER), alice)
    network.run(0.1)
    alice.do(call.bye)
    network.run(4.1)
    byes = [message for server in servers[:2] for message in server.inbox if isinstance(message, Request)]
    assert {message.method for message in byes} == {"ACK", "BYE"}
    assert len(servers[1].requests("BYE")) == 1
