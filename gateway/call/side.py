"""One side of a call: an INVITE session and the media leg that was agreed in it."""

from collections.abc import Callable

from gateway.bridge import Bridge
from gateway.call.environment import Perform
from gateway.call.record import MediaRecord
from gateway.leg import AudioLeg
from gateway.log import ContextLogger
from gateway.realtime.settings import SessionSettings
from gateway.warning import warnings_of
from sip.errors import SipError
from sip.session.session import InviteSession
from sip.session.state import SessionState
from sip.session.uas import ServerSession


class Side:
    """A far end in conversation with the agent.

    Args:
        session: its INVITE session.
        leg: its media; owned, and closed with the side.
        perform: runs a method of the session at the endpoint's `now`.
        logger: the call's.
    """

    def __init__(self, session: InviteSession, leg: AudioLeg, perform: Perform, logger: ContextLogger) -> None:
        self.session = session
        self.leg = leg
        self._media: MediaRecord | None = None
        self._perform = perform
        self._logger = logger

    @property
    def is_speaking(self) -> bool:
        """Whether speech of the agent waits to be sent."""
        return self.leg.queued_ms > 0

    def start(self, bridge: Bridge, settings: SessionSettings, on_lost: Callable[[], None]) -> None:
        """The far end is heard from now on; it hears nothing before the leg's `resume`.

        Args:
            bridge: takes the audio and what the stream tells.
            settings: the formats that the model session takes and gives.
            on_lost: is called where the far end's media stays away.
        """
        self.leg.start(
            bridge,
            input_format=settings.input_format,
            output_format=settings.output_format,
            on_flushed=bridge.on_playout_flushed,
            on_load=bridge.on_load,
            on_lost=on_lost,
        )

    def answer_reinvite(self, offer: bytes | None) -> bool:
        """Answers a re-INVITE; False where it was refused. Then the call goes on as it was (RFC 3261 §14.2)."""
        try:
            body = self.leg.answer(offer)
        except SipError as error:
            self._logger.info("re-INVITE refused", extra={"reason": error.label, "status": error.status})
            headers = warnings_of(self.session, error)
            self._perform(self.session.reject_reinvite, error.status, headers=headers)
            return False
        self._perform(self.session.answer_reinvite, body)
        return True

    def take_back(self) -> None:
        """Offers to talk again, where the far end has put us on hold; it answers as it likes (RFC 3264 §8.4)."""
        if self.leg.is_held and self.session.state is SessionState.CONFIRMED:
            self._perform(self.session.reinvite, self.leg.offer())

    def refuse_refer(self, status: int) -> None:
        """Declines the far end's wish to send us elsewhere."""
        self._perform(self.session.reject_refer, status)

    def accept_refer(self) -> None:
        """Takes the far end's wish to send us elsewhere: 202."""
        self._perform(self.session.accept_refer)

    def notify_refer(self, status: int) -> None:
        """Tells the far end how that goes."""
        self._perform(self.session.notify_refer, status)

    def hang_up(self) -> None:
        """Ends the session with what its state has for that; nothing where it has ended."""
        if not self.session.is_ended:
            self._perform(self.session.hang_up)

    def close(self) -> MediaRecord:
        """Frees the media; says what was received and sent. Idempotent."""
        if self._media is None:
            self._media = self.leg.statistics()
            self.leg.close()
        return self._media


class CallerSide(Side):
    """The side that called us: it rings, and is answered or refused.

    Args:
        session: not yet answered.
        leg: has already agreed to the caller's offer.
        answer: the session description that goes into the 200.
        perform: runs a method of the session at the endpoint's `now`.
        logger: the call's.
    """

    session: ServerSession

    def __init__(
        self, session: ServerSession, leg: AudioLeg, answer: bytes, perform: Perform, logger: ContextLogger
    ) -> None:
        super().__init__(session, leg, perform, logger)
        self._answer = answer

    def ring(self) -> None:
        """180."""
        self._perform(self.session.ring)

    def answer(self) -> None:
        """200 with what was agreed."""
        self._perform(self.session.answer, self._answer)

    def reject(self, status: int, headers: tuple[tuple[str, str], ...] = ()) -> None:
        """A final response that is no 2xx."""
        self._perform(self.session.reject, status, headers=headers)
