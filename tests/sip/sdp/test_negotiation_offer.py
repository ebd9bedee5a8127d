"""Offering, and reading the answer (RFC 3264 §5 and §7): calls of ours, and INVITEs that came without an offer."""

from dataclasses import replace

import pytest

from sip.sdp.capability import AudioCapabilities, SrtpMode
from sip.sdp.codec import G722, L16_8K, OPUS, PCMA, PCMU, CodecSpec
from sip.sdp.description import Direction, SessionDescription
from sip.sdp.errors import AddressFamilyMismatch, AnswerMismatch, NoCommonCodec, StreamRejected
from sip.sdp.negotiation import accept_answer, answer_offer, create_offer
from tests.helpers.sdp import capable_of, described, local_media, written

WIDE = AudioCapabilities((OPUS, PCMU, G722), comfort_noise=True, rtcp_mux=True)


def offered(
    capabilities: AudioCapabilities | None = None, direction: Direction = Direction.SENDRECV
) -> SessionDescription:
    return create_offer(capabilities or capable_of(), local_media(), direction=direction)


def test_offer_has_all_codecs_in_order_and_events_on_each_clock__rfc3264_5_1() -> None:
    assert written(offered(WIDE))[5:] == [
        "m=audio 40000 RTP/AVP 96 0 9 97 101 13",
        "a=rtpmap:96 opus/48000/2",
        "a=fmtp:96 useinbandfec=1",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:9 G722/8000",
        "a=rtpmap:97 telephone-event/48000",
        "a=fmtp:97 0-16",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-16",
        "a=rtpmap:13 CN/8000",
        "a=ptime:20",
        "a=rtcp-mux",
        "a=sendrecv",
    ]


def test_offer_can_leave_events_out() -> None:
    assert offered(replace(capable_of(), telephone_event=False)).media[0].formats == ("0",)


def test_comfort_noise_is_offered_only_beside_a_clock_of_8000__rfc3389_4() -> None:
    assert offered(AudioCapabilities((OPUS,), comfort_noise=True)).media[0].formats == ("96", "97")


def test_offer_says_which_way_media_shall_flow__rfc3264_5_1() -> None:
    assert offered(direction=Direction.SENDONLY).media[0].direction is Direction.SENDONLY


def test_as_many_codecs_as_are_allowed_get_numbers_of_their_own() -> None:
    codecs = tuple(CodecSpec("L16", 8000 + step) for step in range(16))
    formats = offered(AudioCapabilities(codecs)).media[0].formats
    assert len(set(formats)) == 32
    assert all(96 <= int(number) <= 127 for number in formats)


@pytest.mark.parametrize("taken_first", [PCMA, G722, OPUS])
def test_offer_and_answer_meet(taken_first: CodecSpec) -> None:
    offer = create_offer(WIDE, local_media())
    theirs = AudioCapabilities((taken_first, PCMU), comfort_noise=True, rtcp_mux=True)
    answer, far = answer_offer(offer, theirs, local_media("198.51.100.7", 5004))
    near = accept_answer(offer, SessionDescription.parse(bytes(answer)), WIDE)
    assert near.codec == far.codec
    assert (near.payload_type_tx, near.payload_type_rx) == (far.payload_type_rx, far.payload_type_tx)
    assert near.telephone_event_payload_type_tx == far.telephone_event_payload_type_rx is not None
    assert near.comfort_noise_payload_type_tx == far.comfort_noise_payload_type_rx
    assert near.remote_address == ("198.51.100.7", 5004)
    assert far.remote_address == ("203.0.113.9", 40000)
    assert near.rtcp_mux is far.rtcp_mux is True
    assert near.description == offer


def test_answer_to_an_offer_in_200_is_read_from_the_ack__rfc3261_13_2_1() -> None:
    offer = offered()
    ack = described("m=audio 6000 RTP/AVP 0 101|a=rtpmap:101 telephone-event/8000")
    audio = accept_answer(offer, ack, capable_of())
    assert (audio.codec, audio.remote_address) == (PCMU, ("192.0.2.1", 6000))
    assert (audio.remote_rtcp, audio.ptime_ms, audio.direction) == (("192.0.2.1", 6001), 20, Direction.SENDRECV)


def test_two_sides_may_number_a_codec_differently__rfc3264_6_1() -> None:
    capabilities = AudioCapabilities((OPUS,))
    audio = accept_answer(
        offered(capabilities),
        described(
            "m=audio 6 RTP/AVP 111 126|a=rtpmap:111 opus/48000/2|a=fmtp:111 stereo=1|a=rtpmap:126 telephone-event/48000"
        ),
        capabilities,
    )
    assert (audio.payload_type_tx, audio.payload_type_rx, audio.remote_fmtp) == (111, 96, "stereo=1")
    assert (audio.telephone_event_payload_type_tx, audio.telephone_event_payload_type_rx) == (126, 97)


def test_answer_may_leave_out_the_rtpmap_of_our_number() -> None:
    capabilities = AudioCapabilities((L16_8K,))
    audio = accept_answer(offered(capabilities), described("m=audio 6 RTP/AVP 96 101"), capabilities)
    assert (audio.codec, audio.telephone_event_payload_type_tx) == (L16_8K, 101)


def test_first_codec_of_the_answer_is_taken__rfc3264_7() -> None:
    capabilities = capable_of(PCMU, PCMA)
    assert accept_answer(offered(capabilities), described("m=audio 6 RTP/AVP 8 0"), capabilities).codec == PCMA


def test_every_codec_of_the_answer_may_come_under_our_number__rfc3264_6_1() -> None:
    capabilities = AudioCapabilities((OPUS, PCMU, G722, L16_8K, PCMA), comfort_noise=True)
    offer = offered(capabilities)
    assert offer.media[0].formats == ("96", "0", "9", "97", "8", "98", "101", "13")
    answer = described(
        "m=audio 6 RTP/AVP 9 110 111 120 0 121 102 0 112 13|a=rtpmap:110 opus/48000/2|a=rtpmap:111 L16/8000"
        "|a=rtpmap:120 telephone-event/8000|a=rtpmap:121 telephone-event/48000|a=rtpmap:102 PCMA/8000"
        "|a=rtpmap:112 opus/48000/2"
    )
    audio = accept_answer(offer, answer, capabilities)
    assert (audio.codec, audio.payload_type_tx, audio.payload_type_rx) == (G722, 9, 9)
    assert list(audio.further_codecs.items()) == [(96, OPUS), (97, L16_8K), (0, PCMU), (8, PCMA)]
    assert (audio.telephone_event_payload_type_tx, audio.telephone_event_payload_type_rx) == (120, 101)
    assert audio.further_telephone_events == {98: 48000}
    assert audio.comfort_noise_payload_type_rx == 13


def test_of_a_codec_that_an_answer_lists_twice_the_first_is_sent() -> None:
    answer = "m=audio 6 RTP/AVP 110 112|a=rtpmap:110 opus/48000/2|a=fmtp:110 stereo=1|a=rtpmap:112 opus/48000/2"
    audio = accept_answer(offered(WIDE), described(answer), WIDE)
    assert (audio.payload_type_tx, audio.remote_fmtp, audio.further_codecs) == (110, "stereo=1", {})


def test_what_only_one_side_has_may_not_come__rfc3264_6_1() -> None:
    here = capable_of(OPUS, PCMU)
    answer = "m=audio 6 RTP/AVP 96 9 8 101|a=rtpmap:96 opus/48000/2|a=rtpmap:101 telephone-event/8000"
    audio = accept_answer(offered(here), described(answer), capable_of(OPUS, PCMU, G722, PCMA))
    assert (audio.codec, audio.further_codecs, audio.further_telephone_events) == (OPUS, {}, {})
    assert audio.telephone_event_clock_rate_hz == 8000, "one number, and the one clock that both have"


def test_comfort_noise_goes_with_the_codec_whose_clock_it_has__rfc3389_4() -> None:
    answer = "m=audio 6 RTP/AVP 96 {}|a=rtpmap:96 opus/48000/2"
    both = accept_answer(offered(WIDE), described(answer.format("0 13")), WIDE)
    alone = accept_answer(offered(WIDE), described(answer.format("13")), WIDE)
    assert (both.comfort_noise_payload_type_rx, alone.comfort_noise_payload_type_rx) == (13, None)


def test_numbers_of_a_later_round_are_those_of_our_last_description__rfc3264_8_3_2() -> None:
    before = accept_answer(offered(WIDE), described("m=audio 6 RTP/AVP 0 96 97"), WIDE)
    assert before.further_codecs == {96: OPUS}
    again = create_offer(AudioCapabilities((L16_8K, OPUS, PCMU)), local_media(), previous=before)
    answer = described("m=audio 6 RTP/AVP 0 111 112|a=rtpmap:111 opus/48000/2|a=rtpmap:112 L16/8000")
    audio = accept_answer(again, answer, AudioCapabilities((L16_8K, OPUS, PCMU)))
    assert again.media[0].formats[:3] == ("0", "98", "96")
    assert audio.further_codecs == {96: OPUS, 98: L16_8K}


def test_codec_that_was_not_offered_is_passed_over() -> None:
    audio = accept_answer(offered(capable_of(PCMU)), described("m=audio 6 RTP/AVP 8 0"), capable_of(PCMU, PCMA))
    assert audio.codec == PCMU


def test_events_that_were_not_offered_are_not_agreed() -> None:
    capabilities = replace(capable_of(), telephone_event=False)
    answer = described("m=audio 6 RTP/AVP 0 101|a=rtpmap:101 telephone-event/8000")
    assert accept_answer(offered(capabilities), answer, capabilities).telephone_event_payload_type_tx is None


@pytest.mark.parametrize(
    ("wanted", "answered", "ours", "on_hold"),
    [
        (Direction.SENDRECV, "sendrecv", Direction.SENDRECV, False),
        (Direction.SENDRECV, "recvonly", Direction.SENDONLY, False),
        (Direction.SENDRECV, "sendonly", Direction.RECVONLY, True),
        (Direction.SENDRECV, "inactive", Direction.INACTIVE, True),
        (Direction.SENDONLY, "recvonly", Direction.SENDONLY, False),
        (Direction.SENDONLY, "sendrecv", Direction.SENDONLY, False),
        (Direction.SENDONLY, "inactive", Direction.INACTIVE, True),
        (Direction.INACTIVE, "sendrecv", Direction.INACTIVE, False),
        (Direction.RECVONLY, "sendonly", Direction.RECVONLY, False),
    ],
)
def test_agreed_direction_is_what_both_allow__rfc3264_6_1(
    wanted: Direction, answered: str, ours: Direction, on_hold: bool
) -> None:
    audio = accept_answer(offered(direction=wanted), described(f"m=audio 6 RTP/AVP 0|a={answered}"), capable_of())
    assert (audio.direction, audio.on_hold) == (ours, on_hold)


def test_answer_with_no_address_yet_is_a_hold__rfc3264_8_4() -> None:
    audio = accept_answer(offered(), described("m=audio 6 RTP/AVP 0|c=IN IP4 0.0.0.0"), capable_of())
    assert (audio.remote_address, audio.direction, audio.on_hold) == (None, Direction.RECVONLY, True)


def test_rtcp_mux_needs_both__rfc5761_5_1_1() -> None:
    plain = accept_answer(offered(WIDE), described("m=audio 6 RTP/AVP 0"), WIDE)
    assert (plain.rtcp_mux, plain.remote_rtcp) == (False, ("192.0.2.1", 7))
    unasked = accept_answer(offered(), described("m=audio 6 RTP/AVP 0|a=rtcp-mux"), capable_of())
    assert not unasked.rtcp_mux


def test_packet_time_of_the_answer_is_heard() -> None:
    capabilities = replace(capable_of(), further_ptimes_ms=(30,))
    audio = accept_answer(offered(capabilities), described("m=audio 6 RTP/AVP 0|a=ptime:30"), capabilities)
    assert audio.ptime_ms == 30


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("v=0|o=- 1 1 IN IP4 10.0.0.1", "Answer has 0 media streams where the offer has 1"),
        ("m=audio 6 RTP/AVP 0|m=video 0 RTP/AVP 96", "Answer has 2 media streams where the offer has 1"),
        ("m=video 6 RTP/AVP 0", "Answer has no audio stream in the place of the offered one"),
        ("m=audio 6 RTP/AVPF 0", "Answer has profile RTP/AVPF where the offer has RTP/AVP"),
        ("m=audio 6 RTP/SAVP 0", "Answer has profile RTP/SAVP where the offer has RTP/AVP"),
    ],
)
def test_answer_that_does_not_fit_is_an_error__rfc3264_6(answer: str, reason: str) -> None:
    with pytest.raises(AnswerMismatch) as caught:
        accept_answer(offered(), described(answer), capable_of())
    assert str(caught.value) == reason
    assert caught.value.label == "sdp_answer_mismatch"


def test_offer_without_open_audio_has_no_answer() -> None:
    with pytest.raises(AnswerMismatch):
        accept_answer(described("m=audio 0 RTP/AVP 0"), described("m=audio 4 RTP/AVP 0"), capable_of())


def test_answer_with_port_zero_refuses_audio__rfc3264_6() -> None:
    with pytest.raises(StreamRejected) as caught:
        accept_answer(offered(), described("m=audio 0 RTP/AVP 0"), capable_of())
    assert caught.value.label == "sdp_stream_rejected"


def test_answer_without_any_codec_of_ours_is_an_error() -> None:
    with pytest.raises(NoCommonCodec):
        accept_answer(offered(), described("m=audio 6 RTP/AVP 8"), capable_of())


def test_answer_from_the_other_address_family_is_an_error() -> None:
    with pytest.raises(AddressFamilyMismatch):
        accept_answer(offered(), described("m=audio 6 RTP/AVP 0|c=IN IP6 2001:db8::1"), capable_of())
    offer = described("v=0|o=- 1 1 IN IP4 10.0.0.1|m=audio 4 RTP/AVP 0")
    assert accept_answer(offer, described("m=audio 6 RTP/AVP 0"), capable_of()).remote_address == ("192.0.2.1", 6)


def test_secure_mode_allowed_offers_plain_media() -> None:
    assert offered(capable_of(srtp=SrtpMode.ALLOWED)).media[0].protocol == "RTP/AVP"


def test_an_answer_with_events_of_8000_hz_alone_beside_opus_has_them__rfc7160() -> None:
    answer = described("m=audio 6 RTP/AVP 96 101|a=rtpmap:96 opus/48000/2|a=rtpmap:101 telephone-event/8000")
    audio = accept_answer(offered(WIDE), answer, WIDE)
    assert (audio.codec, audio.telephone_event_payload_type_tx, audio.telephone_event_payload_type_rx) == (
        OPUS,
        101,
        101,
    )
    assert audio.telephone_event_clock_rate_hz == 8000
