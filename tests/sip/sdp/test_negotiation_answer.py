"""Answering offers (RFC 3264 §6): one audio stream in its place, everything else refused in its own."""

from dataclasses import replace

import pytest

from sip.sdp.capability import AudioCapabilities, CodecPreference, SrtpMode
from sip.sdp.codec import G722, L16_16K, OPUS, PCMA, PCMU, CodecSpec
from sip.sdp.description import Direction, SessionDescription
from sip.sdp.errors import (
    AddressFamilyMismatch,
    NegotiationError,
    NoAudioStream,
    NoCommonCodec,
    SecureMediaUnavailable,
    TooManyStreams,
    UnsupportedProfile,
    UnusableAddress,
)
from sip.sdp.negotiation import answer_offer
from tests.helpers.sdp import capable_of, described, local_media, vector, written


def refusal(
    kind: type[NegotiationError], offer: SessionDescription, capabilities: AudioCapabilities | None = None
) -> NegotiationError:
    with pytest.raises(kind) as caught:
        answer_offer(offer, capabilities or capable_of(), local_media())
    assert caught.value.status == 488
    return caught.value


def test_twilios_offer_is_answered_with_one_codec_and_its_event_number__rfc3264_6_1() -> None:
    answer, audio = answer_offer(vector("twilio-offer"), capable_of(), local_media())
    assert written(answer) == [
        "v=0",
        "o=- 77 1 IN IP4 203.0.113.9",
        "s=-",
        "c=IN IP4 203.0.113.9",
        "t=0 0",
        "m=audio 40000 RTP/AVP 0 101",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-16",
        "a=ptime:20",
        "a=sendrecv",
    ]
    assert audio.codec == PCMU
    assert (audio.payload_type_tx, audio.payload_type_rx) == (0, 0)
    assert (audio.telephone_event_payload_type_tx, audio.telephone_event_payload_type_rx) == (101, 101)
    assert audio.remote_address == ("168.86.138.121", 12692)
    assert audio.remote_rtcp == ("168.86.138.121", 12693)
    assert (audio.ptime_ms, audio.maxptime_ms) == (20, 20)
    assert audio.direction is Direction.SENDRECV
    assert (audio.on_hold, audio.secure, audio.rtcp_mux) == (False, None, False)
    assert (audio.media_index, audio.description) == (0, answer)


@pytest.mark.parametrize(
    ("name", "codec", "payload_type", "event"),
    [
        ("twilio-opus-offer", PCMU, 0, 101),
        ("telnyx-offer", PCMU, 0, 101),
        ("asterisk-offer", PCMU, 0, 101),
        ("freeswitch-offer", PCMU, 0, 101),
        ("baresip-offer", PCMU, 0, 101),
        ("sipp-offer", PCMU, 0, None),
        ("linphone-offer", PCMU, 0, 98),
    ],
)
def test_peers_are_answered_with_their_own_numbers(
    name: str, codec: CodecSpec, payload_type: int, event: int | None
) -> None:
    _, audio = answer_offer(vector(name), capable_of(PCMU), local_media())
    assert (audio.codec, audio.payload_type_tx, audio.telephone_event_payload_type_rx) == (codec, payload_type, event)


@pytest.mark.parametrize(
    ("name", "codec", "payload_type", "event"),
    [
        ("twilio-opus-offer", OPUS, 107, 101),
        ("freeswitch-offer", OPUS, 102, 103),
        ("linphone-offer", OPUS, 96, 101),
        ("freeswitch-offer", G722, 9, 101),
    ],
)
def test_events_run_on_the_clock_of_the_codec__rfc4733_2_1(
    name: str, codec: CodecSpec, payload_type: int, event: int | None
) -> None:
    _, audio = answer_offer(vector(name), capable_of(codec), local_media())
    assert (audio.codec, audio.payload_type_tx, audio.telephone_event_payload_type_rx) == (codec, payload_type, event)


def test_events_are_not_answered_where_we_do_not_take_them() -> None:
    answer, audio = answer_offer(vector("twilio-offer"), replace(capable_of(), telephone_event=False), local_media())
    assert answer.media[0].formats == ("0",)
    assert audio.telephone_event_payload_type_rx is None


def test_comfort_noise_is_answered_only_where_we_take_it__rfc3389_4() -> None:
    answer, audio = answer_offer(vector("telnyx-offer"), replace(capable_of(), comfort_noise=True), local_media())
    assert answer.media[0].formats == ("0", "101", "13")
    assert "a=rtpmap:13 CN/8000" in written(answer)
    assert (audio.comfort_noise_payload_type_tx, audio.comfort_noise_payload_type_rx) == (13, 13)
    _, without = answer_offer(vector("telnyx-offer"), capable_of(), local_media())
    assert without.comfort_noise_payload_type_rx is None


def test_comfort_noise_is_on_the_clock_of_the_codec() -> None:
    answer, audio = answer_offer(
        vector("freeswitch-offer"), replace(capable_of(OPUS), comfort_noise=True), local_media()
    )
    assert audio.comfort_noise_payload_type_rx == 104
    assert "a=rtpmap:104 CN/48000" in written(answer)


def test_our_order_of_codecs_decides_by_default__rfc3264_6_1() -> None:
    _, audio = answer_offer(vector("asterisk-offer"), capable_of(PCMU, PCMA), local_media())
    assert audio.codec == PCMU


def test_their_order_of_codecs_decides_where_we_say_so__rfc3264_6_1() -> None:
    capabilities = replace(capable_of(PCMU, PCMA), preference=CodecPreference.THEIRS)
    _, audio = answer_offer(vector("asterisk-offer"), capabilities, local_media())
    assert audio.codec == PCMA


def test_opus_is_answered_with_our_parameters_and_theirs_are_kept__rfc7587_7() -> None:
    answer, audio = answer_offer(vector("freeswitch-offer"), capable_of(OPUS), local_media())
    assert "a=rtpmap:102 opus/48000/2" in written(answer)
    assert "a=fmtp:102 useinbandfec=1" in written(answer)
    assert audio.remote_fmtp.startswith("useinbandfec=1; maxaveragebitrate=30000;")


def test_g722_has_a_clock_of_8000_even_where_a_phone_says_16000__rfc3551_4_5_2() -> None:
    answer, audio = answer_offer(
        described("m=audio 4 RTP/AVP 9|a=rtpmap:9 G722/16000"), capable_of(G722), local_media()
    )
    assert audio.codec.clock_rate_hz == 8000
    assert "a=rtpmap:9 G722/8000" in written(answer)


def test_opus_without_channels_is_opus__rfc7587_7() -> None:
    _, audio = answer_offer(described("m=audio 4 RTP/AVP 99|a=rtpmap:99 OPUS/48000"), capable_of(OPUS), local_media())
    assert (audio.codec, audio.payload_type_tx) == (OPUS, 99)


def test_l16_is_matched_by_rate_and_channels__rfc3551_4_5_11() -> None:
    stereo = described("m=audio 4 RTP/AVP 97 98|a=rtpmap:97 L16/16000/2|a=rtpmap:98 l16/16000")
    _, audio = answer_offer(stereo, capable_of(L16_16K), local_media())
    assert audio.payload_type_tx == 98
    error = refusal(NoCommonCodec, described("m=audio 4 RTP/AVP 11"), capable_of(L16_16K))
    assert str(error) == "No common codec: the peer has L16/44100; here are L16/16000"


def test_rtpmap_comes_before_the_static_meaning_of_a_number__rfc8866_6_6() -> None:
    error = refusal(NoCommonCodec, described("m=audio 4 RTP/AVP 0|a=rtpmap:0 GSM/8000"))
    assert str(error) == "No common codec: the peer has GSM/8000; here are PCMU/8000"


def test_formats_without_meaning_are_passed_over() -> None:
    offer = described(
        "m=audio 4 RTP/AVP x 300 97 98 0 0|a=rtpmap:97 PCMU/fast|a=rtpmap:300 PCMU/8000|a=rtpmap:|a=fmtp:0|a=fmtp:98 x"
    )
    answer, audio = answer_offer(offer, capable_of(), local_media())
    assert audio.payload_type_tx == 0
    assert answer.media[0].formats == ("0",)


def test_no_common_codec_is_488_with_both_lists__rfc3261_20_43() -> None:
    error = refusal(NoCommonCodec, described("m=audio 4 RTP/AVP 18 3"))
    assert str(error) == "No common codec: the peer has G729/8000, GSM/8000; here are PCMU/8000"
    assert (error.label, error.warning_code) == ("sdp_no_common_codec", 305)


def test_telephone_event_alone_is_not_audio() -> None:
    error = refusal(NoCommonCodec, described("m=audio 4 RTP/AVP 101|a=rtpmap:101 telephone-event/8000"))
    assert "telephone-event/8000" in str(error)
    assert "nothing known" in str(refusal(NoCommonCodec, described("m=audio 4 RTP/AVP 96")))


# --- several m-lines -------------------------------------------------------------------------------------------------


def test_every_m_line_is_answered_in_its_place__rfc3264_6() -> None:
    offer = described(
        "m=video 9078 RTP/AVP 96 97|m=image 9 udptl t38|m=audio 4 RTP/AVP 0|m=audio 6 RTP/AVP 8 0"
        "|m=application 8 TCP/BFCP *"
    )
    answer, audio = answer_offer(offer, capable_of(), local_media())
    assert [next(iter(media.lines())) for media in answer.media] == [
        "m=video 0 RTP/AVP 96",
        "m=image 0 udptl t38",
        "m=audio 40000 RTP/AVP 0",
        "m=audio 0 RTP/AVP 8",
        "m=application 0 TCP/BFCP *",
    ]
    assert audio.media_index == 2


def test_second_audio_stream_is_taken_where_the_first_does_not_suit__rfc3264_6() -> None:
    answer, audio = answer_offer(described("m=audio 4 RTP/AVP 18|m=audio 6 RTP/AVP 0"), capable_of(), local_media())
    assert [media.port for media in answer.media] == [0, 40000]
    assert (audio.media_index, audio.remote_address) == (1, ("192.0.2.1", 6))


def test_reason_of_the_first_stream_is_told_where_none_suits() -> None:
    offer = described("m=audio 4 RTP/AVP 18|m=audio 6 RTP/AVP 0|c=IN IP4 224.0.0.1")
    refusal(NoCommonCodec, offer)


def test_refused_stream_is_not_offered_again_as_open__rfc3264_6() -> None:
    answer, _ = answer_offer(described("m=audio 0 RTP/AVP 0|m=audio 6 RTP/AVP 0"), capable_of(), local_media())
    assert [media.port for media in answer.media] == [0, 40000]


@pytest.mark.parametrize("text", ["m=audio 0 RTP/AVP 0", "m=video 8 RTP/AVP 96", "v=0|o=- 1 1 IN IP4 10.0.0.1"])
def test_offer_without_open_audio_is_488__rfc3264_6(text: str) -> None:
    error = refusal(NoAudioStream, described(text))
    assert (error.label, error.warning_code) == ("sdp_no_audio", 304)


def test_sixteen_streams_are_answered_and_seventeen_refused() -> None:
    answer, _ = answer_offer(described("|".join(["m=audio 4 RTP/AVP 0"] * 16)), capable_of(), local_media())
    assert [media.port for media in answer.media] == [40000] + [0] * 15
    error = refusal(TooManyStreams, described("|".join(["m=audio 4 RTP/AVP 0"] * 17)))
    assert str(error) == "Offer has 17 media streams; 16 are answered"


def test_timing_of_the_offer_is_repeated__rfc3264_6() -> None:
    offer = described("v=0|o=- 1 1 IN IP4 10.0.0.1|s=-|c=IN IP4 192.0.2.1|t=3034423619 3042462419|m=audio 4 RTP/AVP 0")
    answer, _ = answer_offer(offer, capable_of(), local_media())
    assert "t=3034423619 3042462419" in written(answer)


# --- profiles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["RTP/AVP", "RTP/AVPF", "rtp/avp"])
def test_profile_is_mirrored__rfc3264_6_1(profile: str) -> None:
    answer, _ = answer_offer(described(f"m=audio 4 {profile} 0"), capable_of(), local_media())
    assert answer.media[0].protocol == profile


@pytest.mark.parametrize("profile", ["UDP/TLS/RTP/SAVPF", "RTP/SAVP/X", "udp", "TCP/RTP/AVP"])
def test_profile_that_we_do_not_speak_is_488(profile: str) -> None:
    error = refusal(UnsupportedProfile, described(f"m=audio 4 {profile} 0"))
    assert (error.label, error.warning_code) == ("sdp_unsupported_profile", 303)


def test_browser_is_told_that_its_profile_is_not_for_a_trunk() -> None:
    assert "UDP/TLS/RTP/SAVPF" in str(refusal(UnsupportedProfile, vector("browser-offer")))


def test_secure_offer_is_488_where_only_plain_media_is_taken() -> None:
    error = refusal(SecureMediaUnavailable, vector("twilio-secure-offer"), capable_of(srtp=SrtpMode.FORBIDDEN))
    assert error.label == "sdp_secure_media_unavailable"


# --- addresses -------------------------------------------------------------------------------------------------------


def test_origin_is_never_a_media_address__rfc8866_5_2() -> None:
    _, audio = answer_offer(vector("twilio-offer"), capable_of(), local_media())
    assert audio.remote_address is not None
    assert audio.remote_address[0] != vector("twilio-offer").origin.address


def test_connection_of_the_media_section_comes_before_the_sessions__rfc8866_5_7() -> None:
    _, audio = answer_offer(described("m=audio 4 RTP/AVP 0|c=IN IP4 192.0.2.9"), capable_of(), local_media())
    assert audio.remote_address == ("192.0.2.9", 4)


def test_missing_connection_is_488__rfc8866_5_7() -> None:
    error = refusal(UnusableAddress, described("v=0|o=- 1 1 IN IP4 10.0.0.1|m=audio 4 RTP/AVP 0"))
    assert str(error) == "Media has no connection address"
    assert (error.label, error.warning_code) == ("sdp_unusable_address", 302)


@pytest.mark.parametrize(
    "connection",
    [
        "IN IP4 media.example.net",
        "IN IP4 224.2.1.1/127",
        "IN IP4 239.255.255.250",
        "IN IP4 255.255.255.255",
        "IN IP4 2001:db8::1",
        "IN IP4 010.0.0.1",
        "IN IP4 1",
        "IN IP9 192.0.2.1",
    ],
)
def test_address_that_media_cannot_go_to_is_488(connection: str) -> None:
    refusal(UnusableAddress, described(f"m=audio 4 RTP/AVP 0|c={connection}"))


@pytest.mark.parametrize("address", ["192.0.2.1", "ff02::1", "fe80::1%eth0", "media.example.net"])
def test_ipv6_address_that_media_cannot_go_to_is_488(address: str) -> None:
    with pytest.raises(UnusableAddress):
        answer_offer(described(f"m=audio 4 RTP/AVP 0|c=IN IP6 {address}"), capable_of(), local_media("2001:db8::9"))


@pytest.mark.parametrize("address", ["::", "a1b2.invalid", "A1B2.INVALID."])
def test_hold_on_ipv6_is_understood__rfc3264_8_4(address: str) -> None:
    offer = described(f"m=audio 4 RTP/AVP 0|c=IN IP6 {address}")
    _, audio = answer_offer(offer, capable_of(), local_media("2001:db8::9"))
    assert (audio.direction, audio.on_hold, audio.remote_address) == (Direction.RECVONLY, True, None)


@pytest.mark.parametrize(("connection", "ours"), [("IP4 0.0.0.0", "2001:db8::9"), ("IP6 ::", "192.0.2.9")])
def test_hold_names_nowhere_in_whatever_family__rfc3264_8_4(connection: str, ours: str) -> None:
    offer = described(f"m=audio 4 RTP/AVP 0|c=IN {connection}")
    _, audio = answer_offer(offer, capable_of(), local_media(ours))
    assert (audio.on_hold, audio.remote_address) == (True, None)


def test_other_address_family_is_488__rfc6157() -> None:
    error = refusal(AddressFamilyMismatch, vector("ipv6-offer"))
    assert (error.label, error.warning_code) == ("sdp_address_family", 301)
    assert str(error) == "Media address 2001:db8::4c is IP6 and ours is IP4"


def test_ipv6_is_answered_from_an_ipv6_address() -> None:
    answer, audio = answer_offer(vector("ipv6-offer"), capable_of(), local_media("2001:db8::9"))
    assert audio.remote_address == ("2001:db8::4c", 30112)
    assert written(answer)[1:4] == ["o=- 77 1 IN IP6 2001:db8::9", "s=-", "c=IN IP6 2001:db8::9"]


# --- RTCP ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("", ("192.0.2.1", 5005)),
        ("|a=rtcp:53020", ("192.0.2.1", 53020)),
        ("|a=rtcp:53020 IN IP4 192.0.2.7", ("192.0.2.7", 53020)),
        ("|a=rtcp:53020 IN IP4 0.0.0.0", None),
        ("|a=rtcp:53020 IN IP6 2001:db8::1", None),
        ("|a=rtcp:53020 IN IP4 225.0.0.1", None),
        ("|a=rtcp:0", None),
        ("|a=rtcp:65536", None),
        ("|a=rtcp:x", None),
        ("|a=rtcp", None),
        ("|a=rtcp-mux", ("192.0.2.1", 5005)),
    ],
)
def test_rtcp_goes_where_the_offer_says__rfc3605_2_1(lines: str, expected: tuple[str, int] | None) -> None:
    _, audio = answer_offer(described(f"m=audio 5004 RTP/AVP 0{lines}"), capable_of(), local_media())
    assert audio.remote_rtcp == expected
    assert not audio.rtcp_mux


def test_last_port_has_no_rtcp_port_after_it() -> None:
    _, audio = answer_offer(described("m=audio 65535 RTP/AVP 0"), capable_of(), local_media())
    assert audio.remote_rtcp is None


def test_rtcp_mux_is_answered_where_we_take_it__rfc5761_5_1_1() -> None:
    answer, audio = answer_offer(vector("baresip-offer"), replace(capable_of(), rtcp_mux=True), local_media())
    assert audio.rtcp_mux
    assert audio.remote_rtcp == audio.remote_address == ("192.0.2.10", 10134)
    assert "a=rtcp-mux" in written(answer)


def test_rtcp_mux_is_not_answered_where_it_was_not_offered__rfc5761_5_1_1() -> None:
    answer, audio = answer_offer(vector("twilio-offer"), replace(capable_of(), rtcp_mux=True), local_media())
    assert not audio.rtcp_mux
    assert "a=rtcp-mux" not in written(answer)


# --- packet time -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "sent", "maximum"),
    [
        ("", 20, None),
        ("|a=ptime:20", 20, None),
        ("|a=ptime:30", 30, None),
        ("|a=ptime:60", 60, None),
        ("|a=ptime:40", 20, None),
        ("|a=ptime:60|a=maxptime:30", 20, 30),
        ("|a=maxptime:10", 10, 10),
        ("|a=maxptime:5", 10, 5),
        ("|a=ptime:0|a=maxptime:0", 20, None),
        ("|a=ptime:x", 20, None),
        ("|a=ptime:20.0", 20, None),
    ],
)
def test_packet_time_is_the_peers_wish_within_what_we_can__rfc8866_6_4(
    lines: str, sent: int, maximum: int | None
) -> None:
    capabilities = replace(capable_of(), further_ptimes_ms=(10, 30, 60))
    answer, audio = answer_offer(described(f"m=audio 4 RTP/AVP 0{lines}"), capabilities, local_media())
    assert (audio.ptime_ms, audio.maxptime_ms) == (sent, maximum)
    assert f"a=ptime:{sent}" in written(answer)


# --- direction and hold ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "ours", "on_hold", "sent_to"),
    [
        ("", Direction.SENDRECV, False, True),
        ("|a=sendrecv", Direction.SENDRECV, False, True),
        ("|a=sendonly", Direction.RECVONLY, True, True),
        ("|a=recvonly", Direction.SENDONLY, False, True),
        ("|a=inactive", Direction.INACTIVE, True, True),
        ("|c=IN IP4 0.0.0.0", Direction.RECVONLY, True, False),
        ("|c=IN IP4 0.0.0.0|a=sendonly", Direction.RECVONLY, True, False),
        ("|c=IN IP4 0.0.0.0|a=recvonly", Direction.INACTIVE, True, False),
        ("|c=IN IP4 0.0.0.0|a=inactive", Direction.INACTIVE, True, False),
        ("|c=IN IP4 a1b2.invalid", Direction.RECVONLY, True, False),
    ],
)
def test_hold_in_every_spelling_is_mirrored__rfc3264_8_4(
    lines: str, ours: Direction, on_hold: bool, sent_to: bool
) -> None:
    answer, audio = answer_offer(described(f"m=audio 4 RTP/AVP 0{lines}"), capable_of(), local_media())
    assert (audio.direction, audio.on_hold) == (ours, on_hold)
    assert answer.media[0].direction is ours
    assert (audio.remote_address is not None) is sent_to
    assert (audio.remote_rtcp is not None) is sent_to


def test_hold_of_the_session_holds_its_streams__rfc8866_6_7() -> None:
    offer = described("v=0|o=- 1 1 IN IP4 10.0.0.1|c=IN IP4 192.0.2.1|a=sendonly|m=audio 4 RTP/AVP 0")
    assert answer_offer(offer, capable_of(), local_media())[1].on_hold


def test_direction_of_the_stream_comes_before_the_sessions__rfc8866_6_7() -> None:
    offer = described("v=0|o=- 1 1 IN IP4 10.0.0.1|c=IN IP4 192.0.2.1|a=inactive|m=audio 4 RTP/AVP 0|a=sendrecv")
    assert not answer_offer(offer, capable_of(), local_media())[1].on_hold


def test_our_own_wish_narrows_the_answer_and_is_not_a_hold__rfc3264_6_1() -> None:
    answer, audio = answer_offer(vector("twilio-offer"), capable_of(), local_media(), direction=Direction.SENDONLY)
    assert answer.media[0].direction is Direction.SENDONLY
    assert (audio.direction, audio.on_hold) == (Direction.SENDONLY, False)


def test_cisco_hold_is_understood() -> None:
    _, audio = answer_offer(vector("cisco-hold"), capable_of(), local_media())
    assert (audio.on_hold, audio.remote_address, audio.telephone_event_payload_type_rx) == (True, None, 101)


@pytest.mark.parametrize("count", [0, 17])
def test_capabilities_need_a_sensible_number_of_codecs(count: int) -> None:
    with pytest.raises(ValueError, match=f"Between 1 and 16 codecs are needed, not {count}"):
        AudioCapabilities(codecs=(PCMU,) * count)
