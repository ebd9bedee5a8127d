"""Later rounds in one call (RFC 3264 §8): hold, unhold, moves, other codecs, removed streams, refusals."""

from dataclasses import replace

import pytest

from sip.sdp.agreement import NegotiatedAudio
from sip.sdp.capability import AudioCapabilities, CodecPreference
from sip.sdp.codec import OPUS, PCMA, PCMU
from sip.sdp.description import Direction
from sip.sdp.errors import NegotiationError, NoAudioStream, NoCommonCodec, StreamCountShrank
from sip.sdp.negotiation import accept_answer, answer_offer, create_offer
from tests.helpers.sdp import capable_of, described, local_media, vector, written

BOTH = capable_of(PCMU, PCMA)


def agreed(text: str, capabilities: AudioCapabilities = BOTH) -> NegotiatedAudio:
    return answer_offer(described(text), capabilities, local_media())[1]


def again(text: str, previous: NegotiatedAudio, capabilities: AudioCapabilities = BOTH) -> NegotiatedAudio:
    return answer_offer(described(text), capabilities, local_media(), previous=previous)[1]


def test_every_answer_has_a_higher_version_and_the_same_identity__rfc3264_8() -> None:
    first = agreed("m=audio 4 RTP/AVP 0")
    second = again("m=audio 4 RTP/AVP 0", first)
    third = again("m=audio 4 RTP/AVP 0", second)
    origins = [audio.description.origin for audio in (first, second, third)]
    assert [origin.session_version for origin in origins] == [1, 2, 3]
    assert {replace(origin, session_version=0) for origin in origins} == {replace(origins[0], session_version=0)}


def test_origin_stays_even_where_our_media_address_moves__rfc3264_8() -> None:
    first = agreed("m=audio 4 RTP/AVP 0")
    answer, _ = answer_offer(described("m=audio 4 RTP/AVP 0"), BOTH, local_media("203.0.113.77"), previous=first)
    assert written(answer)[1:4] == ["o=- 77 2 IN IP4 203.0.113.9", "s=-", "c=IN IP4 203.0.113.77"]


def test_version_can_be_lifted_over_a_refused_offer() -> None:
    first = agreed("m=audio 4 RTP/AVP 0")
    offer = create_offer(BOTH, local_media(version=9), previous=first)
    assert offer.origin.session_version == 9


def test_hold_and_unhold_change_direction_only__rfc3264_8_4() -> None:
    talking = answer_offer(vector("asterisk-offer"), BOTH, local_media())[1]
    held = answer_offer(vector("asterisk-hold"), BOTH, local_media(), previous=talking)[1]
    assert (held.direction, held.on_hold, held.remote_address) == (Direction.RECVONLY, True, talking.remote_address)
    resumed = answer_offer(vector("asterisk-offer"), BOTH, local_media(), previous=held)[1]
    assert replace(resumed, description=talking.description) == talking


def test_hold_by_zero_address_keeps_codec_and_gives_the_address_back__rfc3264_8_4() -> None:
    talking = agreed("m=audio 4 RTP/AVP 0")
    held = again("m=audio 4 RTP/AVP 0|c=IN IP4 0.0.0.0", talking)
    assert (held.on_hold, held.remote_address, held.codec) == (True, None, PCMU)
    assert again("m=audio 4 RTP/AVP 0", held).remote_address == ("192.0.2.1", 4)


def test_media_moves_to_another_address_and_port__rfc3264_8_3_1() -> None:
    moved = again("m=audio 9000 RTP/AVP 0|c=IN IP4 198.51.100.1", agreed("m=audio 4 RTP/AVP 0"))
    assert (moved.remote_address, moved.remote_rtcp) == (("198.51.100.1", 9000), ("198.51.100.1", 9001))


def test_codec_changes_where_the_old_one_is_gone__rfc3264_8_3_2() -> None:
    changed = again("m=audio 4 RTP/AVP 8", agreed("m=audio 4 RTP/AVP 0"))
    assert (changed.codec, changed.payload_type_tx) == (PCMA, 8)


def test_codec_in_use_stays_while_it_is_offered() -> None:
    alaw = agreed("m=audio 4 RTP/AVP 8")
    assert again("m=audio 4 RTP/AVP 0 8", alaw).codec == PCMA


def test_their_order_changes_the_codec_where_we_follow_it() -> None:
    theirs = replace(BOTH, preference=CodecPreference.THEIRS)
    alaw = agreed("m=audio 4 RTP/AVP 8", theirs)
    assert again("m=audio 4 RTP/AVP 0 8", alaw, theirs).codec == PCMU


def test_event_number_may_change() -> None:
    first = agreed("m=audio 4 RTP/AVP 0 101|a=rtpmap:101 telephone-event/8000")
    assert again("m=audio 4 RTP/AVP 0 96|a=rtpmap:96 telephone-event/8000", first).telephone_event_payload_type_rx == 96


def test_streams_may_be_added_and_are_refused__rfc3264_8_1() -> None:
    first = agreed("m=audio 4 RTP/AVP 0")
    answer, audio = answer_offer(
        described("m=audio 4 RTP/AVP 0|m=video 6 RTP/AVP 96"), BOTH, local_media(), previous=first
    )
    assert [media.port for media in answer.media] == [40000, 0]
    assert audio.media_index == 0


def test_stream_in_use_stays_where_another_is_added_before_policy_order__rfc3264_8() -> None:
    first = agreed("m=audio 0 RTP/AVP 0|m=audio 4 RTP/AVP 0")
    assert again("m=audio 8 RTP/AVP 0|m=audio 4 RTP/AVP 0", first).media_index == 1


def test_offer_with_fewer_streams_is_488__rfc3264_8() -> None:
    first = agreed("m=audio 4 RTP/AVP 0|m=video 6 RTP/AVP 96")
    with pytest.raises(StreamCountShrank) as caught:
        again("m=audio 4 RTP/AVP 0", first)
    assert str(caught.value) == "Offer has 1 media streams and had 2 before"
    assert (caught.value.status, caught.value.label) == (488, "sdp_stream_count_shrank")


def test_stream_is_removed_by_port_zero_and_comes_back__rfc3264_8_2() -> None:
    talking = agreed("m=audio 4 RTP/AVP 0")
    answer, removed = answer_offer(described("m=audio 0 RTP/AVP 0"), BOTH, local_media(), previous=talking)
    assert written(answer)[-1] == "m=audio 0 RTP/AVP 0"
    assert answer.origin.session_version == 2
    assert (removed.direction, removed.on_hold) == (Direction.INACTIVE, True)
    assert (removed.remote_address, removed.remote_rtcp, removed.secure) == (None, None, None)
    back = again("m=audio 4 RTP/AVP 0", removed)
    assert (back.direction, back.remote_address, back.on_hold) == (Direction.SENDRECV, ("192.0.2.1", 4), False)


@pytest.mark.parametrize(
    ("text", "kind"),
    [("m=audio 4 RTP/AVP 18", NoCommonCodec), ("m=image 4 udptl t38", NoAudioStream), ("m=audio 4 RTP/SAVP 0", None)],
)
def test_refused_reoffer_leaves_the_agreement_untouched__rfc3261_14_2(
    text: str, kind: type[NegotiationError] | None
) -> None:
    talking = agreed("m=audio 4 RTP/AVP 0")
    copy = replace(talking)
    with pytest.raises(kind or NegotiationError):
        again(text, talking)
    assert talking == copy
    assert again("m=audio 4 RTP/AVP 0", talking).codec == PCMU


def test_switch_to_fax_is_refused() -> None:
    talking = answer_offer(vector("asterisk-offer"), BOTH, local_media())[1]
    with pytest.raises(NoAudioStream):
        answer_offer(vector("t38-reoffer"), BOTH, local_media(), previous=talking)


# --- re-offers of ours -----------------------------------------------------------------------------------------------


def test_our_reoffer_keeps_the_m_lines_and_their_places__rfc3264_8() -> None:
    first = agreed("m=video 6 RTP/AVP 96|m=audio 4 RTP/AVP 0|m=image 8 udptl t38")
    offer = create_offer(BOTH, local_media(port=40002), direction=Direction.SENDONLY, previous=first)
    assert [next(iter(media.lines())) for media in offer.media] == [
        "m=video 0 RTP/AVP 96",
        "m=audio 40002 RTP/AVP 0 8 101",
        "m=image 0 udptl t38",
    ]
    assert offer.origin.session_version == 2
    assert offer.media[1].direction is Direction.SENDONLY


def test_our_reoffer_puts_the_codec_in_use_first() -> None:
    offer = create_offer(BOTH, local_media(), previous=agreed("m=audio 4 RTP/AVP 8"))
    assert offer.media[0].formats == ("8", "0", "101")


def test_our_reoffer_keeps_the_meaning_of_payload_types__rfc3264_8_3_2() -> None:
    capabilities = AudioCapabilities((OPUS, PCMU))
    first = agreed("m=audio 4 RTP/AVP 101 96|a=rtpmap:101 opus/48000/2|a=rtpmap:96 telephone-event/48000", capabilities)
    offer = create_offer(capabilities, local_media(), previous=first)
    assert offer.media[0].formats == ("101", "0", "96", "97")
    assert list(offer.media[0].values("rtpmap")) == [
        "101 opus/48000/2",
        "0 PCMU/8000",
        "96 telephone-event/48000",
        "97 telephone-event/8000",
    ]


def test_static_number_that_the_peer_gave_away_is_not_used_twice__rfc3264_8_3_2() -> None:
    capabilities = AudioCapabilities((PCMA, PCMU), telephone_event=False)
    first = agreed("m=audio 4 RTP/AVP 0|a=rtpmap:0 PCMA/8000", capabilities)
    offer = create_offer(capabilities, local_media(), previous=first)
    assert list(offer.media[0].values("rtpmap")) == ["0 PCMA/8000", "96 PCMU/8000"]


def test_our_reoffer_keeps_the_profile() -> None:
    offer = create_offer(BOTH, local_media(), previous=agreed("m=audio 4 RTP/AVPF 0"))
    assert offer.media[0].protocol == "RTP/AVPF"


def test_whole_call_in_both_roles_counts_versions_up() -> None:
    first = agreed("m=audio 4 RTP/AVP 0")
    hold = create_offer(BOTH, local_media(), direction=Direction.SENDONLY, previous=first)
    held = accept_answer(hold, described("m=audio 4 RTP/AVP 0|a=recvonly"), BOTH)
    assert (held.direction, held.on_hold) == (Direction.SENDONLY, False)
    resumed = again("m=audio 4 RTP/AVP 0", held)
    assert [first.description.origin.session_version, hold.origin.session_version] == [1, 2]
    assert resumed.description.origin.session_version == 3
    assert resumed.direction is Direction.SENDRECV


def test_removed_stream_can_be_offered_again_by_us__rfc3264_8_2() -> None:
    removed = again("m=audio 0 RTP/AVP 0", agreed("m=audio 4 RTP/AVP 0"))
    offer = create_offer(BOTH, local_media(), previous=removed)
    assert offer.media[0].port == 40000
    assert accept_answer(offer, described("m=audio 4 RTP/AVP 0"), BOTH).remote_address == ("192.0.2.1", 4)
