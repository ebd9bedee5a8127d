"""Messages that no stack would write, in the manner of other stacks' torture suites, against the gateway process.

The same messages meet the user agent in virtual time in tests/sip; here they cross sockets, admission, offer and answer
and the call behind them, and nothing may be left of any.
"""

import re
from collections.abc import Callable

import pytest

from tests.helpers.gateway_process import ECHO, STALLED
from tests.helpers.raw_caller import RawCaller, described, status_of
from tests.integration.conftest import ReachableGateway

pytestmark = pytest.mark.process

Spoil = Callable[[str], str]
PART = "--b\r\nContent-Type: application/isup\r\nContent-Disposition: signal;handling={handling}\r\n\r\n\x01\x02\r\n"
MIXED = "Content-Type: multipart/mixed;boundary=b\r\n"


def mixed(handling: str) -> str:
    return f"{PART.format(handling=handling)}--b\r\nContent-Type: application/sdp\r\n\r\n{described()}\r\n--b--\r\n"


def swap(old: str, new: str) -> Spoil:
    return lambda message: message.replace(old, new, 1)


def line(name: str, value: str) -> Spoil:
    return lambda message: re.sub(
        rf"^{name}: [^\r]*", lambda _: f"{name}: {value}", message, count=1, flags=re.MULTILINE
    )


def without(name: str) -> Spoil:
    return lambda message: re.sub(rf"^{name}: [^\r]*\r\n", "", message, count=1, flags=re.MULTILINE)


def added(text: str) -> Spoil:
    return swap("Max-Forwards: 70\r\n", f"Max-Forwards: 70\r\n{text}\r\n")


TAKEN: dict[str, Spoil] = {
    "tel-request-uri": lambda m: re.sub("^INVITE [^ ]+", f"INVITE tel:{ECHO}", m),
    "tel-from": line("From", "<tel:+15551230000>;tag=t1"),
    "escaped-user": lambda m: re.sub("^INVITE sip:[^@]+", "INVITE sip:" + "".join(f"%{ord(c):02x}" for c in ECHO), m),
    "utf-8-display-name": line("From", '"Jérôme «☎»" <sip:a@b>;tag=u1'),
    "utf-8-without-quotation": line("From", "Jérôme Müller <sip:a@b>;tag=u2"),
    "angle-brackets-in-quotation": line("From", '"<sip:evil@x>;tag=1, \\"b\\\\" <sip:a@b>;tag=q2'),
    "folded": swap("Max-Forwards: 70", "Max-Forwards:\r\n\t 70"),
    "case-of-names": lambda m: m.replace("Via:", "vIA:").replace("From:", "FROM:").replace("Call-ID:", "call-id:"),
    "compact-names": lambda m: m.replace("Via:", "v:").replace("From:", "f:").replace("Contact:", "m:"),
    "vias-joined-by-commas": swap(";rport\r\n", ";rport, SIP/2.0/TCP a.b:1;branch=z9hG4bKx,SIP/2.0/UDP c\r\n"),
    "no-max-forwards": without("Max-Forwards"),
    "max-forwards-of-zero": line("Max-Forwards", "0"),
    "no-content-length": without("Content-Length"),
    "lower-case-version": swap("SIP/2.0\r\n", "sip/2.0\r\n"),
    "route-of-ours": added("Route: <sip:127.0.0.1;lr>"),
    "leaked-session-expires": added("Session-Expires: 60"),
    "proxy-require-is-a-proxys": added("Proxy-Require: x"),
}


@pytest.mark.parametrize("spoil", TAKEN.values(), ids=TAKEN)
def test_unusual_and_right_invites_become_calls__rfc4475_3_1_1(gateway: ReachableGateway, spoil: Spoil) -> None:
    with RawCaller(gateway.process.sip_address, ECHO) as caller:
        caller.send(spoil(caller.write("INVITE", described())))
        response = caller.final("INVITE")
        assert status_of(response) == 200
        from_ = re.search(r"^From: (.*)\r$", response, re.MULTILINE)
        caller.acknowledge(response)
        bye = caller.write("BYE")
        caller.send(bye if from_ is None else line("From", from_[1])(bye))
        assert status_of(caller.final("BYE")) == 200


REFUSED: dict[str, tuple[Spoil, int, str]] = {
    "two-froms": (added("From: <sip:a@b>;tag=2"), 400, ""),
    "two-contacts": (added("Contact: <sip:b@c>"), 400, ""),
    "star-contact": (line("Contact", "*"), 400, ""),
    "no-contact": (without("Contact"), 400, ""),
    "tel-contact": (line("Contact", "<tel:+1555>"), 400, ""),
    "max-forwards-of-300": (line("Max-Forwards", "300"), 400, ""),
    "content-length-too-large": (line("Content-Length", "9999"), 400, ""),
    "record-route-of-tel": (added("Record-Route: <tel:1>"), 400, ""),
    "multipart-without-end": (swap("application/sdp", "multipart/mixed;boundary=b"), 400, ""),
    "accept-of-another-type": (added("Accept: text/plain"), 406, "Accept"),
    "text-body": (swap("application/sdp", "text/plain"), 415, "Accept"),
    "encoded-body": (added("Content-Encoding: gzip"), 415, "Accept-Encoding"),
    "http-uri": (lambda m: re.sub("^INVITE [^ ]+", "INVITE http://a/b", m), 416, ""),
    "unknown-extension": (added("Require: x-unknown, timer"), 420, "Unsupported"),
    "session-interval": (added("Supported: timer\r\nSession-Expires: 60"), 422, "Min-SE"),
    "unknown-codec": (swap("RTP/AVP 0 101", "RTP/AVP 18 101"), 488, "Warning"),
    "multicast": (swap("c=IN IP4 127.0.0.1", "c=IN IP4 224.1.1.1"), 488, "Warning"),
    "secure-without-key": (swap("RTP/AVP", "RTP/SAVP"), 488, "Warning"),
    "next-version": (swap("SIP/2.0\r\n", "SIP/3.0\r\n"), 505, ""),
    "too-long": (swap("Content-Type", f"X-Long: {'x' * 33_000}\r\nContent-Type"), 513, ""),
}


@pytest.mark.parametrize(("spoil", "status", "needed"), REFUSED.values(), ids=REFUSED)
def test_each_refusal_carries_what_it_must__rfc3261_8_2(
    gateway: ReachableGateway, spoil: Spoil, status: int, needed: str
) -> None:
    with RawCaller(gateway.process.sip_address, ECHO) as caller:
        caller.send(spoil(caller.write("INVITE", described())))
        response = caller.final("INVITE")
        caller.acknowledge(response)
    assert status_of(response) == status
    assert not needed or f"\r\n{needed}: " in response
    assert re.search(r"^To: [^\r]*;tag=", response, re.MULTILINE)


@pytest.mark.parametrize(("handling", "status"), [("optional", 200), ("required", 415)])
def test_isup_beside_the_offer__rfc5621_8_2(gateway: ReachableGateway, handling: str, status: int) -> None:
    with RawCaller(gateway.process.sip_address, ECHO) as caller:
        assert status_of(caller.ask("INVITE", mixed(handling), headers=MIXED)) == status
        if status == 200:
            caller.hang_up()


def test_a_call_survives_all_that_happens_in_its_dialog(gateway: ReachableGateway) -> None:
    with RawCaller(gateway.process.sip_address, ECHO) as caller:
        assert status_of(caller.ask("INVITE", described())) == 200
        for number, (change, direction) in enumerate(
            [
                ({"more": "a=sendonly\r\n"}, "recvonly"),
                ({"more": "a=inactive\r\n"}, "inactive"),
                ({"host": "0.0.0.0"}, "recvonly"),
                ({"host": "0.0.0.0", "more": "a=sendonly\r\n"}, "recvonly"),
                ({"more": "a=recvonly\r\n"}, "sendonly"),
                ({"port": 40010, "host": "127.0.0.2"}, "sendrecv"),
                ({"formats": "8 101"}, "sendrecv"),
                ({}, "sendrecv"),
            ],
            2,
        ):
            response = caller.ask("INVITE", described(version=number, **change))  # type: ignore[arg-type]
            assert f"a={direction}\r\n" in response, (change, response)
        for method, body, headers, status in [
            ("INVITE", described(version=20, formats="18"), "", 488),
            ("INVITE", "garbage", "", 400),
            ("INVITE", described(version=21), "Require: x\r\n", 420),
            ("INFO", "x", "Content-Type: application/x\r\n", 415),
            ("INFO", "Signal=5\r\nDuration=160\r\n", "Content-Type: application/dtmf-relay\r\n", 200),
            ("UPDATE", "", "", 200),
            ("UPDATE", described(version=22), "", 200),
            ("UPDATE", described(version=23, formats="18"), "", 488),
            ("PRACK", "", "RAck: 1 1 INVITE\r\n", 481),
            ("NOTIFY", "", "", 489),
            ("NOTIFY", "", "Event: refer\r\nSubscription-State: active\r\n", 481),
            ("REFER", "", "", 400),
            ("REFER", "", "Refer-To: <sip:a@b>\r\nRefer-To: <sip:c@d>\r\n", 400),
            ("REFER", "", "Refer-To: <sip:stranger@192.0.2.9>\r\n", 603),
            ("SUBSCRIBE", "", "Event: x\r\n", 405),
            ("MESSAGE", "hi", "Content-Type: text/plain\r\n", 405),
            ("X-UNKNOWN", "", "", 501),
            ("OPTIONS", "", "", 200),
        ]:
            assert status_of(caller.ask(method, body, headers=headers)) == status, (method, headers, body)
        caller.send(caller.write("INFO", cseq=1))
        assert status_of(caller.final("INFO", 1)) == 500, "a CSeq that was used before"
        caller.cseq += 1000
        caller.hang_up()
        assert status_of(caller.ask("BYE")) == 200, "a BYE once more"
        assert status_of(caller.ask("INFO")) == 481


def test_overlapping_reinvites_and_a_bye_that_crosses_them__rfc3261_14_2(gateway: ReachableGateway) -> None:
    with RawCaller(gateway.process.sip_address, ECHO) as caller:
        caller.ask("INVITE", described())
        for version in (2, 3):
            caller.send(caller.write("INVITE", described(version=version)))
        caller.send(caller.write("BYE"))
        assert status_of(caller.final("BYE")) == 200
    assert gateway.process.wait_for_record(caller.sip_call_id)["end"]["by"] == "caller"


@pytest.mark.parametrize("answer", ["", "garbage", described(port=0)], ids=["none", "garbage", "refused"])
def test_our_offer_that_is_not_answered_ends_the_call__rfc3261_13_2_2_4(gateway: ReachableGateway, answer: str) -> None:
    with RawCaller(gateway.process.sip_address, ECHO) as caller:
        caller.send(caller.write("INVITE"))
        caller.acknowledge(caller.final("INVITE"), answer)
        bye = caller.receive(lambda message: message.startswith("BYE "))
        kept = [field for field in bye.split("\r\n") if re.match("Via|From|To|Call-ID|CSeq", field)]
        caller.send("\r\n".join(["SIP/2.0 200 OK", *kept, "Content-Length: 0", "", ""]))


def test_cancel_races__rfc3261_9_2(gateway: ReachableGateway) -> None:
    with RawCaller(gateway.process.sip_address, STALLED) as caller:
        invite = caller.write("INVITE", described())
        cancel = caller.write("CANCEL", branch=caller.branch)
        caller.send(cancel)
        assert status_of(caller.final("CANCEL")) == 481, "it outran its INVITE"
        caller.send(invite)
        caller.receive(lambda message: status_of(message) == 180)
        caller.send(cancel.replace("Max-Forwards: 70", "Max-Forwards: 70\r\nRequire: x"))
        assert status_of(caller.final("CANCEL")) == 200, "Require counts for nothing in a CANCEL"
        response = caller.final("INVITE")
        assert status_of(response) == 487
        caller.acknowledge(response)
        caller.send(cancel)
        assert status_of(caller.final("CANCEL")) == 200, "a copy gets the same answer"


def test_a_reliable_180_and_what_may_happen_to_it__rfc3262_3(gateway: ReachableGateway) -> None:
    with RawCaller(gateway.process.sip_address, STALLED) as caller:
        invite = caller.write("INVITE", described(), headers="Require: 100rel\r\nSupported: 100rel\r\n")
        branch, cseq = caller.branch, caller.cseq
        cancel = caller.write("CANCEL", branch=branch)
        caller.send(invite)
        ringing = caller.receive(lambda message: status_of(message) == 180)
        rseq = re.search(r"^RSeq: (\d+)\r$", ringing, re.MULTILINE)
        assert rseq is not None
        assert "\r\nRequire: 100rel\r\n" in ringing
        acknowledged = f"RAck: {rseq[1]} {cseq} INVITE\r\n"
        tagged = re.search(r"^To: ([^\r]*)", ringing, re.MULTILINE)
        assert tagged is not None
        for rack, body, status in [
            ("RAck: 1 1 INVITE\r\n", "", 481),
            ("", "", 481),
            (acknowledged, described(version=2), 488),  # the first offer has no answer yet
            (acknowledged, "", 481),  # it was acknowledged all the same
        ]:
            caller.send(line("To", tagged[1])(caller.write("PRACK", body, headers=rack)))
            assert status_of(caller.final("PRACK")) == status
        caller.send(line("To", tagged[1])(caller.write("UPDATE", described(version=3))))
        early = caller.final("UPDATE")
        assert (status_of(early), "\r\nRetry-After: " in early) == (500, True)
        caller.send(cancel)
        refused = caller.final("INVITE", cseq)
        assert status_of(refused) == 487
        caller.send(caller.write("ACK", cseq=cseq, branch=branch))


def test_one_invite_over_two_ways_makes_one_call__rfc3261_8_2_2_2(gateway: ReachableGateway) -> None:
    with RawCaller(gateway.process.sip_address, ECHO) as caller:
        invite = caller.write("INVITE", described())
        caller.send(invite)
        ok = caller.final("INVITE")
        caller.send(invite.replace(caller.branch, f"{caller.branch}x"))
        assert status_of(caller.receive(lambda message: status_of(message) == 482)) == 482
        caller.acknowledge(ok)
        caller.send(invite.replace("m=audio 40000", "m=audio 49999"))
        assert caller.is_quiet(), "a copy after the ACK is absorbed (RFC 6026)"
        caller.hang_up()
