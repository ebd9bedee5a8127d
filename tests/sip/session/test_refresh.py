"""Session timers in both roles (RFC 4028) and UPDATE (RFC 3311), in virtual time."""

from typing import Any

import pytest

from sip.event import Answered, Ended, ReinviteAnswered, ReinviteFailed, ReinviteReceived, SessionRefreshed
from sip.message import Request, Response
from sip.session.refresh import INTERVAL_LIMIT, SessionExpires, SessionRefresher, min_se
from sip.session.state import EndCause
from sip.session.uas import ServerSession
from tests.helpers.sip import ANSWER, OFFER, AgentHost, Network, WireHost, confirmed, established, in_dialog, request

ALLOW = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "UPDATE")
ASKS = (("Supported", "timer"), ("Session-Expires", "300"))


class Driven:
    def __init__(self) -> None:
        self.done: list[tuple[str, float]] = []

    def refresh(self, now: float) -> None:
        self.done.append(("refresh", now))

    def expire(self, now: float) -> None:
        self.done.append(("expire", now))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1800", SessionExpires(1800)),
        ("90;refresher=UAS", SessionExpires(90, "uas")),
        ("90 ;refresher=someone", SessionExpires(90)),
        ("0", SessionExpires(0)),
        ("-5", None),
        ("99999999999", SessionExpires(INTERVAL_LIMIT)),
        (";;", None),
    ],
)
def test_session_expires_is_read_leniently__rfc4028_4(text: str, expected: SessionExpires | None) -> None:
    assert SessionExpires.of(request(headers=(("Session-Expires", text),))) == expected


@pytest.mark.parametrize("text", ["0;refresher=uac", "1", "30;refresher=uas"])
def test_an_answer_below_our_least_neither_ends_the_call_nor_floods_the_peer__rfc4028_9(text: str) -> None:
    timer = SessionRefresher(Driven(), wanted=1800, minimum=90)
    headers = (("Supported", "timer"), ("Session-Expires", text))
    timer.accept(request().create_response(200, headers=headers), 0.0)
    assert timer.interval == 90
    assert (timer.next_timer() or 0) >= 45


def test_min_se_is_read_with_its_parameters__rfc4028_5() -> None:
    assert min_se(request(headers=(("Min-SE", "120;lr"),))) == 120
    assert min_se(request(headers=(("Min-SE", "soon"),))) == min_se(request()) == 0


@pytest.mark.parametrize(
    ("headers", "interval", "refresher"),
    [
        ((("Supported", "timer"), ("Session-Expires", "300")), 300, "uac"),
        ((("Supported", "timer"), ("Session-Expires", "300;refresher=uas")), 300, "uas"),
        ((("Supported", "timer"), ("Session-Expires", "300;refresher=uac")), 300, "uac"),
        ((("Supported", "timer"), ("Session-Expires", "9000"), ("Min-SE", "3600")), 3600, "uac"),
        ((("Supported", "timer"), ("Session-Expires", "9000")), 1800, "uac"),
        ((("Supported", "timer"), ("Session-Expires", "99999999999")), 1800, "uac"),
        ((("Require", "timer"), ("Session-Expires", "300")), 300, "uac"),  # who requires it knows it
        ((("Supported", "timer"), ("Min-SE", "120")), None, None),  # Twilio's <Sip> knows timers and asks for none
        ((("Session-Expires", "300"),), None, None),  # Twilio lets a carrier's Session-Expires leak through
        ((), None, None),
    ],
)
def test_the_uas_agrees_as_table_2_says__rfc4028_9(
    headers: tuple[tuple[str, str], ...], interval: int | None, refresher: str | None
) -> None:
    timer = SessionRefresher(Driven(), wanted=1800, minimum=90)
    fields = dict(timer.answer(request(headers=headers), 0.0))
    assert timer.interval == interval
    if interval is None:
        assert fields == {}
        assert timer.next_timer() is None
    else:
        assert fields["Session-Expires"] == f"{interval};refresher={refresher}"
        assert fields.get("Require") == ("timer" if refresher == "uac" else None)
        assert timer.is_ours is (refresher == "uas")


def test_the_refresher_refreshes_at_half_and_gives_up_before_the_end__rfc4028_10() -> None:
    driven = Driven()
    timer = SessionRefresher(driven, wanted=1800, minimum=90)
    timer.accept(request().create_response(200, headers=[("Session-Expires", "300;refresher=uac")]), 0.0)
    while (at := timer.next_timer()) is not None:
        timer.handle_timer(at)
    assert driven.done == [("refresh", 150.0), ("expire", 268.0)]


def test_the_other_side_only_waits__rfc4028_10() -> None:
    driven = Driven()
    timer = SessionRefresher(driven, wanted=1800, minimum=90)
    headers = [("Supported", "timer"), ("Session-Expires", "90;refresher=uas")]
    timer.accept(request().create_response(200, headers=headers), 0.0)
    timer.handle_timer(59.0)
    timer.handle_timer(60.0)
    assert driven.done == [("expire", 60.0)]


def test_a_leaked_session_expires_in_a_2xx_ends_no_call__twilio() -> None:
    timer = SessionRefresher(Driven(), wanted=1800, minimum=90)
    timer.accept(request().create_response(200, headers=[("Session-Expires", "90;refresher=uas")]), 0.0)
    assert timer.interval is None
    assert timer.next_timer() is None


def test_a_refresh_without_session_expires_keeps_the_interval__rfc4028_9() -> None:
    timer = SessionRefresher(Driven(), wanted=1800, minimum=90)
    timer.answer(request(headers=ASKS), 0.0)
    timer.answer(request(headers=(("Supported", "timer"),)), 100.0)
    assert timer.interval == 1800


def test_a_2xx_without_session_expires_means_no_expiration__rfc4028_7_2() -> None:
    timer = SessionRefresher(Driven(), wanted=1800, minimum=90)
    timer.accept(request().create_response(200), 0.0)
    assert timer.next_timer() is None


def test_requests_keep_the_roles_once_agreed__rfc4028_7_4() -> None:
    timer = SessionRefresher(Driven(), wanted=1800, minimum=90)
    assert timer.request_headers() == [("Session-Expires", "1800"), ("Min-SE", "90")]
    assert timer.request_headers(3600) == [("Session-Expires", "3600"), ("Min-SE", "3600")]
    timer.answer(request(headers=ASKS), 0.0)
    assert timer.request_headers()[0] == ("Session-Expires", "300;refresher=uas")
    assert SessionRefresher(Driven(), wanted=None, minimum=90).request_headers() == []


def hosts(network: Network) -> tuple[WireHost, AgentHost]:
    """A caller played by hand, and an agent that knows session timers."""
    return network.wire("192.0.2.1"), network.agent("192.0.2.2", supported=("timer",), allow=ALLOW)


def called(network: Network, headers: tuple[tuple[str, str], ...] = ASKS) -> tuple[WireHost, AgentHost, Request]:
    alice, bob = hosts(network)
    invite = request(headers=headers)
    alice.send(invite, bob)
    network.run(0.1)
    return alice, bob, invite


def talking(
    network: Network, headers: tuple[tuple[str, str], ...] = ASKS
) -> tuple[WireHost, AgentHost, Request, Response, ServerSession]:
    alice, bob = hosts(network)
    return alice, bob, *confirmed(alice, bob, headers=headers)


@pytest.mark.parametrize(("field", "text"), [("Supported", "60"), ("Supported", "0"), ("Require", "89")])
def test_an_interval_below_our_least_gets_422_and_min_se__rfc4028_9(field: str, text: str) -> None:
    network = Network()
    alice, bob, _ = called(network, ((field, "timer"), ("Session-Expires", text)))
    assert alice.last(422).headers.get("Min-SE") == "90"
    assert bob.events == []
    assert bob.agent.counters["session_interval"] == 1


def test_a_leaked_session_expires_below_our_least_is_ignored__twilio() -> None:
    alice, _, _ = called(Network(), (("Session-Expires", "30"),))
    assert alice.responses() == [100]


def test_a_session_that_the_peer_does_not_refresh_ends_with_bye__rfc4028_10() -> None:
    network = Network()
    alice, _, _, ok, session = talking(network)
    assert ok.headers.get("Session-Expires") == "300;refresher=uac"
    assert ok.require == ("timer",)
    assert session.session_interval == 300
    network.run(267.5)
    assert alice.requests("BYE") == []
    network.run(1.0)
    assert session.end_cause is EndCause.EXPIRED
    assert "Session expired" in str(alice.requests("BYE")[0].headers.get("Reason"))


def test_an_update_without_offer_refreshes_target_and_timer__rfc3311_5_2() -> None:
    network = Network()
    alice, bob, invite, ok, session = talking(network)
    for turn in range(4):
        network.run(150.0)
        update = in_dialog(invite, ok, "UPDATE", cseq=2 + turn, branch=f"z9hG4bKu{turn}", headers=ASKS)
        alice.send(update, bob)
        network.run(0.1)
        assert alice.last(200).headers.get("Session-Expires") == "300;refresher=uac"
    assert not session.is_ended


def test_a_refresh_of_ours_is_an_update_where_the_peer_allows_it__rfc4028_7_4() -> None:
    network = Network()
    headers = (("Supported", "timer"), ("Session-Expires", "300;refresher=uas"), ("Allow", "INVITE, ACK, BYE, UPDATE"))
    alice, bob, _, _, session = talking(network, headers)
    network.run(151.0)
    (update, *_) = alice.requests("UPDATE")
    assert update.body == b""
    assert update.headers.get("Session-Expires") == "300;refresher=uac"
    fields = [("Session-Expires", "300;refresher=uac"), ("Contact", "<sip:alice@192.0.2.1>")]
    alice.send(update.create_response(200, headers=fields), bob)
    network.run(0.1)
    assert bob.only(SessionRefreshed).body is None
    network.run(170.0)
    assert len({update.cseq.number for update in alice.requests("UPDATE")}) == 2
    assert not session.is_ended


def test_a_refresh_of_ours_is_the_same_offer_again_where_the_peer_lacks_update__rfc4028_7_4() -> None:
    network = Network()
    alice, _, _, _, _ = talking(network, (("Supported", "timer"), ("Session-Expires", "300;refresher=uas")))
    network.run(151.0)
    assert alice.requests("UPDATE") == []
    assert alice.requests("INVITE")[0].body == ANSWER


def test_a_refresh_that_is_refused_does_not_end_the_call_before_its_time__rfc4028_10() -> None:
    network = Network()
    alice, bob, _, _, session = talking(network, (("Supported", "timer"), ("Session-Expires", "300;refresher=uas")))
    network.run(151.0)
    alice.send(alice.requests("INVITE")[0].create_response(503), bob)
    network.run(1.0)
    assert not session.is_ended
    assert bob.of(ReinviteFailed) == []
    network.run(130.0)
    assert session.end_cause is EndCause.EXPIRED


def test_two_agents_keep_a_call_for_35_minutes_with_reinvites_between__rfc4028() -> None:
    network = Network()
    options: dict[str, Any] = {"supported": ("timer",), "allow": ALLOW, "session_expires": 120}
    alice = network.agent("192.0.2.1", screen=None, **options)
    bob = network.agent("192.0.2.2", screen=None, **options)
    call = alice.call(bob)
    network.run(0.1)
    session = bob.incoming
    bob.do(session.answer, ANSWER)
    bob.on_event = lambda event: (
        bob.do(session.answer_reinvite, ANSWER) if isinstance(event, ReinviteReceived) else None
    )
    for _ in range(7):
        network.run(300.0)
        assert alice.do(call.reinvite, OFFER)
    network.run(1.0)
    assert alice.of(Ended) == bob.of(Ended) == []
    assert len(alice.of(SessionRefreshed)) > 20
    assert len(alice.of(ReinviteAnswered)) == 7
    network.drop = lambda packet: True
    network.run(200.0)
    assert len(alice.of(Ended)) == len(bob.of(Ended)) == 1


def test_a_422_is_answered_with_the_interval_it_names__rfc4028_7_3() -> None:
    network = Network()
    alice = network.agent("192.0.2.1", supported=("timer",), session_expires=90)
    bob = network.wire("192.0.2.2")
    alice.call(bob)
    network.run(0.1)
    first = bob.requests("INVITE")[0]
    assert first.headers.get("Session-Expires") == "90"
    bob.send(first.create_response(422, to_tag="b", headers=[("Min-SE", "600")]), alice)
    network.run(0.1)
    second = bob.requests("INVITE")[1]
    assert (second.headers.get("Session-Expires"), second.headers.get("Min-SE")) == ("600", "600")
    assert second.cseq.number == 2
    assert second.call_id == first.call_id
    contact = ("Contact", "<sip:bob@192.0.2.2>")
    bob.send(
        second.create_response(200, to_tag="b", headers=[contact, ("Session-Expires", "600;refresher=uac")]), alice
    )
    network.run(0.1)
    assert alice.only(Answered).session.session_interval == 600
    network.run(301.0)
    refresh = bob.requests("INVITE")[-1]
    bob.send(refresh.create_response(422, headers=[("Min-SE", "900")]), alice)
    network.run(0.1)
    assert bob.requests("INVITE")[-1].headers.get("Session-Expires") == "900;refresher=uac"


def test_an_update_with_an_offer_is_our_user_s_to_answer__rfc3311_5_2() -> None:
    network = Network()
    alice, bob, invite, ok, session = talking(network)
    alice.send(in_dialog(invite, ok, "UPDATE", body=OFFER), bob)
    alice.send(in_dialog(invite, ok, "UPDATE", cseq=3, branch="z9hG4bKc", body=OFFER), bob)
    alice.send(in_dialog(invite, ok, "INVITE", cseq=4, branch="z9hG4bKd"), bob)
    network.run(0.1)
    # RFC 6337, UAS-UsU and UAS-UsI: each gets 500 while the first waits.
    assert [m.cseq.number for m in alice.inbox if isinstance(m, Response) and m.status == 500] == [3, 4]
    assert bob.only(ReinviteReceived).offer == OFFER
    assert not bob.do(session.reinvite, OFFER)
    assert bob.do(session.answer_reinvite, ANSWER)
    network.run(0.1)
    assert alice.last(200).body == ANSWER
    assert alice.last(200).headers.get("Content-Type") == "application/sdp"
    alice.send(in_dialog(invite, ok, "UPDATE", cseq=5, branch="z9hG4bKe", body=OFFER), bob)
    network.run(0.1)
    assert bob.do(session.reject_reinvite, 488)
    network.run(0.1)
    assert alice.last(488).cseq.number == 5


def test_an_update_crossing_our_reinvite_gets_491__rfc3311_5_2() -> None:
    network = Network()
    alice, bob, invite, ok, session = talking(network)
    bob.do(session.reinvite, OFFER)
    alice.send(in_dialog(invite, ok, "UPDATE", body=OFFER), bob)
    network.run(0.1)
    assert alice.responses()[-1] == 491


def test_an_update_of_an_early_dialog_with_an_offer_gets_500__rfc3311_5_2() -> None:
    network = Network()
    alice, bob, invite = called(network)
    bob.do(bob.incoming.ring)
    network.run(0.1)
    alice.send(in_dialog(invite, alice.last(180), "UPDATE", body=OFFER), bob)
    network.run(0.1)
    assert "Retry-After" in alice.last(500).headers


def test_a_bye_while_an_update_waits_answers_it__rfc3261_15_1_2() -> None:
    network = Network()
    alice, bob, invite, ok, _ = talking(network)
    alice.send(in_dialog(invite, ok, "UPDATE", body=OFFER), bob)
    alice.send(in_dialog(invite, ok, "BYE", cseq=3, branch="z9hG4bKc"), bob)
    network.run(0.1)
    assert sorted(alice.responses()[-2:]) == [200, 487]
    assert bob.only(Ended).cause is EndCause.REMOTE_BYE


def test_an_update_that_the_user_leaves_alone_gets_500() -> None:
    network = Network()
    alice, bob, invite, ok, session = talking(network)
    alice.send(in_dialog(invite, ok, "UPDATE", body=OFFER), bob)
    network.run(11.0)
    assert alice.responses()[-1] == 500
    assert not session.is_ended


def test_a_reinvite_while_an_update_waits_gets_500_and_retry_after__rfc6337_uas_usi() -> None:
    network = Network()
    alice, bob, invite, ok, session = talking(network)
    alice.send(in_dialog(invite, ok, "UPDATE", body=OFFER), bob)
    alice.send(in_dialog(invite, ok, "INVITE", cseq=3, branch="z9hG4bKc"), bob)
    network.run(0.1)
    assert "Retry-After" in alice.last(500).headers
    assert alice.last(500).cseq.method == "INVITE"
    bob.do(session.answer_reinvite, ANSWER)
    network.run(0.1)
    assert (alice.last(200).cseq.method, alice.last(200).body) == ("UPDATE", ANSWER)


def test_an_update_while_our_offer_waits_for_its_ack_gets_500__rfc6337_uas_isu() -> None:
    network = Network()
    alice, bob, invite, ok, session = talking(network)
    alice.send(in_dialog(invite, ok, "INVITE", body=b""), bob)
    network.run(0.1)
    bob.do(session.answer_reinvite, OFFER)
    network.run(0.1)
    alice.send(in_dialog(invite, ok, "UPDATE", cseq=3, branch="z9hG4bKc", body=ANSWER), bob)
    network.run(0.1)
    assert alice.last(500).cseq.method == "UPDATE"


def test_a_refresh_that_falls_into_a_reinvite_is_not_sent__rfc4028_7_4() -> None:
    network = Network()
    alice, bob, invite, ok, _ = talking(network, (("Supported", "timer"), ("Session-Expires", "300;refresher=uas")))
    network.run(145.0)
    alice.send(in_dialog(invite, ok, "INVITE", headers=ASKS), bob)
    network.run(6.0)
    assert alice.requests("INVITE") == []


def test_without_timers_nothing_is_said_of_them() -> None:
    network = Network()
    alice, _bob, call, session = established(network)
    assert "Session-Expires" not in network.sent(alice, "INVITE")[0].message.headers
    assert call.session_interval is session.session_interval is None
