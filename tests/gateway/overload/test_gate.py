"""Who is looked at and which calls are taken on, in virtual time."""

import itertools
from collections import deque

import pytest

from gateway.admission import Admission
from gateway.config.model import LimitsSettings
from gateway.config.overload import OverloadSettings, RateSettings
from gateway.config.trunk import TrunkSettings
from gateway.overload import gate as gate_module
from gateway.overload.gate import Gate
from gateway.overload.load import LoopLoad
from gateway.roster import Roster
from sip.agent import UserAgent
from sip.configuration import AgentConfiguration
from sip.event import IncomingInvite
from sip.message import Request, Response, parse_message
from sip.session.session import InviteSession
from sip.session.uas import ServerSession
from sip.transport.flow import Address, Flow
from tests.helpers.sip import ANSWER, in_dialog, request

CARRIER = "192.0.2.1"
OTHER = "192.0.2.2"
STRANGER = "203.0.113.9"


class House:
    """A user agent behind a gate; whoever calls is answered at once."""

    def __init__(self, *, trunk: dict[str, object] | None = None, calls: int = 100, **overload: object) -> None:
        trunks = {
            "carrier": TrunkSettings.model_validate(
                {"allow": ["192.0.2.0/24"], "numbers": {"*": "desk"}, **(trunk or {})}
            )
        }
        limits = LimitsSettings(calls=calls, overload=OverloadSettings.model_validate(overload))
        self.load = LoopLoad(limits.overload.lag_ms / 1000)
        self.gate = Gate(Admission(trunks, Roster()), trunks, limits, self.load)
        tokens = (f"token{number}" for number in itertools.count())
        self.agent = UserAgent(AgentConfiguration(), token=lambda: next(tokens), screen=self.gate.screen)
        self.answered: deque[Response] = deque()
        self.now = 0.0
        self._serial = itertools.count()

    def receive(self, data: bytes, host: str) -> list[Response]:
        """What a datagram from `host` is answered with."""
        flow = Flow("udp", Address("192.0.2.200", 5060), Address(host, 5060), 0)
        if not self.gate.admits("udp", flow.remote) or not self.gate.sift(data, flow, self.now):
            return []
        self.agent.receive_message(data, flow, self.now)
        return self.drain()

    def drain(self) -> list[Response]:
        sent: list[Response] = []
        while True:
            for transmit in self.agent.transmits():
                message = parse_message(transmit.data)
                if isinstance(message, Response):
                    sent.append(message)
            event = next(self.agent.events(), None)
            if event is None:
                return sent
            self.gate.on_event(event)
            if isinstance(event, IncomingInvite):
                event.session.answer(ANSWER, now=self.now)

    def invite(self, host: str = CARRIER) -> int | None:
        """A new call; its final status, or None for silence."""
        return self._invite(host)[0]

    def call(self, host: str = CARRIER) -> bytes:
        """A call that is acknowledged; returns its BYE."""
        status, invite, response = self._invite(host)
        assert status == 200
        self.receive(bytes(in_dialog(invite, response, "ACK", cseq=1, branch=f"z9hG4bKa{next(self._serial)}")), host)
        return bytes(in_dialog(invite, response, "BYE", branch=f"z9hG4bKb{next(self._serial)}"))

    def _invite(self, host: str) -> tuple[int | None, Request, Response]:
        number = next(self._serial)
        invite = request(call_id=f"call-{number}", branch=f"z9hG4bK{number}", from_=f"<sip:a@b.example>;tag={number}")
        responses = self.receive(bytes(invite), host)
        if not responses:
            return None, invite, invite.create_response(500)
        return responses[-1].status, invite, responses[-1]

    def options(self, host: str) -> int | None:
        number = next(self._serial)
        sent = self.receive(bytes(request("OPTIONS", call_id=f"o{number}", branch=f"z9hG4bKo{number}")), host)
        return sent[-1].status if sent else None

    def sessions(self) -> list[InviteSession]:
        return [session for session in self.agent.sessions if isinstance(session, ServerSession)]

    def stall(self, lag_s: float, beats: int = 100) -> None:
        for _ in range(beats):
            self.load.beat(lag_s, 0.0, 0.02 + lag_s)

    def work(self, share: float, beats: int = 200) -> None:
        for _ in range(beats):
            self.load.beat(0.0, share * 0.02, 0.02)


# Rates.


def test_a_trunk_has_a_burst_and_then_its_rate() -> None:
    house = House(trunk={"rate": {"per_second": 2, "burst": 5}}, calls=1000)
    house.call()
    statuses = [house.invite() for _ in range(8)]
    assert statuses == [200] * 4 + [503] * 4
    house.now += 1.0
    assert [house.invite() for _ in range(4)] == [200, 200, 503, 503]
    assert house.agent.counters["refused_trunk_rate"] == 6


def test_a_refusal_for_overload_says_when_to_come_again_and_leaves_nothing_behind() -> None:
    house = House(trunk={"rate": {"per_second": 1, "burst": 1}})
    house.call()
    number_of_transactions = len(house.agent.transactions)
    status, _, response = house._invite(CARRIER)
    assert status == 503
    assert response.headers.get("Retry-After") == "5"
    assert len(house.agent.transactions) == number_of_transactions
    assert house.agent.session_count == 1


def test_the_limits_hold_where_the_trunk_says_nothing() -> None:
    house = House(calls=1000, trunk_rate={"per_second": 1, "burst": 3})
    house.call()
    assert [house.invite() for _ in range(3)] == [200, 200, 503]


# Calls that nobody acknowledges.


def test_a_source_that_never_acknowledged_shares_a_quarter_of_the_calls_with_its_like() -> None:
    house = House(calls=100)
    hosts = [f"192.0.2.{number}" for number in range(10, 210)]
    assert sum(house.invite(host) == 200 for host in hosts) == 16
    assert house.agent.counters["refused_unproven_rate"] == 184
    house.now += 1.0
    assert sum(house.invite(host) == 200 for host in hosts) == 25 - 16
    assert house.agent.counters["refused_unproven_half_open"] == 200 - (25 - 16)


def test_a_flood_without_ack_from_many_leaves_room_for_who_has_acknowledged_a_call() -> None:
    house = House(calls=100)
    house.call(CARRIER)
    for number in range(10, 210):
        house.invite(f"192.0.2.{number}")
    for _ in range(20):
        house.call(CARRIER)


def test_a_source_that_turns_is_held_to_its_share() -> None:
    house = House(calls=100)
    house.call(OTHER)
    assert sum(house.invite(OTHER) == 200 for _ in range(150)) == 25
    house.call(CARRIER)
    assert house.agent.counters["refused_source_half_open"] == 125


def test_an_ack_frees_its_place() -> None:
    house = House(calls=8)
    for _ in range(20):
        house.call()
    assert house.gate.half_open_count == 0


def test_half_open_calls_are_capped_in_all() -> None:
    house = House(calls=1000, half_open=4)
    house.call(CARRIER)
    house.call(OTHER)
    house.call("192.0.2.3")
    hosts = [CARRIER, CARRIER, CARRIER, OTHER, OTHER, OTHER, "192.0.2.3"]
    assert [house.invite(host) for host in hosts] == [200, 200, 503, 200, 200, 503, 503]
    assert house.agent.counters["refused_half_open"] == 1


def test_an_unacknowledged_call_gives_its_place_back_when_it_ends() -> None:
    house = House(calls=100)
    for number in range(10, 60):
        house.now += 0.05
        house.invite(f"192.0.2.{number}")
    assert house.gate.half_open_count == 25
    for _ in range(400):
        house.now += 0.1
        house.agent.handle_timer(house.now)
        house.drain()
    assert house.gate.half_open_count == 0
    assert not house.sessions()
    assert house.invite() == 200
    assert house.agent.counters["not_acknowledged"] == 25


# The event loop.


def test_a_late_loop_takes_no_new_call_and_serves_the_running_ones() -> None:
    house = House()
    bye = house.call()
    house.stall(0.05)
    for _ in range(gate_module.FEW_CALLS - 1):
        house.call()  # with few calls there is nothing to protect
    assert house.invite() == 503
    assert house.agent.counters["refused_overload"] == 1
    assert house.options(CARRIER) == 200
    assert [response.status for response in house.receive(bye, CARRIER)] == [200]
    house.stall(0.0)
    assert house.invite() == 200


def test_a_busy_loop_takes_calls_of_known_sources_only() -> None:
    house = House()
    for _ in range(gate_module.FEW_CALLS):
        house.call(CARRIER)
    house.work(0.85)
    assert house.invite(CARRIER) == 200
    assert house.invite(OTHER) == 503
    assert house.agent.counters["refused_busy"] == 1


# Datagrams, before they are parsed.


def test_a_flood_of_options_starves_no_call_of_the_same_source() -> None:
    house = House()
    assert sum(house.options(CARRIER) == 200 for _ in range(5000)) == 200
    bye = house.call(CARRIER)
    assert [response.status for response in house.receive(bye, CARRIER)] == [200]
    assert house.gate.counters["options_flood"] == 4800


@pytest.mark.parametrize("name", ["Call-ID", "call-id", "CALL-ID", "i"])
def test_the_bye_of_a_running_call_gets_through_a_flood_of_byes(name: str) -> None:
    house = House()
    bye = house.call(CARRIER)
    for number in range(5000):
        house.receive(b"BYE sip:x@192.0.2.200 SIP/2.0\r\nCall-ID: %d\r\n\r\n" % number, CARRIER)
    assert house.gate.counters["datagram_flood"] > 3000
    bye = bye.replace(b"Call-ID", name.encode())
    assert [response.status for response in house.receive(bye, CARRIER)] == [200]


def test_even_what_names_a_running_call_is_bounded() -> None:
    house = House(trunk={"rate": {"per_second": 1, "burst": 1}})
    bye = house.call(CARRIER)
    flow = Flow("udp", Address("192.0.2.200", 5060), Address(CARRIER, 5060), 0)
    assert sum(house.gate.sift(bye, flow, 0.0) for _ in range(20_000)) <= 1010


def test_noise_of_many_sources_of_a_trunk_is_bounded_in_all() -> None:
    house = House(trunk={"allow": ["10.0.0.0/8"]})
    flows = [
        Flow("udp", Address("192.0.2.200", 5060), Address(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 1), 0)
        for n in range(10_000)
    ]
    assert sum(house.gate.sift(b"noise", flow, 0.0) for flow in flows) == 1000
    assert house.gate.peer_count == gate_module.UNPROVEN_LIMIT


def test_call_ids_are_forgotten_with_their_calls() -> None:
    house = House(calls=1000)
    byes = [house.call() for _ in range(50)]
    for bye in byes:
        house.receive(bye, CARRIER)
    assert not house.gate._calls
    assert not house.gate._call_ids


def test_forged_sources_drive_out_no_source_that_has_acknowledged() -> None:
    house = House(trunk={"allow": ["10.0.0.0/8"]})
    house.call("10.255.0.1")
    for n in range(2 * gate_module.UNPROVEN_LIMIT):
        flow = Flow("udp", Address("192.0.2.200", 5060), Address(f"10.0.{n >> 8}.{n & 255}", 1), 0)
        house.gate.sift(b"INVITE forged", flow, 0.0)
    assert house.invite("10.255.0.1") == 200


# Strangers.


def test_strangers_meet_silence() -> None:
    house = House()
    assert house.invite(STRANGER) is None
    assert house.options(STRANGER) is None
    assert not house.gate.admits("udp", Address(STRANGER, 5060))


def test_strangers_may_be_told_within_their_rate() -> None:
    house = House(strangers="refuse")
    assert [house.invite(STRANGER) for _ in range(20)] == [403] * 16 + [None] * 4
    assert house.agent.session_count == 0
    assert house.gate.counters["stranger_silenced"] == 4
    assert house.invite(CARRIER) == 200


def test_what_a_stranger_is_told_is_shorter_than_what_it_sent_and_names_no_product() -> None:
    house = House(strangers="refuse")
    _, invite, response = house._invite(STRANGER)
    assert len(bytes(response)) <= len(bytes(invite))
    assert response.headers.get("Server") is None


def test_an_address_that_must_show_credentials_has_the_strangers_rate() -> None:
    credentials = [{"user": "desk", "password": "secret"}]
    house = House(trunk={"allow": [], "anyone": True, "credentials": credentials})
    assert sum(house.options(STRANGER) == 200 for _ in range(100)) == 16


def test_a_burst_may_be_set_per_trunk() -> None:
    assert House(trunk={"rate": {"per_second": 7, "burst": 9}}).gate._rates["carrier"] == RateSettings(
        per_second=7, burst=9
    )
