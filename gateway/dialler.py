"""Places the calls of the gateway: on a trunk, with its credentials, within the caps, and never to anybody else."""

from collections.abc import Callable
from dataclasses import dataclass

from gateway.access import trunk_authenticator
from gateway.config.trunk import TrunkSettings
from gateway.dialling import DialCaps, DialRule
from gateway.errors import GatewayError
from gateway.leg import AudioLeg, MediaPlane
from gateway.media_policy import MediaPolicy
from rtp.errors import PortsExhaustedError
from sip.agent import UserAgent
from sip.errors import SipError
from sip.header import NameAddr
from sip.session.uac import ClientSession
from sip.uri import Uri


class DialError(GatewayError):
    """A call could not be placed. `status` is what a far end is told that asked for it."""

    label = "not_dialled"

    def __init__(self, status: int, reason: str, rule: DialRule | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.rule = rule


@dataclass(frozen=True, slots=True)
class DialOrder:
    """A call to be placed.

    Args:
        trunk: on which it goes out, and who pays for it.
        destination: where a list of the operator's says that it may go.
        from_: who calls, without a tag.
        headers: further header fields of the INVITE.
    """

    trunk: TrunkSettings
    destination: Uri
    from_: NameAddr
    headers: tuple[tuple[str, str], ...] = ()


class Dialler:
    """The one way in which the gateway calls somebody.

    Args:
        agent: the endpoint's.
        perform: calls a function with `now` and sends what comes of it.
        plane: the media that legs are made of.
        caps: count what is dialled, REFERs of ours included.
    """

    def __init__(self, agent: UserAgent, perform: Callable[..., object], plane: MediaPlane, caps: DialCaps) -> None:
        self.caps = caps
        self._agent = agent
        self._perform = perform
        self._plane = plane

    def place(
        self, order: DialOrder, joined: Callable[[ClientSession, AudioLeg], None], leg: AudioLeg | None = None
    ) -> None:
        """Places a call.

        Args:
            order: whom, and on which trunk.
            joined: takes the session, before anything can come of it, and its leg, with our offer made.
            leg: of a call that was redirected; it is closed where no call comes of it. A new one when absent.

        Raises:
            DialError: a cap is reached, no port is free, or the destination cannot be sent to.
        """
        rule = self.caps.take(order.destination)
        if rule is not None:
            if leg is not None:
                leg.close()
            raise DialError(503, rule.words, rule)
        try:
            used = leg or AudioLeg(self._plane, MediaPolicy.of(order.trunk))
        except PortsExhaustedError as error:
            raise DialError(503, str(error)) from error

        def invite(now: float) -> None:
            session = self._agent.invite(
                target=order.destination,
                from_=order.from_,
                offer=used.offer(),
                headers=order.headers,
                route=order.trunk.outbound.route,
                authenticator=trunk_authenticator(order.trunk, self._agent.token),
                now=now,
            )
            joined(session, used)

        try:
            self._perform(invite)
        except SipError as error:
            used.close()
            raise DialError(error.status, str(error)) from error
