"""The network section: where SIP and RTP are received, and which address the far end is told."""

from ipaddress import IPv4Address
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from gateway.config.value import Address, InputPath, Port, Settings

PORTS_A_CALL = 2  # an even RTP port and the odd RTCP port above it (RFC 3550 §11)
TLS_PORT = 5061  # RFC 3261 §19.1.2


class ListenerSettings(Settings):
    """One socket on which SIP is received. Several may stand beside each other, of any transport and IP version."""

    transport: Literal["udp", "tcp", "tls"] = "udp"
    """Transport of this listener."""
    bind: Address = IPv4Address("0.0.0.0")  # noqa: S104 a gateway is there to be reached; trunks decide who is heard
    """Address to bind; 0.0.0.0 and :: mean every interface."""
    port: Annotated[int, Field(ge=0, le=65535)] = 5060
    """Port to bind. With TLS the default is 5061; 0 takes any free port (for tests)."""
    public_address: Address | None = None
    """Address that the peers of this listener are told in Contact, Via and SDP, where it is another than that of
    `network`: a machine with a public and an inner side has a listener on each."""
    certificate: InputPath | None = None
    """Our certificate with its chain, in PEM, for TLS. Twilio offers cipher suites for RSA certificates only. A renewed
    file is taken up within half a minute, without a restart."""
    key: InputPath | None = None
    """The private key of the certificate, in PEM and without a passphrase."""
    client_ca: InputPath | None = None
    """Authorities for client certificates, in PEM. When given, TLS clients are asked for a certificate."""
    require_client_certificate: bool = False
    """Refuse TLS clients that show no certificate of `client_ca`."""

    @model_validator(mode="before")
    @classmethod
    def _know_the_port_of_tls(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("transport") == "tls" and data.get("port") is None:
            return {**data, "port": TLS_PORT}
        return data


class SipTimerSettings(Settings):
    """Base values of SIP's timers (RFC 3261 §17.1.1.1). Change them for tests and for satellite links only."""

    t1_ms: Annotated[int, Field(ge=10, le=10000)] = 500
    """T1, the estimated round-trip time. A call that gets no ACK is ended after 64 times T1."""
    t2_ms: Annotated[int, Field(ge=10, le=60000)] = 4000
    """T2, the longest interval between retransmissions."""
    t4_ms: Annotated[int, Field(ge=10, le=60000)] = 5000
    """T4, how long a message can stay in the network."""
    next_server_ms: Annotated[int, Field(ge=100, le=60000)] = 4000
    """How long a server of a name may send nothing at all before the next one is tried, for requests that the gateway
    places. Carriers themselves go on after 3 to 4 seconds."""


class RtpSettings(Settings):
    """Where media is received."""

    bind: Address = IPv4Address("0.0.0.0")  # noqa: S104 media comes from the carrier's media servers, wherever they are
    """Address on which media sockets are bound."""
    first_port: Port = 20000
    """Lowest RTP port. Ports are used in pairs, the even one for RTP."""
    last_port: Port = 29999
    """Highest port of the range. Keep the range outside the kernel's ephemeral ports (usually 32768–60999)."""

    @property
    def calls(self) -> int:
        """How many calls the range can carry at once."""
        first_even = self.first_port + self.first_port % PORTS_A_CALL
        return max(0, (self.last_port - first_even + 1) // PORTS_A_CALL)


class NetworkSettings(Settings):
    """Where the gateway listens, and the address that it gives to others."""

    sip: Annotated[tuple[ListenerSettings, ...], Field(min_length=1)] = (ListenerSettings(),)
    """Listeners for SIP."""
    public_address: Address | None = None
    """Address advertised in Contact, Via and SDP: what the carrier can reach. Needed where the machine stands behind
    1:1 NAT (most clouds); when absent it is detected from the machine's interfaces."""
    tls_ca: InputPath | None = None
    """Authorities that may certify the servers to which we connect over TLS, in PEM; when absent the system's."""
    sip_timers: SipTimerSettings = SipTimerSettings()
    """Base values of SIP's timers."""
    rtp: RtpSettings = RtpSettings()
    """Sockets and port range for media."""
