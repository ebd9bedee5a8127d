"""Why a session description was refused, as a Warning header field (RFC 3261 §20.43, §21.4.26)."""

from sip.errors import SipError
from sip.header import NameAddr
from sip.sdp.errors import SdpError
from sip.session.session import InviteSession


def warnings_of(session: InviteSession, error: SipError) -> tuple[tuple[str, str], ...]:
    """Header fields for the refusal: "SHOULD include a Warning header field ... explaining why the offer was rejected".

    The warn-agent is our address as the peer knows it from Contact.
    """
    if not isinstance(error, SdpError):
        return ()
    uri = NameAddr.parse(session.contact()).uri
    agent = uri.host if uri.port is None else f"{uri.host}:{uri.port}"
    return (("Warning", f'{error.warning_code} {agent} "{error.warning_text}"'),)
