"""New keys in calls of more than 65,536 packets: far ends that go on counting, far ends that begin at zero."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from pylibsrtp import Error, Policy, Session

from rtp.packet import RtpPacket
from rtp.parameters import StreamParameters
from rtp.rtcp import Report
from rtp.srtp import (
    _PROFILES,
    FORMER_KEY_PACKETS,
    SrtpError,
    SrtpKey,
    SrtpKeys,
    SrtpProtector,
    SrtpSuite,
    SrtpUnprotector,
)
from rtp.srtp_rollover import RolloverAccess, rollover_of
from rtp.statistics import Discard
from tests.helpers.rtp_peer import FAR_END, TICK_S, RecordingSink, make_stream

SSRC = 0xFFEE0001
"""Not the same backwards, nor a signed number."""
CHANCE = random.Random(4568)
SUITES = list(SrtpSuite)


def new_key(suite: SrtpSuite = SrtpSuite.AES_CM_128_HMAC_SHA1_80, mki: bytes = b"") -> SrtpKey:
    return SrtpKey(suite, CHANCE.randbytes(suite.material_octets), mki)


def packet(index: int, ssrc: int = SSRC) -> bytes:
    return bytes(RtpPacket(0, index & 0xFFFF, index * 160 & 0xFFFFFFFF, ssrc, index.to_bytes(8) * 20))


def way_to(index: int) -> Iterator[int]:
    """Steps that libsrtp follows: half of the sequence numbers at most."""
    yield from range(0, index, 0x7000)


class Speaker:
    """A far end on libsrtp alone. `begin` is the index, counter and number, that its key begins with."""

    def __init__(self, key: SrtpKey, begin: int, ssrc: int = SSRC) -> None:
        self.ssrc = ssrc
        self.session = Session(Policy(key.material, Policy.SSRC_ANY_OUTBOUND, srtp_profile=_PROFILES[key.suite]))
        for index in way_to(begin):
            self.session.protect(packet(index, ssrc))

    def say(self, index: int) -> bytes:
        """The packet, protected with the index that libsrtp counts to."""
        return self.session.protect(packet(index, self.ssrc))


class Listener:
    """The other half of such a far end."""

    def __init__(self, key: SrtpKey, begin: int, ssrc: int) -> None:
        profile = _PROFILES[key.suite]
        self.session = Session(Policy(key.material, Policy.SSRC_ANY_INBOUND, srtp_profile=profile))
        speaker = Session(Policy(key.material, Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile))
        for index in way_to(begin):
            self.session.unprotect(speaker.protect(packet(index, ssrc)))

    def hears(self, data: bytes) -> bool:
        try:
            self.session.unprotect(data)
        except Error:
            return False
        return True


def heard_until(index: int, key: SrtpKey) -> SrtpUnprotector:
    """One that has followed a far end to this index."""
    unprotector, speaker = SrtpUnprotector(key), Speaker(key, 0)
    for at in (*way_to(index), index):
        unprotector.unprotect(speaker.say(at))
    return unprotector


def begin_of(keeps: bool, index: int) -> int:
    return index if keeps else index & 0xFFFF


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("keeps", [True, False], ids=["keeps", "resets"])
@pytest.mark.parametrize("last", [0x9000, 0x1_0003, 0x1_FFF0, 0x3_4567, 0x29_8765])
@pytest.mark.parametrize("gap", [1, 40, 5000])
def test_a_new_key_is_heard_whichever_way_its_packets_are_counted__rfc3711_3_3_1_rfc4568_7_1_4(
    suite: SrtpSuite, keeps: bool, last: int, gap: int
) -> None:
    """A gap over the wrap too: who begins at zero begins behind it."""
    old, new = new_key(), new_key(suite)
    unprotector = SrtpUnprotector(new, heard_until(last, old))
    first = last + gap
    speaker = Speaker(new, begin_of(keeps, first))
    for index in range(first, first + 300):
        assert unprotector.unprotect(speaker.say(index)) == packet(index)


@pytest.mark.parametrize("keeps", [True, False], ids=["keeps", "resets"])
def test_the_sequence_wraps_again_and_keys_change_again(keeps: bool) -> None:
    key = new_key()
    unprotector, index = heard_until(0x1_8000, key), 0x1_8000
    for suite in (*SUITES, *SUITES):
        key = new_key(suite)
        unprotector = SrtpUnprotector(key, unprotector)
        speaker = Speaker(key, begin_of(keeps, index + 1))
        for step in (1, *[0x7000] * 5):
            index += step
            assert unprotector.unprotect(speaker.say(index)) == packet(index)


@pytest.mark.parametrize("keeps", [True, False], ids=["keeps", "resets"])
@pytest.mark.parametrize("suite", SUITES)
def test_nothing_is_heard_twice_nor_forged_while_a_key_changes(suite: SrtpSuite, keeps: bool) -> None:
    old, new = new_key(suite), new_key(suite)
    last = 0x2_0100
    unprotector = SrtpUnprotector(new, heard_until(last, old))
    forger = Speaker(new_key(suite), last)
    for index in range(last - 20, last + 20):
        with pytest.raises(SrtpError):
            unprotector.unprotect(forger.say(index))
    speaker = Speaker(new, begin_of(keeps, last + 1))
    said = [speaker.say(index) for index in range(last + 1, last + 5)]
    for data in (said[1], said[0], said[3], said[2]):
        damaged = data[:20] + bytes((data[20] ^ 1,)) + data[21:]
        for refused, cause in ((damaged, Discard.AUTHENTICATION), (data, None), (data, Discard.REPLAY)):
            if cause is None:
                assert unprotector.unprotect(refused) in {packet(index) for index in range(last + 1, last + 5)}
                continue
            with pytest.raises(SrtpError) as refusal:
                unprotector.unprotect(refused)
            assert refusal.value.discard is cause
    with pytest.raises(SrtpError):  # the old key is void
        unprotector.unprotect(Speaker(old, last + 5).say(last + 5))


def test_forged_packets_cost_the_old_key_its_time_and_not_the_counter() -> None:
    old, new = new_key(), new_key()
    last = 0x1_2345
    unprotector = SrtpUnprotector(new, heard_until(last, old))
    report = bytes(Report(SSRC, None))
    assert unprotector.unprotect_rtcp(Speaker(old, 0, ssrc=9).session.protect_rtcp(report)) == report
    forger = Speaker(new_key(), last)
    for index in range(last + 1, last + 2 * FORMER_KEY_PACKETS):
        with pytest.raises(SrtpError):
            unprotector.unprotect(forger.say(index))
    with pytest.raises(SrtpError):
        unprotector.unprotect(Speaker(old, last + 1).say(last + 1))
    with pytest.raises(SrtpError):
        unprotector.unprotect_rtcp(Speaker(old, 0).session.protect_rtcp(bytes(Report(SSRC, None))))
    assert unprotector.unprotect(Speaker(new, last + 2).say(last + 2)) == packet(last + 2)


def test_only_who_was_authentic_before_is_tried_with_a_counter() -> None:
    unprotector = SrtpUnprotector(new_key(), heard_until(0x1_0100, new_key()))
    stranger = Speaker(new_key(), 5, ssrc=77)
    with pytest.raises(SrtpError):
        unprotector.unprotect(stranger.say(6))
    assert rollover_of(unprotector._session, 77) is None
    for scrap in (b"", b"\x80", bytes(11), bytes(60_000)):
        with pytest.raises(SrtpError):
            unprotector.unprotect(scrap)


def test_another_ssrc_begins_at_zero__rfc4568_6_4() -> None:
    new = new_key()
    unprotector = SrtpUnprotector(new, heard_until(0x2_0100, new_key()))
    speaker = Speaker(new, 500, ssrc=78)
    assert unprotector.unprotect(speaker.say(501)) == packet(501, 78)


@pytest.mark.parametrize("keeps", [True, False], ids=["keeps", "resets"])
def test_a_key_that_was_replaced_unused_does_not_lose_the_counter(keeps: bool) -> None:
    """A hold and its end, each with a new key."""
    last = 0x2_0100
    unprotector = heard_until(last, new_key())
    for _ in range(3):
        key = new_key()
        unprotector = SrtpUnprotector(key, unprotector)
    assert unprotector.unprotect(Speaker(key, begin_of(keeps, last + 1)).say(last + 1)) == packet(last + 1)


@pytest.mark.parametrize("keeps", [True, False], ids=["keeps", "resets"])
def test_a_report_may_come_before_the_first_packet_of_a_key(keeps: bool) -> None:
    last, new = 0x2_0100, new_key()
    unprotector = SrtpUnprotector(new, heard_until(last, new_key()))
    speaker = Speaker(new, begin_of(keeps, last + 1))
    report = bytes(Report(SSRC, None))
    first, second = speaker.session.protect_rtcp(report), speaker.session.protect_rtcp(report)
    assert unprotector.unprotect_rtcp(first) == report
    assert unprotector.unprotect(speaker.say(last + 1)) == packet(last + 1)
    assert unprotector.unprotect_rtcp(second) == report
    for data in (first, second):
        with pytest.raises(SrtpError):
            unprotector.unprotect_rtcp(data)


@pytest.mark.parametrize("keeps", [True, False], ids=["keeps", "resets"])
def test_packets_that_name_their_key_are_counted_on_too(keeps: bool) -> None:
    last, new = 0x2_0100, new_key(mki=b"\0\1")
    unprotector = SrtpUnprotector(new, heard_until(last, new_key()))
    data = Speaker(new, begin_of(keeps, last + 1)).say(last + 1)
    assert unprotector.unprotect(data[:-10] + b"\0\1" + data[-10:]) == packet(last + 1)


def test_a_stream_hears_a_far_end_that_goes_on_counting() -> None:
    ours, old, new = new_key(), new_key(), new_key()
    sink = RecordingSink()
    stream = make_stream(sink, StreamParameters(remote=FAR_END, secure=SrtpKeys(ours, old)))
    last = 0x1_0020
    speaker = Speaker(old, 0)
    for turn, index in enumerate((*way_to(last), *range(last - 10, last + 1))):
        stream.receive_datagram(speaker.say(index), FAR_END, turn * TICK_S)
    before, discards = len(sink.genuine), dict(stream.statistics().rx.discards)
    stream.update(StreamParameters(remote=FAR_END, secure=SrtpKeys(ours, new)), 1.0)
    renewed = Speaker(new, last + 3)
    for turn in range(20):
        speaks = speaker if turn < 2 else renewed
        stream.receive_datagram(speaks.say(last + 1 + turn), FAR_END, 1.0 + turn * TICK_S)
    assert len(sink.genuine) == before + 20
    assert dict(stream.statistics().rx.discards) == discards


class Conversation:
    """A secure stream of ours in a long call, whose far end offers new keys."""

    def __init__(self, suite: SrtpSuite, *, ours_at: int, theirs_at: int) -> None:
        self.suite = suite
        self.ours, self.theirs = new_key(suite), new_key(suite)
        self.sent_at, self.heard_at = ours_at & 0xFFFF, theirs_at
        self.now = 0.0
        parameters = StreamParameters(remote=FAR_END, secure=SrtpKeys(self.ours, self.theirs))
        self.stream = make_stream(RecordingSink(), parameters, sequence_number=self.sent_at)
        self.speaker = Speaker(self.theirs, 0)
        for index in (*way_to(theirs_at), theirs_at):
            self.stream.receive_datagram(self.speaker.say(index), FAR_END, self.now)
        for index in way_to(ours_at):  # what was sent so far, in leaps
            self.stream._sender.sequence_number = index & 0xFFFF
            self.send()
        self.stream._sender.sequence_number = ours_at & 0xFFFF
        self.sent_at = ours_at
        self.send()

    def send(self) -> bytes:
        """Our next packet."""
        self.now += TICK_S
        self.sent_at += 1
        data = self.stream.tick(self.now)
        assert data is not None
        return data

    def renew(self, *, keeps: bool, ours: bool = True, theirs: bool = True) -> None:
        """A re-INVITE."""
        if ours:
            self.ours = new_key(self.suite)
        if theirs:
            self.theirs = new_key(self.suite)
            self.speaker = Speaker(self.theirs, begin_of(keeps, self.heard_at + 1))
        self.stream.update(StreamParameters(remote=FAR_END, secure=SrtpKeys(self.ours, self.theirs)), self.now)

    def hear(self) -> None:
        """The far end's next packet."""
        self.heard_at += 1
        before = dict(self.stream.statistics().rx.discards)
        self.stream.receive_datagram(self.speaker.say(self.heard_at), FAR_END, self.now)
        assert dict(self.stream.statistics().rx.discards) == before

    def listener(self, begin: int) -> Listener:
        return Listener(self.ours, begin, self.stream.ssrc)


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("ours_at", [0x1_0000, 0x1_FFFD, 0x1_FFFF, 0x3_7000])
def test_who_begins_at_zero_hears_us_from_the_first_packet_of_our_key(suite: SrtpSuite, ours_at: int) -> None:
    call = Conversation(suite, ours_at=ours_at, theirs_at=0x2_0500)
    call.renew(keeps=False)
    listener = call.listener(0)
    for turn in range(20):
        assert listener.hears(call.send())
        if turn > 5:
            call.hear()


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("ours_at", [0x1_0000, 0x1_FFFD, 0x1_FFFE, 0x1_FFFF, 0x3_7000])
@pytest.mark.parametrize("unheard", [0, 1, 3])
def test_who_goes_on_counting_hears_us_as_soon_as_we_have_heard_it__rfc3711_3_3_1(
    suite: SrtpSuite, ours_at: int, unheard: int
) -> None:
    call = Conversation(suite, ours_at=ours_at, theirs_at=0x2_0500)
    call.renew(keeps=True)
    listener = call.listener(call.sent_at)
    for _ in range(unheard):
        assert not listener.hears(call.send())
    call.hear()
    for _ in range(20):
        assert listener.hears(call.send())
        call.hear()


def test_the_count_goes_on_over_keys_of_which_nothing_was_sent_or_heard() -> None:
    call = Conversation(SUITES[0], ours_at=0x2_4000, theirs_at=0x2_0500)
    call.renew(keeps=True)
    call.renew(keeps=True)
    call.hear()
    call.renew(keeps=True)
    call.hear()
    listener = call.listener(call.sent_at)
    assert listener.hears(call.send())


def test_the_count_goes_on_over_keys_that_began_at_zero() -> None:
    call = Conversation(SUITES[0], ours_at=0x2_FFFC, theirs_at=0x2_0500)
    for _ in range(3):
        call.renew(keeps=True)
        for _ in range(3):
            call.send()
    call.hear()
    assert call.listener(call.sent_at).hears(call.send())


def test_keys_may_change_after_the_count_went_on() -> None:
    call = Conversation(SUITES[0], ours_at=0x2_4000, theirs_at=0x2_0500)
    for _ in range(3):
        call.renew(keeps=True)
        call.hear()
        assert call.listener(call.sent_at).hears(call.send())


def test_a_wrap_of_theirs_while_the_key_changes_does_not_say_how_they_count() -> None:
    """A counter of one: it went on from zero, or began at zero and what was sent before the wrap is lost."""
    call = Conversation(SUITES[0], ours_at=0x2_4000, theirs_at=0xFFF0)
    call.renew(keeps=True)
    call.heard_at = 0x1_0010
    call.hear()
    assert call.listener(0).hears(call.send())


def test_who_said_nothing_with_its_new_key_is_spoken_to_from_zero() -> None:
    call = Conversation(SUITES[0], ours_at=0x2_4000, theirs_at=0x2_0500)
    call.renew(keeps=True)
    listener = call.listener(0)
    for _ in range(20):
        assert listener.hears(call.send())


def test_a_report_of_ours_may_go_before_the_first_packet_of_a_key() -> None:
    call = Conversation(SUITES[0], ours_at=0x2_4000, theirs_at=0x2_0500)
    call.renew(keeps=True)
    listener = call.listener(call.sent_at)
    report = bytes(Report(call.stream.ssrc, None))
    assert listener.session.unprotect_rtcp(call.stream.protect_rtcp(report)) == report
    call.hear()
    assert listener.hears(call.send())
    assert listener.session.unprotect_rtcp(call.stream.protect_rtcp(report)) == report


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("keeps", [True, False], ids=["keeps", "resets"])
def test_a_new_key_of_one_side_leaves_the_other_direction_as_it_is(suite: SrtpSuite, keeps: bool) -> None:
    call = Conversation(suite, ours_at=0x1_FFF0, theirs_at=0x2_FFF8)
    listener = call.listener(call.sent_at)
    call.renew(keeps=keeps, ours=False)
    for _ in range(30):
        assert listener.hears(call.send())
        call.hear()
    call.renew(keeps=keeps, theirs=False)
    listener = call.listener(0)
    for _ in range(30):
        assert listener.hears(call.send())
        call.hear()


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("keeps", [True, False], ids=["keeps", "resets"])
def test_no_key_stream_is_used_twice(suite: SrtpSuite, keeps: bool) -> None:
    """Equal payloads under one key: equal octets would be an index that came twice."""
    call = Conversation(suite, ours_at=0x1_FF00, theirs_at=0x2_0500)
    call.renew(keeps=keeps)
    sent = [call.send()[12:172] for _ in range(50)]
    call.hear()
    sent += [call.send()[12:172] for _ in range(0x1_0100)]
    assert len(set(sent)) == len(sent)


def test_a_first_key_begins_at_zero() -> None:
    protector = SrtpProtector(new_key())
    assert protector.continued_rollover(SSRC, 0) == 0
    protector.continue_rollover(SSRC, 0)
    protector.protect(packet(0xFFFF))
    assert protector.continued_rollover(SSRC, 0) == 1
    protector.protect(packet(0x1_0000))
    assert protector.continued_rollover(SSRC, 1) == 1


def test_libsrtp_tells_its_counter_and_other_libraries_do_not(tmp_path: Path) -> None:
    import unicodedata

    assert RolloverAccess.find(unicodedata.__file__) is None
    assert RolloverAccess.find(str(tmp_path / "none.so")) is None
    session = Session(Policy(new_key().material, Policy.SSRC_ANY_OUTBOUND))
    assert rollover_of(session, SSRC) is None
    session.protect(packet(0xFFFF))
    session.protect(packet(0))
    assert rollover_of(session, SSRC) == 1
