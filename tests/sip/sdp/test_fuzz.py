"""Hostile and random descriptions: nothing but this room's errors leaves it, and every answer keeps RFC 3264's rules.

The cases are the same in every run. FUZZ_CASES asks for more of them than the quick default.
"""

import os
import random
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sip.sdp.agreement import NegotiatedAudio
from sip.sdp.capability import AudioCapabilities, CodecPreference, SrtpMode, SrtpPolicy
from sip.sdp.codec import G722, L16_16K, OPUS, PCMA, PCMU, payload_formats
from sip.sdp.crypto import CryptoSuite
from sip.sdp.description import Direction, SessionDescription
from sip.sdp.errors import NegotiationError, NoCommonCodec, SdpError, SdpParseError
from sip.sdp.negotiation import accept_answer, answer_offer, create_offer
from sip.sdp.stream import is_open_audio, is_secure
from tests.helpers.sdp import VECTOR_NAMES, described, local_media, vector_bytes

fuzz = settings(
    max_examples=int(os.environ.get("FUZZ_CASES", "150")),
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

VECTORS = [vector_bytes(name) for name in VECTOR_NAMES]
SNIPPETS = st.sampled_from(
    [
        *(b"", b"\r", b"\n", b"\0", b"=", b":", b"/", b" ", b"-1", b"0", b"65535", b"65536", b"99999999999999999999"),
        b"m=audio 0 RTP/AVP 0\r\n",
        b"a=inactive\r\n",
        b"c=IN IP4 0.0.0.0\r\n",
        b"a=rtpmap:\r\n",
        b"\xff\xfe",
        b"\xc2\x85",
    ]
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A real description with up to four places cut out and something else put in."""
    body = draw(st.sampled_from(VECTORS))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(len(body), start + 40)))
        body = body[:start] + draw(SNIPPETS | st.binary(max_size=6)) + body[end:]
    return body


def check_refusal(error: SdpError, statuses: set[int]) -> None:
    """It can be sent and counted, and it says more than that something went wrong."""
    assert error.status in statuses
    assert error.warning_text.isascii()
    assert error.label not in {SdpError.label, NegotiationError.label}


def check_reading(body: bytes) -> SessionDescription | None:
    try:
        description = SessionDescription.parse(body)
    except SdpParseError as error:
        check_refusal(error, {400, 488})
        return None
    assert SessionDescription.parse(bytes(description)) == description
    return description


@fuzz
@given(st.binary(max_size=400))
def test_random_bytes_raise_the_parse_error_or_nothing(body: bytes) -> None:
    check_reading(body)


@fuzz
@given(st.lists(st.sampled_from("vosiuepcbtrzkam"), max_size=12), st.data())
def test_random_lines_raise_the_parse_error_or_nothing(letters: list[str], data: st.DataObject) -> None:
    values = st.text(max_size=20) | st.sampled_from(["0", "0 0", "IN IP4 192.0.2.1", "- 1 1 IN IP4 1.1.1.1", "AS:1"])
    check_reading("\r\n".join(["v=0", *(f"{letter}={data.draw(values)}" for letter in letters)]).encode())


ADDRESSES = ["192.0.2.1", "0.0.0.0", "224.0.0.1", "2001:db8::1", "::", "x.invalid", "example.net", "999.1.1.1"]
PROFILES = ["RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF", "UDP/TLS/RTP/SAVPF", "udptl"]
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd"
ATTRIBUTES = [
    *(f"a={direction.value}" for direction in Direction),
    "a=rtpmap:0 PCMU/8000",
    "a=rtpmap:0 PCMA/8000",
    "a=rtpmap:9 G722/16000",
    "a=rtpmap:96 opus/48000/2",
    "a=rtpmap:97 telephone-event/8000",
    "a=rtpmap:98 telephone-event/48000",
    "a=rtpmap:99 L16/16000",
    "a=rtpmap:999 L16/16000",
    "a=fmtp:97 0-15",
    "a=ptime:30",
    "a=maxptime:10",
    "a=rtcp-mux",
    "a=rtcp:7",
    "a=rtcp:9 IN IP4 0.0.0.0",
    f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}",
    f"a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:{KEY}|2^31",
    f"a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|1:4",
    f"a=crypto:4 AES_CM_128_HMAC_SHA1_80 inline:{KEY[:20]}",
]


@st.composite
def sections(draw: st.DrawFn) -> list[str]:
    media = draw(st.sampled_from(["audio", "audio", "audio", "video", "image"]))
    port = draw(st.sampled_from([0, 9, 5004, 65535]))
    formats = draw(st.lists(st.sampled_from(["0", "8", "9", "13", "18", "96", "97", "98", "99", "t38"]), min_size=1))
    lines = [f"m={media} {port} {draw(st.sampled_from(PROFILES))} {' '.join(formats)}"]
    if draw(st.booleans()):
        address = draw(st.sampled_from(ADDRESSES))
        lines.append(f"c=IN {'IP6' if ':' in address else 'IP4'} {address}")
    return lines + draw(st.lists(st.sampled_from(ATTRIBUTES), max_size=10))


@st.composite
def offers(draw: st.DrawFn) -> SessionDescription:
    lines = ["v=0", "o=- 1 1 IN IP4 10.0.0.1", "s=-", f"c=IN IP4 {draw(st.sampled_from(ADDRESSES))}", "t=0 0"]
    for section in draw(st.lists(sections(), max_size=4)):
        lines += section
    return SessionDescription.parse("\r\n".join(lines).encode())


@st.composite
def capabilities(draw: st.DrawFn) -> AudioCapabilities:
    return AudioCapabilities(
        codecs=tuple(draw(st.lists(st.sampled_from([PCMU, PCMA, G722, OPUS, L16_16K]), min_size=1, unique=True))),
        telephone_event=draw(st.booleans()),
        srtp=SrtpPolicy(draw(st.sampled_from(SrtpMode)), tuple(CryptoSuite)),
        further_ptimes_ms=(10, 30),
        preference=draw(st.sampled_from(CodecPreference)),
        comfort_noise=draw(st.booleans()),
        rtcp_mux=draw(st.booleans()),
    )


def check_answer(
    offer: SessionDescription, ours: AudioCapabilities, previous: NegotiatedAudio | None
) -> NegotiatedAudio | None:
    """Answers where that is possible, and holds the answer against RFC 3264 §6 and RFC 4568 §7.1.2."""
    try:
        answer, audio = answer_offer(offer, ours, local_media(), previous=previous)
    except NegotiationError as error:
        check_refusal(error, {488})
        return None
    assert SessionDescription.parse(bytes(answer)) == answer
    assert [media.media for media in answer.media] == [media.media for media in offer.media]
    assert [media.protocol for media in answer.media] == [media.protocol for media in offer.media]
    open_streams = [index for index, media in enumerate(answer.media) if media.port]
    assert open_streams in ([], [audio.media_index])
    for index in open_streams:
        check_stream(offer, answer, index, audio, ours)
    if previous is not None:
        assert answer.origin.session_version > previous.description.origin.session_version
    return audio


def check_stream(
    offer: SessionDescription, answer: SessionDescription, index: int, audio: NegotiatedAudio, ours: AudioCapabilities
) -> None:
    theirs, mine = offer.media[index], answer.media[index]
    assert is_open_audio(theirs)
    assert set(mine.formats) <= set(theirs.formats)
    assert str(audio.payload_type_rx) == mine.formats[0]
    assert is_secure(theirs) is (audio.secure is not None) is (mine.attribute("crypto") is not None)
    assert audio.secure is not None or ours.srtp.mode is not SrtpMode.REQUIRED
    assert audio.remote_address is None or audio.remote_address == ("192.0.2.1", theirs.port)
    assert audio.remote_address is not None or not audio.direction.sends
    offered = theirs.direction or Direction.SENDRECV
    assert mine.direction is audio.direction is audio.direction.limited_to(offered.mirrored)


@fuzz
@given(damaged(), capabilities())
def test_damaged_offers_are_refused_or_answered_by_the_rules__rfc3264_6(body: bytes, ours: AudioCapabilities) -> None:
    offer = check_reading(body)
    if offer is not None:
        try:
            answer_offer(offer, ours, local_media())
        except NegotiationError as error:
            check_refusal(error, {488})


@fuzz
@given(st.lists(offers(), min_size=1, max_size=4), capabilities())
def test_every_round_of_a_call_keeps_the_rules__rfc3264_8(
    rounds: list[SessionDescription], ours: AudioCapabilities
) -> None:
    previous = None
    for offer in rounds:
        previous = check_answer(offer, ours, previous) or previous
        if previous is not None:
            again = create_offer(ours, local_media(), previous=previous)
            assert len(again.media) == len(previous.description.media)


@fuzz
@given(capabilities(), st.randoms())
def test_all_that_an_answer_shares_with_our_offer_may_come__rfc3264_6_1(
    here: AudioCapabilities, chance: random.Random
) -> None:
    """An answer in any order, with numbers of its own."""
    offer = create_offer(replace(here, srtp=SrtpPolicy(SrtpMode.FORBIDDEN)), local_media())
    ours = payload_formats(offer.media[0])
    listed = chance.sample(ours, chance.randint(1, len(ours)))
    numbers = chance.sample(range(96, 128), len(listed))
    formats = " ".join(map(str, numbers))
    rtpmaps = [f"a=rtpmap:{number} {item}" for number, item in zip(numbers, listed, strict=True)]
    answer = described("|".join((f"m=audio 6 RTP/AVP {formats}", *rtpmaps)))
    spoken = [item for item in listed if item.name not in {"telephone-event", "CN"}]
    if not spoken:
        with pytest.raises(NoCommonCodec):
            accept_answer(offer, answer, here)
        return
    audio = accept_answer(offer, answer, here)
    assert [audio.payload_type_rx, *audio.further_codecs] == [item.payload_type for item in spoken]
    assert [audio.codec, *audio.further_codecs.values()] == [
        next(codec for codec in here.codecs if codec.matches(item)) for item in spoken
    ]
    assert audio.payload_type_tx == numbers[listed.index(spoken[0])]
    events = {item.payload_type for item in listed if item.name == "telephone-event"}
    clocks = {item.clock_rate_hz for item in spoken}
    heard = {audio.telephone_event_payload_type_rx, *audio.further_telephone_events} - {None}
    assert heard <= events
    assert audio.telephone_event_payload_type_rx not in audio.further_telephone_events
    assert heard >= {
        item.payload_type for item in listed if item.payload_type in events and item.clock_rate_hz in clocks
    }


@fuzz
@given(capabilities(), capabilities(), st.sampled_from(Direction), st.sampled_from(Direction))
def test_two_sides_that_agree_agree_on_the_same__rfc3264_7(
    here: AudioCapabilities, there: AudioCapabilities, wanted: Direction, allowed: Direction
) -> None:
    offer = create_offer(here, local_media(), direction=wanted)
    try:
        answer, far = answer_offer(offer, there, local_media("198.51.100.7", 5004), direction=allowed)
    except NegotiationError:
        return
    near = accept_answer(offer, SessionDescription.parse(bytes(answer)), here)
    assert near.codec == far.codec
    assert near.direction is far.direction.mirrored
    assert (near.payload_type_tx, near.payload_type_rx) == (far.payload_type_rx, far.payload_type_tx)
    assert near.telephone_event_payload_type_tx == far.telephone_event_payload_type_rx
    assert near.comfort_noise_payload_type_rx == far.comfort_noise_payload_type_tx
    assert near.rtcp_mux is far.rtcp_mux
    # Our answers name one codec, and events on its clock: nothing else may come, either way.
    assert (near.further_codecs, near.further_telephone_events) == ({}, {})
    assert (far.further_codecs, far.further_telephone_events) == ({}, {})
    if near.secure is not None and far.secure is not None:
        assert (near.secure.tx, near.secure.rx) == (far.secure.rx, far.secure.tx)
    assert (near.secure is None) is (far.secure is None)
