"""Decides what of a carrier's signalling is looked at, and which new calls are taken on.

Two questions are asked of what the allow-list let through. `sift`, before anything is parsed: is the source within its
budget of datagrams, or is this of a call that lives? So in-dialog requests, ACK and BYE come first whatever else pours
in. `screen`, for each new INVITE: does a rate, a cap or the state of the event loop speak against one more call? That
is answered statelessly, with 503 and Retry-After.

A source that has acknowledged a call is *proven*: its address is not forged, since our To tag reached it. Proven
sources have budgets and caps of their own; all others share theirs. So two hundred forged addresses of a trunk compete
with each other, and not with the carrier.
"""

import re
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, unique
from typing import Final

from gateway.admission import Admission
from gateway.config.model import LimitsSettings
from gateway.config.overload import RateSettings, StrangerPolicy
from gateway.config.trunk import TrunkSettings
from gateway.overload.bucket import BucketTable, TokenBucket
from gateway.overload.journal import RefusalJournal
from gateway.overload.load import LoadLevel, LoopLoad
from gateway.refusal import RefusalRule
from sip.event import Acknowledged, AgentEvent, Ended, IncomingInvite
from sip.message import Request
from sip.reception import Refusal
from sip.session.session import InviteSession
from sip.transport.flow import Address, Flow

# Sources that are remembered, about 1 kB each. Proven ones are never driven out by others.
PROVEN_LIMIT: Final = 1024
UNPROVEN_LIMIT: Final = 4096
STRANGER_LIMIT: Final = 4096

# INVITEs that are parsed for each that may become a call: its retransmissions, and those that get a polite 503.
INVITES_A_CALL: Final = 4
# Other datagrams of a call that lives no more or not yet: its ACK, BYE, CANCEL and PRACK, and responses.
OTHERS_A_CALL: Final = 6
# OPTIONS of one source: several dispatchers behind one address, each probing ten times a second, and whatever a stream
# held back for a while. At 0.15 ms each this is a sixtieth of a core.
OPTIONS_RATE: Final = RateSettings(per_second=100, burst=200)
# Datagrams of all unproven sources together: at 0.1 ms each this is a tenth of a core.
UNPROVEN_RATE: Final = RateSettings(per_second=1000, burst=1000)
# New calls of all unproven sources together: each opens a model session, and a flood must not open dozens at once. One
# acknowledged call lifts this from a source.
UNPROVEN_CALL_RATE: Final = RateSettings(per_second=20, burst=16)
# Datagrams of one source beyond its budget that name a call of ours: more than 300 calls at once send, in bursts.
CALL_RATE: Final = RateSettings(per_second=1000, burst=1000)
# Refusals sent to strangers, all together, where they are told at all.
STRANGER_RATE: Final = RateSettings(per_second=200, burst=200)

# Below so many calls the load is not of our making, and there is little to protect: nothing is refused for it.
FEW_CALLS: Final = 10
# One source, or all unproven ones, have this part of the half-open calls.
SOURCE_SHARE: Final = 0.5
# Said with every 503: the burst of a trunk has filled again by then.
RETRY_AFTER_SECONDS: Final = 5

CALL_ID: Final = re.compile(rb"\n(?:[Cc][Aa][Ll][Ll]-[Ii][Dd]|i)[ \t]*:[ \t]*([^\s]+)")


@unique
class Rule(RefusalRule):
    """What can speak against a new call or a datagram: (label, in words for the log)."""

    STRANGER = ("stranger", "the source address belongs to no trunk")
    LAG = ("overload", "the event loop is served too late or has no time left")
    BUSY = ("busy", "the event loop is busy, and the source has never acknowledged a call")
    SOURCE_HALF_OPEN = ("source_half_open", "too many calls of this source are not acknowledged")
    UNPROVEN_HALF_OPEN = ("unproven_half_open", "too many calls of sources that never acknowledged one are open")
    HALF_OPEN = ("half_open", "too many calls are not acknowledged")
    UNPROVEN_RATE = ("unproven_rate", "too many calls a second of sources that never acknowledged one")
    TRUNK_RATE = ("trunk_rate", "more calls a second than the trunk's rate")


@unique
class _Kind(Enum):
    """What a datagram is, as its first bytes say; each kind has a budget of its own, so that none starves another."""

    INVITE = "invite_flood"
    OPTIONS = "options_flood"
    OTHER = "datagram_flood"


_KINDS: Final[Mapping[bytes, _Kind]] = {b"INVITE ": _Kind.INVITE, b"OPTIONS": _Kind.OPTIONS}


class _Peer:
    """What is remembered of one source address."""

    __slots__ = ("budgets", "excess", "half_open")

    def __init__(self, trunk_rate: RateSettings, now: float) -> None:
        self.budgets = {
            _Kind.INVITE: TokenBucket(_times(trunk_rate, INVITES_A_CALL), now),
            _Kind.OPTIONS: TokenBucket(OPTIONS_RATE, now),
            _Kind.OTHER: TokenBucket(_times(trunk_rate, OTHERS_A_CALL), now),
        }
        self.excess = TokenBucket(CALL_RATE, now)
        self.half_open = 0


@dataclass(frozen=True, slots=True)
class _HalfOpen:
    """A call that waits for its ACK."""

    host: str
    is_proven: bool


class Gate:
    """The budgets, rates and caps of a process.

    Args:
        admission: whose address is whose.
        trunks: their rates.
        limits: how much is taken on.
        load: how well the event loop keeps up.
    """

    def __init__(
        self, admission: Admission, trunks: Mapping[str, TrunkSettings], limits: LimitsSettings, load: LoopLoad
    ) -> None:
        overload = limits.overload
        self.counters: Counter[str] = Counter()
        self.journal = RefusalJournal()
        self._admission = admission
        self._trunks = trunks
        self._load = load
        self._rates = {name: trunk.rate or overload.trunk_rate for name, trunk in trunks.items()}
        self._half_open_limit = overload.half_open or max(2, limits.calls // 2)
        self._share_limit = max(1, int(self._half_open_limit * SOURCE_SHARE))
        self._refuses_strangers = overload.strangers is StrangerPolicy.REFUSE
        self._strangers = BucketTable(overload.stranger_rate, STRANGER_LIMIT)
        self._unvouched = BucketTable(overload.stranger_rate, STRANGER_LIMIT)
        self._now = 0.0
        self._all_strangers = TokenBucket(STRANGER_RATE, self._now)
        self._all_unproven = TokenBucket(UNPROVEN_RATE, self._now)
        self._unproven_calls = TokenBucket(UNPROVEN_CALL_RATE, self._now)
        self._trunk_buckets = {name: TokenBucket(rate, self._now) for name, rate in self._rates.items()}
        self._proven: OrderedDict[str, _Peer] = OrderedDict()
        self._unproven: OrderedDict[str, _Peer] = OrderedDict()
        self._half_open: dict[InviteSession, _HalfOpen] = {}
        self._unproven_half_open = 0
        self._calls: dict[InviteSession, bytes] = {}
        self._call_ids: Counter[bytes] = Counter()

    # Before a datagram is parsed.

    def admits(self, transport: str, source: Address) -> bool:
        """Whether a datagram from `source` may be looked at: the first question, and the only one for strangers."""
        return self._refuses_strangers or self._admission.admits(transport, source)

    def sift(self, data: bytes, flow: Flow, now: float) -> bool:
        """Whether a datagram is worth parsing. What is not is counted and meets silence."""
        self._now = now
        host = flow.remote.host
        trunk_name = self._admission.trunk_of_flow(flow)
        if trunk_name is None:
            if self._admission.judges_certificates(flow.transport):
                self.counters["certificate_unknown" if flow.peer_names else "certificate_missing"] += 1
                if not self._refuses_strangers:
                    return False
            return self._sift_stranger(host, now)
        kind = _KINDS.get(data[:7], _Kind.OTHER)
        peer = self._proven.get(host)
        if peer is not None:
            within = peer.budgets[kind].take(now)
        else:
            peer = self._unproven.get(host) or self._meet(host, trunk_name, now)
            within = peer.budgets[kind].take(now) and self._all_unproven.take(now)
            if self._trunks[trunk_name].is_fallback:  # anybody may claim to belong to it
                within = self._unvouched.take(host, now) and within
        if within or (self._names_call(data) and peer.excess.take(now)):
            return True
        self.counters[kind.value] += 1
        return False

    def _sift_stranger(self, host: str, now: float) -> bool:
        if self._strangers.take(host, now) and self._all_strangers.take(now):
            return True
        self.counters["stranger_silenced"] += 1
        return False

    def _meet(self, host: str, trunk_name: str, now: float) -> _Peer:
        if len(self._unproven) >= UNPROVEN_LIMIT:
            self._unproven.popitem(last=False)
        peer = self._unproven[host] = _Peer(self._rates[trunk_name], now)
        return peer

    def _names_call(self, data: bytes) -> bool:
        match = CALL_ID.search(data)
        return match is not None and match[1] in self._call_ids

    # Before a call is taken on.

    def screen(self, request: Request, flow: Flow) -> Refusal | None:
        """What speaks against a request outside a dialog, or None."""
        host = flow.remote.host
        trunk_name = self._admission.trunk_of_flow(flow)
        if trunk_name is None:
            return self._refuse(Rule.STRANGER, None, host, 403)
        if request.method != "INVITE":
            return None
        rule = self._obstacle(host, trunk_name)
        return None if rule is None else self._refuse(rule, trunk_name, host, 503)

    def _obstacle(self, host: str, trunk_name: str) -> Rule | None:
        """The first rule that is broken. Rates come last, so that what a cap refuses takes no token from others."""
        proven = self._proven.get(host)
        level = self._load.level if len(self._calls) >= FEW_CALLS else LoadLevel.CALM
        if level is LoadLevel.OVERLOADED:
            return Rule.LAG
        if proven is None and level is LoadLevel.BUSY:
            return Rule.BUSY
        if proven is not None and proven.half_open >= self._share_limit:
            return Rule.SOURCE_HALF_OPEN
        if proven is None and self._unproven_half_open >= self._share_limit:
            return Rule.UNPROVEN_HALF_OPEN
        if len(self._half_open) >= self._half_open_limit:
            return Rule.HALF_OPEN
        if proven is None and not self._unproven_calls.take(self._now):
            return Rule.UNPROVEN_RATE
        if not self._trunk_buckets[trunk_name].take(self._now):
            return Rule.TRUNK_RATE
        return None

    def _refuse(self, rule: Rule, trunk_name: str | None, host: str, status: int) -> Refusal:
        self.journal.refuse(rule.label, rule.words, trunk_name, host, status, self._now)
        headers = (("Retry-After", str(RETRY_AFTER_SECONDS)),) if status == 503 else ()
        return Refusal(status, f"refused_{rule.label}", headers=headers)

    # What becomes of calls.

    def on_event(self, event: AgentEvent) -> None:
        """Follows the sessions: which live, which wait for their ACK, and who acknowledges."""
        session = event.session
        match event:
            case Ended():
                self._close(session)
                if (call_id := self._calls.pop(session, None)) is not None:
                    self._call_ids[call_id] -= 1
                    if not self._call_ids[call_id]:
                        del self._call_ids[call_id]
                return
            case IncomingInvite():
                self._open(session)
            case Acknowledged():
                self._acknowledge(session)
        if session not in self._calls:
            call_id = self._calls[session] = session.sip_call_id.encode()
            self._call_ids[call_id] += 1

    def beat(self, now: float) -> None:
        """Called now and then: lets the journal tell what it left out."""
        self.journal.beat(now)

    @property
    def half_open_count(self) -> int:
        """Inbound calls that wait for their ACK."""
        return len(self._half_open)

    @property
    def peer_count(self) -> int:
        """Source addresses that are remembered."""
        return len(self._proven) + len(self._unproven)

    def _open(self, session: InviteSession) -> None:
        if session.flow is None:
            return
        host = session.flow.remote.host
        peer = self._proven.get(host)
        self._half_open[session] = _HalfOpen(host, peer is not None)
        if peer is not None:
            peer.half_open += 1
        else:
            self._unproven_half_open += 1

    def _close(self, session: InviteSession) -> str | None:
        """The session is half-open no more; returns its source."""
        waiting = self._half_open.pop(session, None)
        if waiting is None:
            return None
        if not waiting.is_proven:
            self._unproven_half_open -= 1
        elif (peer := self._proven.get(waiting.host)) is not None:
            peer.half_open = max(0, peer.half_open - 1)  # 0: forgotten and met again meanwhile
        return waiting.host

    def _acknowledge(self, session: InviteSession) -> None:
        host = self._close(session)
        if host is None:
            return
        peer = self._proven.get(host)
        if peer is not None:
            self._proven.move_to_end(host)
            return
        if len(self._proven) >= PROVEN_LIMIT:
            self._proven.popitem(last=False)
        trunk_name = None if session.flow is None else self._admission.trunk_of_flow(session.flow)
        if trunk_name is not None:
            self._proven[host] = (
                self._unproven.pop(host) if host in self._unproven else _Peer(self._rates[trunk_name], self._now)
            )


def _times(rate: RateSettings, factor: int) -> RateSettings:
    return RateSettings(per_second=rate.per_second * factor, burst=rate.burst * factor)
