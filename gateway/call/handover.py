"""Another far end for a call that goes on: by a REFER that we follow, or by an INVITE that replaces a dialog.

The conversation, its model session, its recording and its record stay; only the side changes. The new side is a
candidate until it is there: a REFER's until somebody answers, an INVITE's until its ACK. Until then nothing of the call
is touched, so whatever goes wrong leaves it as it was (RFC 3891 §3: the UA "MUST leave the matched dialog unchanged").
"""

from dataclasses import replace
from typing import Final, Protocol

from gateway.call.account import Account
from gateway.call.candidate import Candidate
from gateway.call.environment import Perform
from gateway.call.record import TransferKind, TransferRecord
from gateway.call.side import CallerSide, Side
from gateway.call.timer import Timers
from gateway.config.trunk import TrunkSettings
from gateway.dialler import DialError, Dialler, DialOrder
from gateway.leg import AudioLeg
from gateway.log import ContextLogger
from sip.errors import SipError, SipParseError
from sip.event import (
    Acknowledged,
    Answered,
    ByeReceived,
    Cancelled,
    Ended,
    Failed,
    NotAcknowledged,
    Provisional,
    ReferReceived,
    ReinviteReceived,
    SessionEvent,
)
from sip.header import NameAddr
from sip.message import Request, Response
from sip.replaces import FIELD as REPLACES_FIELD
from sip.replaces import Replaces
from sip.session.session import InviteSession
from sip.session.uac import ClientSession
from sip.uri import Uri

# RFC 3261 §8.1.3.4 leaves it open how often a 3xx is followed; whoever redirects us in a circle gets no further.
REDIRECTIONS_LIMIT: Final = 5
# Handovers in one call, with those that were declined: a far end that tries on and on keeps somebody's telephone
# ringing.
HANDOVERS_LIMIT: Final = 20
# A Referred-By that is longer names nobody; it goes into a request of ours.
REFERRED_BY_LIMIT: Final = 512
DECLINED: Final = 603
PENDING: Final = 491


class HandoverHost(Protocol):
    """The call, as far as a handover knows it."""

    @property
    def side(self) -> Side:
        """The present far end."""

    @property
    def may_change_side(self) -> bool:
        """Whether the call is in conversation, and nobody hands the caller over otherwise."""

    def join(self, session: InviteSession) -> None:
        """Events of this session are the call's from now on."""

    def take_over(self, side: Side, party: str) -> None:
        """Goes on with another side, and hangs up on the present one."""

    def on_referrer_lost(self, detail: str) -> None:
        """Nobody is left: whoever asked for a handover has hung up, and the handover has failed."""


class Handovers:
    """The handovers of one call, one after another.

    Args:
        host: the call; `let_go` forgets it.
        trunk: the call's: its lists say whom we call, and calls are placed on it.
        dialler: places them.
        perform: runs a method of a session at the endpoint's `now`.
        account: counts the call's time.
        timers: the call's.
        logger: the call's.
    """

    def __init__(
        self,
        host: HandoverHost,
        trunk: TrunkSettings,
        dialler: Dialler,
        perform: Perform,
        account: Account,
        timers: Timers,
        logger: ContextLogger,
    ) -> None:
        self._host = host
        self._trunk = trunk
        self._dialler = dialler
        self._perform = perform
        self._account = account
        self._timers = timers
        self._logger = logger
        self._candidates: list[Candidate] = []
        self._current: Candidate | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether somebody is about to take the present side's place."""
        return self._current is not None

    def records(self) -> tuple[TransferRecord, ...]:
        """What became of each; one that the call's end overtook has no status."""
        return tuple(candidate.record() for candidate in self._candidates)

    def outlives(self, side: Side) -> bool:
        """Told that the present side has left; whether the call waits for the one that is to come.

        A transferor may hang up once its REFER is accepted (RFC 5589 §6.1). It hears no NOTIFY then.
        """
        candidate = self._current
        if candidate is None:
            return False
        candidate.is_referrer_gone = True
        side.close()
        return True

    def close(self) -> None:
        """The call is over: the candidate is hung up on."""
        if (candidate := self._current) is not None:
            self._current = None
            candidate.dismiss()

    def let_go(self) -> None:
        """Forgets the call, so that neither waits for the garbage collector."""
        self.close()
        del self._host

    # An INVITE with Replaces (RFC 3891).

    def replace(self, session: InviteSession, side: CallerSide, request: Request) -> bool:
        """Lets a new call take the place of a session of ours: of the present side, or of one that we are calling.

        False where that cannot be at this moment; otherwise it is answered.
        """
        party = str(request.from_.uri)
        calling = self._current
        if calling is not None and calling.side is not None and calling.side.session is session:
            calling.dismiss()  # what we were calling has been picked up elsewhere; the referrer is told the outcome
            calling.side = side
        elif not self._may_begin or session is not self._host.side.session:
            return False
        else:
            self._begin(Candidate(TransferKind.REPLACED, party, self._account.at_ms, side))
        self._logger.info("call is replaced", extra={"event": "replaces", "caller": party})
        self._host.join(side.session)
        side.answer()
        return True

    # A REFER that we follow (RFC 3515).

    def refer(self, event: ReferReceived) -> None:
        """Follows a REFER of the present side where the trunk's list holds what it names, and declines it otherwise."""
        wish = event.refer_to.uri
        target = self._trunk.refer.resolve(wish, self._trunk.outbound)
        if target is None:
            listed = self._trunk.refer.allow
            self._decline(DECLINED, wish, "not listed" if listed else "far ends do not transfer calls")
        elif len(self._candidates) >= HANDOVERS_LIMIT:
            self._decline(DECLINED, wish, "too many handovers were tried in this call")
        elif not self._may_begin:
            self._decline(PENDING, wish, "the call is being transferred already")
        elif (headers := _headers_for(event)) is None:
            self._decline(400, wish, "the Replaces in it cannot be read")
        else:
            self._follow(target, headers)

    def _follow(self, target: Uri, headers: tuple[tuple[str, str], ...]) -> None:
        side = self._host.side
        dialog = side.session.dialog
        if dialog is None:
            return  # never: a REFER comes in a dialog
        candidate = Candidate(TransferKind.FOLLOWED, str(target), self._account.at_ms, referrer=side)
        candidate.order = DialOrder(self._trunk, target, _untagged(dialog.local), headers)
        self._begin(candidate)
        self._logger.info("REFER followed", extra={"event": "refer_followed", "destination": candidate.destination})
        side.accept_refer()
        self._timers.arm("handover", self._trunk.refer.timeout_seconds, self._expire)
        self._dial(candidate, candidate.order)

    def _dial(self, candidate: Candidate, order: DialOrder, leg: AudioLeg | None = None) -> None:
        def joined(session: ClientSession, leg: AudioLeg) -> None:
            candidate.side = Side(session, leg, self._perform, self._logger)
            self._host.join(session)

        candidate.order = order
        try:
            self._dialler.place(order, joined, leg)
        except DialError as error:
            self._logger.warning(
                "not dialled",
                extra={
                    "event": "not_dialled",
                    "rule": None if error.rule is None else error.rule.label,
                    "detail": str(error),
                    "destination": str(order.destination),
                },
            )
            self._fail(candidate, error.status, str(error))

    def _decline(self, status: int, wish: Uri, rule: str) -> None:
        self._logger.warning("REFER refused", extra={"event": "refer_refused", "rule": rule, "dialled": str(wish)})
        if len(self._candidates) < HANDOVERS_LIMIT:
            refused = Candidate(TransferKind.FOLLOWED, str(wish), self._account.at_ms, is_accepted=False)
            refused.status, refused.reason = status, rule
            self._candidates.append(refused)
        self._host.side.refuse_refer(status)

    # What becomes of the candidate.

    def on_event(self, event: SessionEvent) -> None:
        """Takes an event of a session that is not the present side's."""
        candidate = self._current
        if candidate is None or candidate.side is None or event.session is not candidate.side.session:
            return  # of a side that the call has left, or of a candidate that came to nothing
        match event:
            case Provisional(status=status):
                candidate.tell(status)
            case Answered(body=body) | Acknowledged(body=body):
                if candidate.side.leg.complete(body):
                    self._succeed(candidate)
                else:
                    self._fail(candidate, 488, "Not Acceptable Here")
            case Failed(status=status, reason=reason, response=response):
                if not self._redirect(candidate, response):
                    self._fail(candidate, status, reason)
            case ReinviteReceived(offer=offer):
                candidate.side.answer_reinvite(offer)
            case ReferReceived():
                candidate.side.refuse_refer(DECLINED)
            case NotAcknowledged() | Cancelled() | ByeReceived() | Ended():
                self._fail(candidate, 487, "Request Terminated")
            case _:
                pass  # what only informs

    def _redirect(self, candidate: Candidate, response: Response | None) -> bool:
        """Follows a 3xx to the first contact that the trunk's list holds (RFC 3261 §8.1.3.4)."""
        order = candidate.order
        if order is None or candidate.side is None or response is None or not 300 <= response.status < 400:
            return False
        if candidate.redirections >= REDIRECTIONS_LIMIT:
            return False
        try:
            contacts = [contact.uri for contact in response.contacts]
        except SipError:
            return False
        for uri in contacts:
            target = self._trunk.refer.resolve(uri, self._trunk.outbound)
            if target is not None:
                candidate.redirections += 1
                leg, candidate.side = candidate.side.leg, None
                self._logger.info("redirected", extra={"event": "redirected", "destination": str(target)})
                self._dial(candidate, replace(order, destination=target), leg)
                return True
        self._logger.warning(
            "redirection refused",
            extra={"event": "redirection_refused", "rule": "not listed", "dialled": [str(uri) for uri in contacts]},
        )
        return False

    def _expire(self) -> None:
        if self._current is not None:
            self._fail(self._current, 408, "Request Timeout")

    def _begin(self, candidate: Candidate) -> None:
        self._candidates.append(candidate)
        self._current = candidate

    @property
    def _may_begin(self) -> bool:
        return self._current is None and self._host.may_change_side and len(self._candidates) < HANDOVERS_LIMIT

    def _succeed(self, candidate: Candidate) -> None:
        self._settle(candidate, 200, "OK")
        if candidate.side is not None:
            self._host.take_over(candidate.side, candidate.destination)

    def _fail(self, candidate: Candidate, status: int, reason: str) -> None:
        self._settle(candidate, status, reason)
        candidate.dismiss()
        if candidate.is_referrer_gone:
            self._host.on_referrer_lost(f"the far end left during a handover that failed: {status} {reason}")

    def _settle(self, candidate: Candidate, status: int, reason: str) -> None:
        self._current = None
        self._timers.cancel("handover")
        candidate.status, candidate.reason = status, reason
        self._logger.info(
            "handover ended",
            extra={
                "event": "handover_ended",
                "kind": candidate.kind.value,
                "destination": candidate.destination,
                "status": status,
                "reason": reason,
            },
        )
        candidate.tell(status)


def _untagged(address: NameAddr) -> NameAddr:
    return replace(address, params=address.params.without("tag"))


def _headers_for(event: ReferReceived) -> tuple[tuple[str, str], ...] | None:
    """What a REFER wants in the INVITE: Referred-By (RFC 3892 §2.2), and Replaces (RFC 3515 §2.1); nothing else.

    None where it names a dialog that cannot be read.
    """
    headers = []
    if event.referred_by is not None and len(event.referred_by) <= REFERRED_BY_LIMIT:
        headers.append(("Referred-By", event.referred_by))
    replaces = event.refer_to.uri.header(REPLACES_FIELD)
    if replaces is not None:
        try:
            headers.append((REPLACES_FIELD, str(Replaces.parse(replaces))))
        except SipParseError:
            return None
    return tuple(headers)
