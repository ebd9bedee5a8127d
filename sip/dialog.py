"""Dialogs: RFC 3261 §12."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from sip.errors import SipError
from sip.header import NameAddr
from sip.message import Request, Response
from sip.transport.flow import Target, is_ip_literal
from sip.uri import Uri

MAX_FORWARDS: Final = "70"  # RFC 3261 §8.1.1.6; Twilio fails calls that arrive with less than 20


class DialogId(NamedTuple):
    """What identifies a dialog on our side."""

    call_id: str
    local_tag: str
    remote_tag: str


class UnroutableUriError(SipError):
    """A URI that no SIP request can be sent to, such as tel:."""

    status = 416
    label = "unroutable_uri"


class Dialog:
    """The state that two user agents share about a call: tags, sequence numbers, remote target, route set.

    `route_set` holds header values verbatim, in the order in which requests list them. The remote target is the
    peer's Contact verbatim, private addresses included: behind Twilio's edge that is by design.
    """

    __slots__ = ("id", "is_secure", "local", "local_cseq", "remote", "remote_cseq", "remote_target", "route_set")

    def __init__(
        self,
        *,
        call_id: str,
        local: NameAddr,
        remote: NameAddr,
        remote_target: Uri,
        route_set: tuple[str, ...],
        local_cseq: int,
        remote_cseq: int | None,
        is_secure: bool,
    ) -> None:
        self.id: Final = DialogId(call_id, local.tag or "", remote.tag or "")
        self.local: Final = local
        self.remote: Final = remote
        self.remote_target = remote_target
        self.route_set = route_set
        self.local_cseq = local_cseq
        self.remote_cseq = remote_cseq
        self.is_secure: Final = is_secure

    @classmethod
    def as_uas(cls, request: Request, local_tag: str, *, over_tls: bool) -> "Dialog":
        """The dialog that a response with our tag to this request makes (RFC 3261 §12.1.1)."""
        return cls(
            call_id=request.call_id,
            local=request.to.with_tag(local_tag),
            remote=request.from_,
            remote_target=request.contacts[0].uri,
            route_set=tuple(request.headers.values("Record-Route")),
            local_cseq=0,
            remote_cseq=request.cseq.number,
            is_secure=over_tls and request.uri.scheme == "sips",
        )

    @classmethod
    def as_uac(cls, request: Request, response: Response) -> "Dialog":
        """The dialog that this response to our request makes (RFC 3261 §12.1.2).

        A 1xx without Contact leaves the request's own URI as the target until a later response brings one.
        """
        contacts = response.contacts
        return cls(
            call_id=request.call_id,
            local=request.from_,
            remote=response.to,
            remote_target=contacts[0].uri if contacts else request.uri,
            route_set=tuple(reversed(response.headers.values("Record-Route"))),
            local_cseq=request.cseq.number,
            remote_cseq=None,
            is_secure=request.uri.scheme == "sips",
        )

    def confirm(self, response: Response) -> None:
        """The 2xx sets the target, and the route set "MUST be recomputed" (RFC 3261 §13.2.2.4)."""
        self.refresh_target(response)
        self.route_set = tuple(reversed(response.headers.values("Record-Route")))

    def refresh_target(self, message: Request | Response) -> None:
        """A target refresh: the Contact of a re-INVITE, an UPDATE or their 2xx (RFC 3261 §12.2)."""
        contacts = message.contacts
        if contacts and contacts[0].uri.is_sip:
            self.remote_target = contacts[0].uri

    def is_in_order(self, request: Request) -> bool:
        """Whether the CSeq is higher than all before (RFC 3261 §12.2.2); the number is taken over if so."""
        number = request.cseq.number
        if self.remote_cseq is not None and number <= self.remote_cseq:
            return False
        self.remote_cseq = number
        return True

    def next_hop(self) -> Uri:
        """Where requests go first: the first route, loose or strict, or the remote target without a route set."""
        return NameAddr.parse(self.route_set[0]).uri if self.route_set else self.remote_target

    def create_request(
        self,
        method: str,
        *,
        via: str,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        cseq: int | None = None,
    ) -> Request:
        """A request of this dialog (RFC 3261 §12.2.1.1). `cseq` is given for ACK only, which repeats the INVITE's."""
        if cseq is None:
            self.local_cseq += 1
            cseq = self.local_cseq
        uri, routes = self._routing()
        request = Request(method, uri, body=body)
        fields = request.headers
        fields.add("Via", via)
        for route in routes:
            fields.add("Route", route)
        fields.add("Max-Forwards", MAX_FORWARDS)
        fields.add("From", str(self.local))
        fields.add("To", str(self.remote))
        fields.add("Call-ID", self.id.call_id)
        fields.add("CSeq", f"{cseq} {method}")
        for name, value in headers:
            fields.add(name, value)
        return request

    def _routing(self) -> tuple[Uri, tuple[str, ...]]:
        if not self.route_set:
            return self.remote_target, ()
        first = NameAddr.parse(self.route_set[0]).uri
        if first.lr:
            return self.remote_target, self.route_set
        # A strict router: it takes the Request-URI, and the remote target moves to the end of the route.
        stripped = Uri(first.scheme, first.user, first.password, first.host, first.port, first.params.without("method"))
        return stripped, (*self.route_set[1:], f"<{self.remote_target}>")


def leaves_transport_open(uri: Uri) -> bool:
    """Whether the domain of a URI is to say over which transport it wants requests (RFC 3263 §4.1).

    A sips: URI leaves none but TLS; names of one label are the hosts file's, which knows no transports.
    """
    is_open = uri.scheme == "sip" and uri.transport is None and uri.port is None
    return is_open and "." in uri.host.rstrip(".") and not is_ip_literal(uri.host)


def target_of(uri: Uri) -> Target:
    """Where a request for this URI goes, still to be resolved (RFC 3263). `maddr` is not honoured: it is the wire's."""
    if not uri.is_sip:
        raise UnroutableUriError(f"{uri} is not a URI that a SIP request can be sent to")
    sips = uri.scheme == "sips"
    transport = "tls" if sips else uri.transport or "udp"
    return Target(transport, uri.host.strip("[]"), uri.port, sips)
