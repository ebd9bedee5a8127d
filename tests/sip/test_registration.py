"""Registrations: RFC 3261 §10.2, RFC 5626 §4.5, RFC 7616, in virtual time."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from sip.authentication import DigestAuthenticator
from sip.digest import DigestChallenge, DigestCredentials, parse_digest
from sip.message import Request
from sip.registration import BASE_WAIT_SECONDS, LONGEST_WAIT_SECONDS, Registration, RegistrationSettings
from sip.registration_state import RegistrationState
from sip.uri import Uri
from tests.helpers.sip import AgentHost, Network, WireHost

REGISTRAR = Uri.parse("sip:192.0.2.9:5060")
RECORD = Uri.parse("sip:gateway@192.0.2.9")
CONTACT = Uri.parse("sip:gateway@192.0.2.1:5060")
SECOND_CONTACT = Uri.parse("sip:gateway@192.0.2.1:5080")
CREDENTIALS = DigestCredentials("pbx.example", "gateway", "secret")

S = RegistrationState


@dataclass
class House:
    """A client that registers with a registrar played by hand."""

    network: Network
    client: AgentHost
    registrar: WireHost
    registration: Registration
    states: list[RegistrationState] = field(default_factory=list)
    _read: int = 0

    def run(self, seconds: float = 0.1) -> None:
        self.network.run(seconds)

    def start(self) -> None:
        self.client.do(self.registration.start)
        self.run()

    def stop(self) -> None:
        self.client.do(self.registration.stop)
        self.run()

    @property
    def state(self) -> RegistrationState:
        return self.registration.state

    @property
    def requests(self) -> list[Request]:
        return self.registrar.requests("REGISTER")

    def answer(self, status: int, *headers: tuple[str, str]) -> None:
        """The registrar's response to the latest REGISTER."""
        response = self.requests[-1].create_response(status, to_tag="registrar", headers=headers)
        self.registrar.send(response, self.client)
        self.run()

    def grant(self, seconds: int) -> None:
        self.answer(200, ("Contact", f"<{CONTACT}>;expires={seconds}"))

    def challenge(self, nonce: str, *, realm: str = "pbx.example", stale: bool = False) -> None:
        self.answer(401, ("WWW-Authenticate", str(DigestChallenge(realm, nonce, qop="auth", stale=stale))))

    def seconds_to_next(self) -> float:
        """How long nothing is sent, at most an hour."""
        count, before = len(self.requests), self.network.now
        while len(self.requests) == count and self.network.now < before + 3600:
            self.run(0.5)
        return self.network.now - before


def house(contacts: tuple[Uri, ...] = (CONTACT,), expires_seconds: int = 3600) -> House:
    network = Network()
    client, registrar = network.agent("192.0.2.1"), network.wire("192.0.2.9")
    states: list[RegistrationState] = []
    tokens = itertools.count()
    registration = Registration(
        client.agent,
        RegistrationSettings(REGISTRAR, RECORD, contacts, expires_seconds),
        authenticator=DigestAuthenticator([CREDENTIALS], token=lambda: f"client-nonce-{next(tokens):04d}"),
        on_change=lambda changed: states.append(changed.state),
    )
    return House(network, client, registrar, registration, states)


def test_register_names_registrar_record_and_contact__rfc3261_10_2() -> None:
    peer = house()
    peer.start()
    (request,) = peer.requests
    assert str(request.uri) == "sip:192.0.2.9:5060"
    assert request.to.uri == request.from_.uri == RECORD
    assert request.to.tag is None
    assert request.headers.get("Contact") == f"<{CONTACT}>;expires=3600"
    assert request.headers.get("Expires") == "3600"
    peer.grant(600)
    assert peer.state is S.REGISTERED
    assert peer.registration.granted_seconds == 600
    assert peer.states == [S.REGISTERING, S.REGISTERED]


def test_refresh_comes_at_half_of_the_granted_time_with_the_next_cseq__rfc3261_10_2_4() -> None:
    peer = house()
    peer.start()
    peer.grant(600)
    assert 299 <= peer.seconds_to_next() <= 361
    first, second = peer.requests
    assert second.call_id == first.call_id
    assert second.cseq.number == first.cseq.number + 1
    assert peer.state is S.REFRESHING
    peer.grant(60)
    assert 29 <= peer.seconds_to_next() <= 37


@pytest.mark.parametrize(("granted", "wait"), [(1, 1.0), (3, 2.4), (5, 4.0), (7, 5.0), (9, 5.0)])
def test_a_short_grant_is_refreshed_before_it_ends_but_not_without_pause(granted: int, wait: float) -> None:
    peer = house()
    peer.start()
    peer.grant(granted)
    assert peer.seconds_to_next() == pytest.approx(wait, abs=0.5)


def test_refresh_spreads_the_clients_of_one_registrar() -> None:
    waits = set()
    for number in range(8):
        peer = house()
        for _ in range(number):
            peer.client.agent.token()  # each client has tokens, and so fractions, of its own
        peer.start()
        peer.grant(600)
        waits.add(round(peer.seconds_to_next()))
    assert len(waits) > 3


def test_other_clients_bindings_are_not_ours__rfc3261_10_3() -> None:
    peer = house()
    peer.start()
    peer.answer(200, ("Contact", f"<sip:phone@192.0.2.77>;expires=30, <{CONTACT}>;expires=900"))
    assert peer.registration.granted_seconds == 900


def test_shortest_grant_of_several_contacts_counts() -> None:
    peer = house((CONTACT, SECOND_CONTACT))
    peer.start()
    assert peer.requests[0].headers.get_all("Contact") == [
        f"<{CONTACT}>;expires=3600",
        f"<{SECOND_CONTACT}>;expires=3600",
    ]
    peer.answer(200, ("Contact", f"<{CONTACT}>;expires=900, <{SECOND_CONTACT}>;expires=300"))
    assert peer.registration.granted_seconds == 300


@pytest.mark.parametrize(
    ("headers", "granted"),
    [
        ((("Expires", "120"),), 120),
        ((("Contact", f"<{CONTACT}>"), ("Expires", "240")), 240),
        ((("Contact", "<sip:gateway@198.51.100.4:1024>;expires=77"), ("Expires", "240")), 240),
        ((), 3600),
        ((("Contact", f"<{CONTACT}>;expires=99999"),), 3600),
        ((("Contact", f"<{CONTACT}>;expires=soon"),), 3600),
    ],
)
def test_granted_time_is_found_where_registrars_put_it(headers: tuple[tuple[str, str], ...], granted: int) -> None:
    peer = house()
    peer.start()
    peer.answer(200, *headers)
    assert peer.registration.granted_seconds == granted


def test_grant_of_no_time_is_a_refusal() -> None:
    peer = house()
    peer.start()
    peer.grant(0)
    assert peer.state is S.WAITING
    assert not peer.registration.is_bound(peer.network.now)


def test_challenge_is_answered_for_its_realm__rfc3261_22_2() -> None:
    peer = house()
    peer.start()
    peer.challenge("n1")
    first, second = peer.requests
    assert (second.call_id, second.from_, second.to) == (first.call_id, first.from_, first.to)  # §8.1.3.5
    assert second.cseq.number == 2
    answer = parse_digest(second.headers.get("Authorization") or "")
    assert answer is not None
    assert (answer["username"], answer["uri"], answer["nonce"]) == ("gateway", "sip:192.0.2.9:5060", "n1")
    peer.grant(600)
    assert peer.state is S.REGISTERED


def test_credentials_go_to_no_other_realm__promise_15() -> None:
    peer = house()
    peer.start()
    peer.challenge("n1", realm="evil.example")
    assert len(peer.requests) == 1
    assert peer.state is S.WAITING
    assert peer.registration.fault is not None
    assert peer.registration.fault.status == 401


def test_wrong_password_waits_the_longest_instead_of_hammering() -> None:
    peer = house()
    peer.start()
    peer.challenge("n1")
    peer.challenge("n2")
    assert len(peer.requests) == 2
    assert peer.seconds_to_next() >= LONGEST_WAIT_SECONDS / 2 - 1


def test_stale_nonce_is_answered_at_once__rfc7616_3_3() -> None:
    peer = house()
    peer.start()
    peer.challenge("n1")
    peer.challenge("n2", stale=True)
    assert len(peer.requests) == 3
    peer.grant(600)
    assert peer.state is S.REGISTERED


def test_registrar_that_challenges_without_end_is_given_up() -> None:
    peer = house()
    peer.start()
    for number in range(12):
        peer.challenge(f"n{number}", stale=True)
    assert len(peer.requests) == 5
    assert peer.state is S.WAITING


def test_redirection_is_not_followed__promise_15() -> None:
    peer = house()
    peer.start()
    peer.answer(302, ("Contact", "<sip:192.0.2.66>"))
    assert peer.state is S.WAITING
    assert {packet.destination.host for packet in peer.network.sent(peer.client)} == {"192.0.2.9"}


def test_too_brief_asks_for_the_registrars_least__rfc3261_10_3_step_7() -> None:
    peer = house(expires_seconds=60)
    peer.start()
    peer.answer(423, ("Min-Expires", "1800"))
    assert peer.requests[-1].headers.get("Expires") == "1800"
    assert peer.requests[-1].headers.get("Contact") == f"<{CONTACT}>;expires=1800"
    peer.grant(1800)
    assert peer.registration.granted_seconds == 1800


@pytest.mark.parametrize("least", ["60", "10", "9999999", "99999999999999999999", "-1", "soon", ""])
def test_too_brief_without_a_sensible_least_is_a_refusal(least: str) -> None:
    peer = house(expires_seconds=60)
    peer.start()
    peer.answer(423, ("Min-Expires", least))
    assert len(peer.requests) == 1
    assert peer.state is S.WAITING


def test_too_brief_that_grows_by_one_each_time_ends() -> None:
    peer = house(expires_seconds=60)
    peer.start()
    for least in range(61, 80):
        peer.answer(423, ("Min-Expires", str(least)))
    assert len(peer.requests) == 5


def test_silence_is_met_with_growing_waits_and_jitter__rfc5626_4_5() -> None:
    peer = house()
    peer.network.drop = lambda packet: packet.destination.host == "192.0.2.9"
    peer.client.do(peer.registration.start)
    starts: list[float] = []
    peer.run(4 * 3600)
    for packet in peer.network.sent(peer.client, "REGISTER"):
        number = packet.message.cseq.number
        if number > len(starts):
            starts.append(packet.time)
    waits = [later - earlier - 32 for earlier, later in itertools.pairwise(starts)]  # 32 s: timer F
    assert len(waits) > 6
    for number, wait in enumerate(waits):
        longest = min(LONGEST_WAIT_SECONDS, BASE_WAIT_SECONDS * 2 ** (number + 1))
        assert longest / 2 - 0.1 <= wait <= longest + 0.1
    assert (
        len(
            {
                round(wait / min(LONGEST_WAIT_SECONDS, BASE_WAIT_SECONDS * 2 ** (n + 1)), 2)
                for n, wait in enumerate(waits)
            }
        )
        > 3
    )
    assert peer.registration.fault is not None
    assert peer.registration.fault.reason == "no answer"


def test_success_forgets_earlier_failures() -> None:
    peer = house()
    peer.start()
    for _ in range(3):
        peer.answer(503)
        peer.seconds_to_next()
    peer.grant(600)
    assert (peer.registration.failures, peer.registration.fault) == (0, None)


def test_retry_after_is_heeded__rfc3261_20_33() -> None:
    peer = house()
    peer.start()
    peer.answer(503, ("Retry-After", "900 (maintenance);duration=60"))
    assert 899 <= peer.seconds_to_next() <= 901


def test_forbidden_waits_the_longest() -> None:
    peer = house()
    peer.start()
    peer.answer(403)
    assert peer.seconds_to_next() >= LONGEST_WAIT_SECONDS / 2 - 1


def test_binding_lives_on_while_a_refresh_fails_until_its_time_is_over() -> None:
    peer = house()
    peer.start()
    peer.grant(600)
    peer.seconds_to_next()
    peer.answer(503)
    assert peer.state is S.WAITING
    assert peer.registration.is_bound(peer.network.now)
    assert not peer.registration.is_bound(peer.network.now + 600)


def test_stop_removes_our_contacts_by_name__rfc3261_10_2_2() -> None:
    peer = house((CONTACT, SECOND_CONTACT))
    peer.start()
    peer.grant(600)
    peer.stop()
    request = peer.requests[-1]
    assert request.headers.get("Expires") == "0"
    assert request.headers.get_all("Contact") == [f"<{CONTACT}>;expires=0", f"<{SECOND_CONTACT}>;expires=0"]
    peer.challenge("n9")
    assert peer.requests[-1].headers.get("Authorization") is not None
    peer.answer(200)
    assert peer.state is S.ENDED
    assert not peer.registration.is_bound(peer.network.now)
    peer.run(60)
    peer.client.assert_empty()


def test_stop_waits_for_the_register_under_way__rfc3261_10_2() -> None:
    peer = house()
    peer.start()
    peer.stop()
    assert len(peer.requests) == 1
    assert peer.state is S.STOPPING
    peer.grant(600)
    assert [request.headers.get("Expires") for request in peer.requests] == ["3600", "0"]
    peer.answer(200)
    assert peer.states[-1] is S.ENDED


def test_stop_without_a_binding_sends_nothing() -> None:
    peer = house()
    peer.start()
    peer.answer(403)
    peer.stop()
    assert len(peer.requests) == 1
    assert peer.state is S.ENDED
    peer.run(4000)
    assert len(peer.requests) == 1


def test_response_that_comes_late_changes_nothing() -> None:
    peer = house()
    peer.start()
    first = peer.requests[0]
    peer.challenge("n1")
    peer.registrar.send(first.create_response(200, to_tag="late", headers=[("Expires", "5")]), peer.client)
    peer.run()
    assert peer.state is S.REGISTERING


def test_socket_that_fails_is_tried_again() -> None:
    peer = house()
    peer.client.failing = True
    peer.start()
    assert peer.state is S.WAITING
    assert peer.registration.fault is not None
    assert peer.registration.fault.status is None
    peer.client.failing = False
    peer.seconds_to_next()
    peer.grant(600)
    assert peer.states[-1] is S.REGISTERED


def test_unlisted_input_changes_nothing() -> None:
    peer = house()
    act: Callable[..., None] = peer.registration.start
    peer.start()
    peer.grant(600)
    peer.client.do(act)
    peer.run()
    assert peer.state is S.REGISTERED
    assert len(peer.requests) == 1
