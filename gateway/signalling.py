"""What the gateway is as a SIP user agent: its methods and extensions, its timers, and its listeners."""

import secrets
from typing import Final

from gateway.config.model import GatewayConfiguration
from gateway.config.network import ListenerSettings
from sip.configuration import AgentConfiguration
from sip.transaction.timer import TimerValues
from sip.transport.endpoint import Listener
from sip.transport.flow import Address
from sip.transport.stream import TcpListener
from sip.transport.tls import TlsListener
from sip.transport.udp import UdpListener

PRODUCT: Final = "Trunkline"
# Tags, branches and Call-IDs: 128 bits from the operating system, so that nobody guesses a dialog.
TOKEN_BYTES: Final = 16
# Why these: docs/decisions/sip-extensions.md. None is required of anybody, so a carrier that lacks one meets none.
METHODS: Final = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "INFO", "PRACK", "UPDATE", "REFER", "NOTIFY")
EXTENSIONS: Final = ("timer", "100rel", "replaces", "norefersub")


def create_token() -> str:
    """A tag, a branch or a Call-ID."""
    return secrets.token_hex(TOKEN_BYTES)


def create_agent_configuration(configuration: GatewayConfiguration, public_host: str) -> AgentConfiguration:
    """What the user agent says of itself and how long it waits; `public_host` stands in for listeners without one."""
    timers = configuration.network.sip_timers
    return AgentConfiguration(
        advertised={transport: Address(public_host, 0) for transport in ("udp", "tcp", "tls")},
        product=PRODUCT,
        allow=METHODS,
        supported=EXTENSIONS,
        # Twice the calls: those that are refused at the limit live a moment too.
        max_sessions=2 * configuration.limits.calls,
        timers=TimerValues(t1=timers.t1_ms / 1000, t2=timers.t2_ms / 1000, t4=timers.t4_ms / 1000),
        next_server_after=timers.next_server_ms / 1000,
    )


def create_listener(settings: ListenerSettings, advertised: str = "") -> Listener:
    """What the endpoint is to bind, and the host that its peers are told."""
    host = str(settings.bind)
    if settings.transport == "tls" and settings.certificate is not None and settings.key is not None:
        return TlsListener(
            host,
            settings.port,
            certificate=settings.certificate,
            key=settings.key,
            client_ca=settings.client_ca,
            client_required=settings.require_client_certificate,
            advertised=advertised,
        )
    kind = TcpListener if settings.transport == "tcp" else UdpListener
    return kind(host, settings.port, advertised)
