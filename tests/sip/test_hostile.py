"""Nothing from the wire raises through the user agent (promise 4): mutated messages against it in every state."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from sip.event import IncomingInvite, ReferReceived, ReinviteReceived
from sip.message import Request, Response
from tests.helpers.sip import ANSWER, OFFER, AgentHost, Network, WireHost, in_dialog, request

METHODS = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "INFO", "UPDATE", "PRACK", "NOTIFY", "REFER")
CONFIGURATION: dict[str, Any] = {"allow": METHODS, "supported": ("timer", "100rel", "replaces"), "max_sessions": 40}
NASTY = (
    b"", b"\x00", b"\r\n", b"\r\n\r\n", b"\xff\xfe", b";", b",", b"<", b">", b'"', b"sip:", b"tel:+1", b"65536", b"-1",
    b"99999999999999999999", b"SIP/2.0", b"SIP/3.0", b"z9hG4bK", b";tag=", b";rport", b";maddr=203.0.113.9", b"%00",
    b"Require: 100rel\r\n", b"Session-Expires: 1\r\n", b"Contact: *\r\n", b"Record-Route: <tel:1>\r\n", b"RSeq: 0\r\n",
    b"Content-Length: 7\r\n", b"Subscription-State: terminated\r\n", b"Event: refer\r\n", b"Refer-To: <sip:a@b>\r\n",
)  # fmt: skip


def mutate(chance: random.Random, data: bytes) -> bytes:
    for _ in range(chance.randint(1, 4)):
        start = chance.randrange(len(data) + 1)
        end = min(len(data), start + chance.choice((0, 0, 1, 2, 8, 40)))
        data = data[:start] + chance.choice(NASTY) + data[end:]
    return data


def corpus(chance: random.Random, invite: Request, ok: Response, seen: list[Request | Response]) -> list[bytes]:
    """Well-formed requests of a dialog, and answers to all that the agent asked, as a starting point."""
    cseq = chance.randint(0, 60)
    made: list[Request | Response] = [
        in_dialog(invite, ok, method, cseq=cseq, branch=f"z9hG4bK{chance.random()}") for method in METHODS
    ]
    made.append(request(branch=f"z9hG4bK{chance.random()}", call_id=f"call-{chance.random()}"))
    for asked in seen[-5:]:
        if isinstance(asked, Request) and asked.method != "ACK":
            status = chance.choice((100, 180, 183, 200, 202, 302, 401, 407, 408, 422, 481, 487, 491, 503, 603))
            fields = [("Contact", "<sip:x@192.0.2.1>"), ("RSeq", "1"), ("Min-SE", "100"), ("Session-Expires", "100")]
            made.append(asked.create_response(status, to_tag=chance.choice(("a", "b")), headers=fields))
    return [bytes(message) for message in made]


def answering(bob: AgentHost, chance: random.Random) -> Callable[[object], None]:
    def react(event: object) -> None:
        if isinstance(event, IncomingInvite):
            session = event.session
            what = chance.randrange(4)
            if what == 0:
                bob.do(session.progress, 183, ANSWER)
            elif what == 1:
                bob.do(session.answer, ANSWER)
            elif what == 2:
                bob.do(session.reject, 486)
        elif isinstance(event, ReinviteReceived):
            bob.do(event.session.answer_reinvite, ANSWER)
        elif isinstance(event, ReferReceived):
            bob.do(event.session.accept_refer)

    return react


@pytest.mark.parametrize("seed", range(6))
def test_mutated_messages_never_raise_and_leave_nothing_behind__rfc4475(seed: int) -> None:
    chance = random.Random(seed)
    network = Network(seed=seed)
    alice: WireHost = network.wire("192.0.2.1")
    bob = network.agent("192.0.2.2", screen=None, **CONFIGURATION)
    invite = request()
    alice.send(invite, bob)
    network.run(0.1)
    session = bob.incoming
    bob.do(session.answer, ANSWER)
    network.run(0.1)
    ok = alice.last(200)
    bob.on_event = answering(bob, chance)
    for _ in range(250):
        for data in corpus(chance, invite, ok, alice.inbox):
            alice.send(data if chance.random() < 0.2 else mutate(chance, data), bob)
        if chance.random() < 0.1:
            bob.do(session.reinvite, OFFER) if session.state.name in {"CONFIRMED", "ENDED"} else None
            bob.do(session.refer, "<tel:+1>")
            if bob.agent.session_count < 40:
                bob.call(alice)
        network.run(chance.choice((0.02, 0.02, 0.6)))
    network.run(600.0)
    for left in bob.agent.sessions:
        bob.do(left.hang_up)
    network.run(300.0)
    bob.assert_empty()
    assert bob.names.count("Ended") == len({id(event.session) for event in bob.events})  # each session ended once
