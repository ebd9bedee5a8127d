"""Why an offer was refused stands in a Warning header field (RFC 3261 §20.43)."""

from gateway.warning import warnings_of
from sip.errors import SipError
from sip.event import IncomingInvite
from sip.sdp.errors import NoCommonCodec
from tests.helpers.sip import Network, request


def test_a_refused_offer_says_why_and_who_says_so__rfc3261_20_43() -> None:
    network = Network()
    bob, alice = network.agent("192.0.2.2"), network.wire("192.0.2.1")
    alice.send(request(), bob)
    network.run(0.1)
    session = bob.only(IncomingInvite).session
    error = NoCommonCodec('Formats "18" are none of ours')
    assert warnings_of(session, error) == (("Warning", "305 192.0.2.2:5060 \"Formats '18' are none of ours\""),)
    assert warnings_of(session, SipError("no description")) == ()
