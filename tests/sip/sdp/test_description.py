"""Reading and writing session descriptions (RFC 8866), and what hostile bytes meet."""

import pytest

from sip.errors import SipError
from sip.sdp.description import (
    MAXIMUM_DESCRIPTION_BYTES,
    MAXIMUM_FORMATS,
    MAXIMUM_LINES,
    MAXIMUM_MEDIA,
    Attribute,
    Bandwidth,
    Connection,
    Direction,
    Origin,
    SessionDescription,
    Timing,
)
from sip.sdp.errors import SdpLimitExceeded, SdpParseError
from tests.helpers.sdp import HEADER, VECTOR_NAMES, described, vector, vector_bytes, written


def refused(body: bytes) -> str:
    with pytest.raises(SdpParseError) as caught:
        SessionDescription.parse(body)
    assert caught.value.status == 400
    assert caught.value.label == "sdp_malformed"
    return str(caught.value)


@pytest.mark.parametrize("name", VECTOR_NAMES)
def test_description_of_real_peer_is_read_and_written_without_loss__rfc8866_5(name: str) -> None:
    description = vector(name)
    again = SessionDescription.parse(bytes(description))
    assert again == description
    assert sorted(written(description)) == sorted(vector_bytes(name).decode().split("\r\n")[:-1])


def test_every_field_of_twilios_offer_is_read__rfc8866_5() -> None:
    description = vector("twilio-secure-offer")
    assert description.origin == Origin("root", 1311022221, 1311022221, "172.18.165.214")
    assert description.name == "Twilio Media Gateway"
    assert description.connection == Connection("168.86.138.121")
    assert description.timings == (Timing(0, 0),)
    (audio,) = description.media
    assert (audio.media, audio.port, audio.protocol) == ("audio", 12692, "RTP/SAVP")
    assert audio.formats == ("0", "8", "101")
    assert audio.attribute("maxptime") == "20"
    assert audio.attribute("sendrecv") == ""
    assert audio.attribute("silenceSupp") is None
    assert list(audio.values("rtpmap")) == ["0 PCMU/8000", "8 PCMA/8000", "101 telephone-event/8000"]
    assert audio.direction is Direction.SENDRECV


def test_lines_are_written_in_the_order_of_the_grammar__rfc8866_9() -> None:
    body = "v=0|o=- 1 2 IN IP4 10.0.0.1|t=0 0|a=x|b=CT:64|c=IN IP4 192.0.2.1|s=call|m=audio 4/2 RTP/AVP 0|a=y:z|b=AS:1"
    assert written(described(body)) == [
        "v=0",
        "o=- 1 2 IN IP4 10.0.0.1",
        "s=call",
        "c=IN IP4 192.0.2.1",
        "b=CT:64",
        "t=0 0",
        "a=x",
        "m=audio 4/2 RTP/AVP 0",
        "b=AS:1",
        "a=y:z",
    ]


def test_session_level_attributes_and_bandwidth_are_kept() -> None:
    description = described("v=0|o=- 1 2 IN IP4 10.0.0.1|s=-|b=AS:80|t=0 0|a=tool:x|a=inactive")
    assert description.attribute("tool") == "x"
    assert description.attribute("charset") is None
    assert description.direction is Direction.INACTIVE
    assert description.bandwidths == (Bandwidth("AS", 80),)


def test_lone_line_feeds_end_lines__rfc8866_5() -> None:
    assert SessionDescription.parse(vector_bytes("twilio-offer").replace(b"\r\n", b"\n")) == vector("twilio-offer")


@pytest.mark.parametrize("tail", [b"", b"\r\n", b"\r\n\r\n", b"\n\n\n"])
def test_end_of_body_may_lack_or_repeat_its_line_end(tail: bytes) -> None:
    assert SessionDescription.parse(vector_bytes("sipp-offer").rstrip(b"\r\n") + tail) == vector("sipp-offer")


def test_trailing_blanks_mean_nothing() -> None:
    assert SessionDescription.parse(vector_bytes("twilio-offer").replace(b"\r\n", b" \t\r\n")) == vector("twilio-offer")


def test_session_name_and_timing_may_be_missing_or_empty() -> None:
    bare = described("v=0|o=- 1 2 IN IP4 10.0.0.1|c=IN IP4 192.0.2.1|m=audio 4 RTP/AVP 0")
    assert (bare.name, bare.timings) == ("-", (Timing(),))
    assert described("v=0|o=- 1 2 IN IP4 10.0.0.1|s= |t=0 0").name == "-"


def test_session_name_in_latin_1_does_not_refuse_the_call__rfc8866_5() -> None:
    assert SessionDescription.parse(b"v=0\r\no=- 1 2 IN IP4 10.0.0.1\r\ns=Gespr\xe4ch\r\nt=0 0\r\n").name == "Gespräch"


def test_origin_numbers_wider_than_64_bits_are_kept() -> None:
    origin = described(f"v=0|o=- {'9' * 30} 18446744073709551616 IN IP4 10.0.0.1|s=-|t=0 0").origin
    assert (origin.session_id, origin.session_version) == (int("9" * 30), 2**64)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "SDP line is not <type>=<value>: ''"),
        ("hello", "SDP line is not <type>=<value>: 'hello'"),
        ("v=1|o=- 1 1 IN IP4 10.0.0.1", "SDP does not begin with v=0"),
        ("o=- 1 1 IN IP4 10.0.0.1|v=0", "SDP does not begin with v=0"),
        ("m=audio 1 RTP/AVP 0", "SDP does not begin with v=0"),
        ("v=0|s=-", "SDP has no origin line"),
        ("v=0|o=- 1 1 IN IP4", "SDP origin line is malformed: '- 1 1 IN IP4'"),
        ("v=0|o=- x 1 IN IP4 10.0.0.1", "SDP origin line is malformed: '- x 1 IN IP4 10.0.0.1'"),
        ("v=0|o=- -1 1 IN IP4 10.0.0.1", "SDP origin line is malformed: '- -1 1 IN IP4 10.0.0.1'"),
        ("v=0|v=0|o=- 1 1 IN IP4 10.0.0.1", "SDP has more than one v= or o= line"),
        (f"{HEADER}|o=- 1 1 IN IP4 10.0.0.1", "SDP has more than one v= or o= line"),
        (f"{HEADER}|q=1", "SDP line of type 'q' is not allowed here"),
        (f"{HEADER}|m=audio 1 RTP/AVP 0|t=0 0", "SDP line of type 't' is not allowed here"),
        (f"{HEADER}|A=x", "SDP line is not <type>=<value>: 'A=x'"),
        (f"{HEADER}| a=x", "SDP line is not <type>=<value>: ' a=x'"),
        (f"{HEADER}||a=x", "SDP line is not <type>=<value>: ''"),
        (f"{HEADER}|a=", "SDP attribute line is malformed: ''"),
        (f"{HEADER}|a=:x", "SDP attribute line is malformed: ':x'"),
        (f"{HEADER}|b=AS:x", "SDP bandwidth line is malformed: 'AS:x'"),
        ("v=0|o=- 1 1 IN IP4 10.0.0.1|t=now", "SDP timing line is malformed: 'now'"),
        ("v=0|o=- 1 1 IN IP4 10.0.0.1|c=IN IP4", "SDP connection line is malformed: 'IN IP4'"),
        (f"{HEADER}|m=audio 1 RTP/AVP", "SDP media line is malformed: 'audio 1 RTP/AVP'"),
        (f"{HEADER}|m=audio -1 RTP/AVP 0", "SDP media line is malformed: 'audio -1 RTP/AVP 0'"),
        (f"{HEADER}|m=audio 999999 RTP/AVP 0", "SDP media line is malformed: 'audio 999999 RTP/AVP 0'"),
        (f"{HEADER}|m=audio ١٢ RTP/AVP 0", "SDP media line is malformed: 'audio ١٢ RTP/AVP 0'"),
        (f"{HEADER}|m=audio 65536 RTP/AVP 0", "SDP media port 65536 is larger than 65535"),
        (f"{HEADER}|m=audio 1 RTP/AVP 0|a=x\0", "SDP line contains NUL or a bare carriage return"),
        (f"{HEADER}|m=audio 1 RTP/AVP 0|a=x\ry", "SDP line contains NUL or a bare carriage return"),
    ],
)
def test_malformed_description_is_refused_with_its_reason__rfc8866_9(body: str, reason: str) -> None:
    assert refused(body.replace("|", "\r\n").encode()) == reason


def limit(body: bytes) -> str:
    with pytest.raises(SdpLimitExceeded) as caught:
        SessionDescription.parse(body)
    assert (caught.value.status, caught.value.label) == (488, "sdp_limit")
    return str(caught.value)


def test_description_of_a_thousand_lines_is_read_and_one_more_is_refused() -> None:
    head = HEADER.split("|")
    body = "\r\n".join(head + ["a=x"] * (MAXIMUM_LINES - len(head)))
    assert len(SessionDescription.parse(body.encode()).attributes) == MAXIMUM_LINES - len(head)
    assert limit(body.encode() + b"\r\na=x") == "SDP has more than 1000 lines"


def test_sixty_four_media_sections_are_read_and_one_more_is_refused() -> None:
    body = "\r\n".join([*HEADER.split("|"), *["m=audio 4 RTP/AVP 0"] * MAXIMUM_MEDIA])
    assert len(SessionDescription.parse(body.encode()).media) == MAXIMUM_MEDIA
    assert limit(body.encode() + b"\r\nm=audio 4 RTP/AVP 0") == "SDP has more than 64 media descriptions"


def test_formats_beyond_the_payload_type_space_are_refused() -> None:
    formats = " ".join(str(number) for number in range(MAXIMUM_FORMATS))
    assert len(described(f"m=audio 4 RTP/AVP {formats}").media[0].formats) == MAXIMUM_FORMATS
    body = f"{HEADER}|m=audio 4 RTP/AVP {formats} 1".replace("|", "\r\n").encode()
    assert limit(body) == "SDP media line has more than 128 formats"


def test_body_larger_than_a_datagram_is_refused_unread() -> None:
    assert limit(b"x" * (MAXIMUM_DESCRIPTION_BYTES + 1)) == "SDP of 65537 bytes is larger than 65536"


def test_keys_are_hidden_from_repr() -> None:
    description = vector("twilio-secure-offer")
    assert "inline" in str(description.media[0].attributes[0])
    assert "inline" not in repr(description)
    assert repr(Attribute("ptime", "20")) == "Attribute('ptime', '20')"
    assert repr(Attribute("crypto")) == "Attribute('crypto', None)"


@pytest.mark.parametrize(
    ("direction", "sends", "receives", "mirrored"),
    [
        (Direction.SENDRECV, True, True, Direction.SENDRECV),
        (Direction.SENDONLY, True, False, Direction.RECVONLY),
        (Direction.RECVONLY, False, True, Direction.SENDONLY),
        (Direction.INACTIVE, False, False, Direction.INACTIVE),
    ],
)
def test_directions_mirror__rfc3264_6_1(direction: Direction, sends: bool, receives: bool, mirrored: Direction) -> None:
    assert (direction.sends, direction.receives, direction.mirrored) == (sends, receives, mirrored)
    assert direction.limited_to(Direction.SENDRECV) is direction
    assert direction.limited_to(Direction.INACTIVE) is Direction.INACTIVE


def test_errors_of_this_room_are_sip_errors_with_a_warning_fit_for_a_quoted_string() -> None:
    error = SdpParseError('SDP says "häh\\"')
    assert isinstance(error, SipError)
    assert error.warning_text == "SDP says 'h?h/'"
    assert error.warning_code == 399
