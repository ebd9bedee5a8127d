"""When each timer of RFC 3261 table 4 fires, over UDP and over TCP."""

import pytest

from sip.transaction.invite_client import InviteClientTransaction
from sip.transaction.invite_server import InviteServerTransaction
from sip.transaction.machine import Act, Transaction
from sip.transaction.non_invite_client import NonInviteClientTransaction
from sip.transaction.non_invite_server import NonInviteServerTransaction
from sip.transaction.timer import Timer, TimerValues
from sip.transport.flow import Address, Flow, Target
from tests.helpers.sip import request

VALUES = TimerValues()
UDP = Flow("udp", Address("192.0.2.2", 5060), Address("192.0.2.1", 5060))
TCP = Flow("tcp", Address("192.0.2.2", 5060), Address("192.0.2.1", 5061))
TO_UDP = Target("udp", "192.0.2.2")
TO_TLS = Target("tls", "192.0.2.2")


def fire_times(transaction: Transaction, until: float, act: Act = Act.RESEND) -> list[float]:
    """When the transaction sends by itself."""
    transaction.outputs.clear()
    times = []
    while (at := transaction.next_timer()) is not None and at <= until:
        transaction.handle_timer(at)
        times += [at for output in transaction.outputs if output.act is act]
        transaction.outputs.clear()
    return times


def ended_at(transaction: Transaction) -> float:
    at = 0.0
    while (deadline := transaction.next_timer()) is not None:
        at = deadline
        transaction.handle_timer(at)
    assert transaction.is_terminated
    return at


def test_invite_is_resent_at_a_doubling_without_cap_until_b__rfc3261_17_1_1_2() -> None:
    transaction = InviteClientTransaction(request(), TO_UDP, VALUES, 0.0)
    assert fire_times(transaction, until=31.9) == [0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert ended_at(transaction) == 32.0
    assert [output.act for output in transaction.outputs] == [Act.TELL_TIMEOUT]


def test_invite_over_tls_is_never_resent_but_times_out__rfc3261_17_1_1_2() -> None:
    transaction = InviteClientTransaction(request(), TO_TLS, VALUES, 0.0)
    assert fire_times(transaction, until=40.0) == []
    assert transaction.is_terminated


def test_a_provisional_response_stops_a_and_b__rfc3261_17_1_1_2() -> None:
    transaction = InviteClientTransaction(request(), TO_UDP, VALUES, 0.0)
    transaction.receive_response(request().create_response(100), 0.2)
    assert transaction.next_timer() is None


@pytest.mark.parametrize(("target", "lasts"), [(TO_UDP, 32.0), (TO_TLS, 0.0)])
def test_client_absorbs_refusals_for_d__rfc3261_17_1_1_2(target: Target, lasts: float) -> None:
    transaction = InviteClientTransaction(request(), target, VALUES, 0.0)
    transaction.receive_response(request().create_response(486, to_tag="bob"), 1.0)
    assert ended_at(transaction) == 1.0 + lasts


@pytest.mark.parametrize("target", [TO_UDP, TO_TLS])
def test_client_passes_2xx_up_for_m_over_any_transport__rfc6026_8_4(target: Target) -> None:
    transaction = InviteClientTransaction(request(), target, VALUES, 0.0)
    transaction.receive_response(request().create_response(200, to_tag="bob"), 1.0)
    assert ended_at(transaction) == 33.0


def test_invite_server_resends_final_at_g_doubling_to_t2__rfc3261_17_2_1() -> None:
    transaction = InviteServerTransaction(request(), UDP, VALUES)
    transaction.respond(request().create_response(486, to_tag="bob"), 0.0)
    assert fire_times(transaction, until=16.0) == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5]


def test_invite_server_gives_up_at_h_without_ack__rfc3261_17_2_1() -> None:
    transaction = InviteServerTransaction(request(), UDP, VALUES)
    transaction.respond(request().create_response(486, to_tag="bob"), 0.0)
    assert ended_at(transaction) == 32.0
    assert transaction.outputs[-1].act is Act.TELL_TIMEOUT


def test_invite_server_resends_nothing_over_tcp__rfc3261_17_2_1() -> None:
    transaction = InviteServerTransaction(request(), TCP, VALUES)
    transaction.respond(request().create_response(486, to_tag="bob"), 0.0)
    assert fire_times(transaction, until=31.9) == []
    assert ended_at(transaction) == 32.0


@pytest.mark.parametrize(("flow", "lasts"), [(UDP, 5.0), (TCP, 0.0)])
def test_invite_server_absorbs_acks_for_i__rfc3261_17_2_1(flow: Flow, lasts: float) -> None:
    transaction = InviteServerTransaction(request(), flow, VALUES)
    transaction.respond(request().create_response(486, to_tag="bob"), 0.0)
    transaction.receive_request(request("ACK"), 1.0)
    assert ended_at(transaction) == 1.0 + lasts


@pytest.mark.parametrize("flow", [UDP, TCP])
def test_invite_server_stays_for_l_after_2xx_over_any_transport__rfc6026_8_5(flow: Flow) -> None:
    transaction = InviteServerTransaction(request(), flow, VALUES)
    transaction.respond(request().create_response(200, to_tag="bob"), 0.0)
    assert fire_times(transaction, until=31.0) == []  # the 2xx is the session's to resend
    assert ended_at(transaction) == 32.0


def test_request_is_resent_at_e_doubling_to_t2_until_f__rfc3261_17_1_2_2() -> None:
    transaction = NonInviteClientTransaction(request("OPTIONS"), TO_UDP, VALUES, 0.0)
    assert fire_times(transaction, until=31.9) == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert ended_at(transaction) == 32.0


def test_e_is_t2_once_a_provisional_came__rfc3261_17_1_2_2() -> None:
    transaction = NonInviteClientTransaction(request("OPTIONS"), TO_UDP, VALUES, 0.0)
    assert fire_times(transaction, until=0.6) == [0.5]
    transaction.receive_response(request("OPTIONS").create_response(100), 0.7)
    assert fire_times(transaction, until=12.0) == [1.5, 5.5, 9.5]
    assert ended_at(transaction) == 32.0  # F goes on from the start


@pytest.mark.parametrize(("target", "lasts"), [(TO_UDP, 5.0), (TO_TLS, 0.0)])
def test_client_absorbs_responses_for_k__rfc3261_17_1_2_2(target: Target, lasts: float) -> None:
    transaction = NonInviteClientTransaction(request("OPTIONS"), target, VALUES, 0.0)
    transaction.receive_response(request("OPTIONS").create_response(200, to_tag="bob"), 1.0)
    assert ended_at(transaction) == 1.0 + lasts


@pytest.mark.parametrize(("flow", "lasts"), [(UDP, 32.0), (TCP, 0.0)])
def test_server_absorbs_requests_for_j__rfc3261_17_2_2(flow: Flow, lasts: float) -> None:
    transaction = NonInviteServerTransaction(request("OPTIONS"), flow, VALUES)
    transaction.respond(request("OPTIONS").create_response(200, to_tag="bob"), 1.0)
    assert ended_at(transaction) == 1.0 + lasts


def test_every_duration_derives_from_the_base_values__rfc3261_table_4() -> None:
    values = TimerValues(t1=0.1, t2=1.0, t4=2.0, d=7.0)
    unreliable = {timer.name: values.duration(timer, reliable=False) for timer in Timer}
    reliable = {timer.name: values.duration(timer, reliable=True) for timer in Timer}
    assert unreliable == pytest.approx(
        {
            "A": 0.1,
            "B": 6.4,
            "D": 7,
            "E": 0.1,
            "F": 6.4,
            "G": 0.1,
            "H": 6.4,
            "I": 2,
            "J": 6.4,
            "K": 2,
            "L": 6.4,
            "M": 6.4,
        }
    )
    assert {name for name, seconds in reliable.items() if seconds is None} == {"A", "E", "G"}
    assert {name for name, seconds in reliable.items() if seconds == 0} == {"D", "I", "J", "K"}


def test_the_ack_for_a_refusal_repeats_the_invite_s_branch_and_route__rfc3261_17_1_1_3() -> None:
    invite = request(headers=(("Route", "<sip:192.0.2.9;lr>"), ("Route", "<sip:192.0.2.8;lr>")))
    transaction = InviteClientTransaction(invite, TO_UDP, VALUES, 0.0)
    transaction.outputs.clear()
    transaction.receive_response(invite.create_response(486, to_tag="bob"), 0.1)
    ack = transaction.outputs[0].data.decode()
    assert ack.startswith("ACK sip:bob@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa1\r\n")
    assert "Route: <sip:192.0.2.9;lr>\r\nRoute: <sip:192.0.2.8;lr>\r\n" in ack
    assert "To: <sip:bob@192.0.2.2>;tag=bob\r\n" in ack
    assert "CSeq: 1 ACK\r\n" in ack
    assert ack.endswith("Content-Length: 0\r\n\r\n")
