"""SDP security descriptions (RFC 4568): which lines may be chosen, whose key is whose, never plain."""

import base64
from dataclasses import replace

import pytest

from sip.sdp.capability import AudioCapabilities, SrtpMode
from sip.sdp.codec import PCMU
from sip.sdp.crypto import CryptoLine, CryptoSuite, SrtpKeys, parse_crypto_lines
from sip.sdp.description import SessionDescription
from sip.sdp.errors import AnswerMismatch, NegotiationError, NoUsableCrypto, SecureMediaRequired
from sip.sdp.negotiation import accept_answer, answer_offer, create_offer
from tests.helpers.sdp import CountingKeys, capable_of, described, local_media, policy, vector, written

SECURE = capable_of(srtp=SrtpMode.REQUIRED)
EITHER = capable_of(srtp=SrtpMode.ALLOWED)
EVERY_SUITE = AudioCapabilities((PCMU,), srtp=policy(SrtpMode.REQUIRED, tuple(CryptoSuite)))
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd"
KEY_BYTES = bytes(range(30))
SHA1_80 = CryptoSuite.AES_CM_128_HMAC_SHA1_80


@pytest.mark.parametrize("suite", list(CryptoSuite))
def test_line_of_every_suite_is_read_and_written__rfc4568_9_1(suite: CryptoSuite) -> None:
    line = CryptoLine(7, suite, bytes(range(suite.key_and_salt_bytes)))
    assert CryptoLine.parse(str(line)) == line


@pytest.mark.parametrize(
    "value",
    [
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}",
        f"1  AES_CM_128_HMAC_SHA1_80\tinline:{KEY}",
        f"1 AES_CM_128_HMAC_SHA1_80 INLINE:{KEY}",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^48",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|1048576",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} WSH=128",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} KDR=0 -EXTRA=1",
    ],
)
def test_line_that_can_be_honoured_is_read__rfc4568_9_2(value: str) -> None:
    assert CryptoLine.parse(value) == CryptoLine(1, SHA1_80, KEY_BYTES)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "1 AES_CM_128_HMAC_SHA1_80",
        f"x AES_CM_128_HMAC_SHA1_80 inline:{KEY}",
        f"1234567890 AES_CM_128_HMAC_SHA1_80 inline:{KEY}",
        f"1 AES_256_CM_HMAC_SHA1_80 inline:{KEY}",
        f"1 F8_128_HMAC_SHA1_80 inline:{KEY}",
        f"1 aes_cm_128_hmac_sha1_80 inline:{KEY}",
        f"1 AES_CM_128_HMAC_SHA1_80 uri:{KEY}",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY[:-1]}",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY[:-4]}",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}AAAA",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}A",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY[:-1]}!",
        "1 AES_CM_128_HMAC_SHA1_80 inline:",
        f"1 AEAD_AES_128_GCM inline:{KEY}",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|1:0",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|1:129",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|256:1",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|1:1;inline:{KEY}|2:1",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^10",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^49",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^99999999999999999999",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|0",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} UNENCRYPTED_SRTP",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} UNENCRYPTED_SRTCP",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} UNAUTHENTICATED_SRTP",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} KDR=1",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} FEC_ORDER=FEC_SRTP",
        f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} WSH=64 UNKNOWN",
    ],
)
def test_line_that_cannot_be_honoured_is_never_chosen__rfc4568_7_1_2(value: str) -> None:
    assert CryptoLine.parse(value) is None
    with pytest.raises(NoUsableCrypto) as caught:
        answer_offer(described("m=audio 4 RTP/SAVP 0", f"a=crypto:{value}"), EITHER, local_media())
    assert (caught.value.status, caught.value.label) == (488, "sdp_no_usable_crypto")
    assert KEY[:8] not in str(caught.value)


@pytest.mark.parametrize("suite", [CryptoSuite.AEAD_AES_128_GCM, CryptoSuite.AEAD_AES_256_GCM])
def test_key_may_lack_its_base64_padding(suite: CryptoSuite) -> None:
    line = CryptoLine(1, suite, bytes(range(suite.key_and_salt_bytes)))
    assert str(line).endswith("=")
    assert CryptoLine.parse(str(line).rstrip("=")) == line


def test_crypto_lines_beyond_the_sixteenth_are_not_looked_at() -> None:
    unusable = [f"{tag} NULL inline:{KEY}" for tag in range(2, 18)]
    good = f"1 {SHA1_80.value} inline:{KEY}"
    assert len(parse_crypto_lines([*unusable[:15], good])) == 1
    assert parse_crypto_lines([*unusable, good]) == ()


def test_secure_stream_without_a_crypto_line_is_488__rfc4568_7_1_2() -> None:
    with pytest.raises(NoUsableCrypto):
        answer_offer(described("m=audio 4 RTP/SAVP 0"), EITHER, local_media())


def test_repeated_tag_counts_once__rfc4568_4_1() -> None:
    lines = parse_crypto_lines([f"1 {SHA1_80.value} inline:{KEY}", f"1 {SHA1_80.value} inline:{KEY[::-1]}"])
    assert lines == (CryptoLine(1, SHA1_80, KEY_BYTES),)


def test_twilios_secure_offer_is_answered_with_its_tag_and_our_key__rfc4568_7_1_2() -> None:
    keys = CountingKeys()
    answer, audio = answer_offer(vector("twilio-secure-offer"), SECURE, local_media(keys=keys))
    ours = base64.b64encode(b"\x01" * 30).decode()
    assert "m=audio 40000 RTP/SAVP 0 101" in written(answer)
    assert f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{ours}" in written(answer)
    assert audio.secure == SrtpKeys(SHA1_80, 1, tx=b"\x01" * 30, rx=KEY_BYTES)
    assert keys.given == 1


def test_first_offered_line_that_policy_allows_is_taken__rfc4568_7_1_2() -> None:
    offer = vector("baresip-srtp-offer")
    _, audio = answer_offer(offer, SECURE, local_media())
    assert audio.secure is not None
    assert (audio.secure.suite, audio.secure.tag) == (CryptoSuite.AES_CM_128_HMAC_SHA1_32, 1)
    strict = AudioCapabilities((PCMU,), srtp=policy(SrtpMode.REQUIRED, (SHA1_80,)))
    _, audio = answer_offer(offer, strict, local_media())
    assert audio.secure is not None
    assert (audio.secure.suite, audio.secure.tag) == (SHA1_80, 2)


def test_gcm_suites_are_taken_where_policy_has_them__rfc7714_14_2() -> None:
    answer, audio = answer_offer(vector("linphone-secure-offer"), EVERY_SUITE, local_media())
    assert audio.secure is not None
    assert (audio.secure.suite, len(audio.secure.tx)) == (CryptoSuite.AEAD_AES_128_GCM, 28)
    assert answer.media[0].protocol == "RTP/SAVPF"
    only_256 = AudioCapabilities((PCMU,), srtp=policy(SrtpMode.REQUIRED, (CryptoSuite.AEAD_AES_256_GCM,)))
    with pytest.raises(NoUsableCrypto):
        answer_offer(vector("linphone-secure-offer"), only_256, local_media())


def test_secure_only_policy_refuses_plain_media() -> None:
    with pytest.raises(SecureMediaRequired) as caught:
        answer_offer(vector("twilio-offer"), SECURE, local_media())
    assert (caught.value.status, caught.value.label) == (488, "sdp_secure_media_required")


def test_plain_stream_with_crypto_lines_is_not_secure__rfc4568_7_1_1() -> None:
    offer = described(f"m=audio 4 RTP/AVP 0|a=crypto:1 {SHA1_80.value} inline:{KEY}")
    with pytest.raises(SecureMediaRequired):
        answer_offer(offer, SECURE, local_media())
    answer, audio = answer_offer(offer, EITHER, local_media())
    assert audio.secure is None
    assert answer.media[0].attribute("crypto") is None


@pytest.mark.parametrize(("mode", "index"), [(SrtpMode.ALLOWED, 1), (SrtpMode.REQUIRED, 1), (SrtpMode.FORBIDDEN, 0)])
def test_best_effort_offer_is_taken_as_securely_as_policy_likes(mode: SrtpMode, index: int) -> None:
    answer, audio = answer_offer(vector("snom-best-effort-offer"), capable_of(srtp=mode), local_media())
    assert audio.media_index == index
    assert (audio.secure is not None) is (index == 1)
    assert [media.port for media in answer.media] == [40000 * (at == index) for at in range(2)]


def test_keys_are_hidden_from_every_repr() -> None:
    answer, audio = answer_offer(vector("twilio-secure-offer"), SECURE, local_media(keys=CountingKeys()))
    line = CryptoLine(1, SHA1_80, KEY_BYTES)
    ours = base64.b64encode(b"\x01" * 30).decode()
    for value in (answer, audio, audio.secure, line, local_media()):
        text = repr(value)
        assert KEY not in text
        assert ours not in text
        assert "\\x01" not in text


# --- later rounds ----------------------------------------------------------------------------------------------------


def secure_offer(key: bytes, extra: str = "") -> SessionDescription:
    return described(f"m=audio 4 RTP/SAVP 0|a=crypto:{CryptoLine(1, SHA1_80, key)}{extra}")


def test_our_key_stays_while_theirs_does__rfc4568_7_1_4() -> None:
    keys = CountingKeys()
    _, first = answer_offer(secure_offer(KEY_BYTES), SECURE, local_media(keys=keys))
    _, held = answer_offer(secure_offer(KEY_BYTES, "|a=sendonly"), SECURE, local_media(keys=keys), previous=first)
    assert held.secure == first.secure
    assert keys.given == 1


def test_our_key_changes_with_theirs__rfc4568_7_1_4() -> None:
    keys = CountingKeys()
    _, first = answer_offer(secure_offer(KEY_BYTES), SECURE, local_media(keys=keys))
    _, rekeyed = answer_offer(secure_offer(b"k" * 30), SECURE, local_media(keys=keys), previous=first)
    assert rekeyed.secure == SrtpKeys(SHA1_80, 1, tx=b"\x02" * 30, rx=b"k" * 30)


def test_secure_call_never_becomes_plain_by_a_bad_reoffer__rfc4568_7_1_4() -> None:
    _, first = answer_offer(secure_offer(KEY_BYTES), SECURE, local_media())
    copy = replace(first)
    for text in ("m=audio 4 RTP/AVP 0", "m=audio 4 RTP/SAVP 0", "m=audio 4 RTP/SAVP 0|a=crypto:1 X inline:x"):
        with pytest.raises(NegotiationError):
            answer_offer(described(text), SECURE, local_media(), previous=first)
    assert first == copy


def test_our_reoffer_repeats_the_running_key() -> None:
    keys = CountingKeys()
    _, first = answer_offer(secure_offer(KEY_BYTES), SECURE, local_media(keys=keys))
    offer = create_offer(SECURE, local_media(keys=keys), previous=first)
    assert list(offer.media[0].values("crypto")) == [str(CryptoLine(1, SHA1_80, b"\x01" * 30))]
    audio = accept_answer(offer, secure_offer(KEY_BYTES), SECURE)
    assert audio.secure == first.secure


def test_stream_that_comes_back_has_a_new_key() -> None:
    keys = CountingKeys()
    _, first = answer_offer(secure_offer(KEY_BYTES), SECURE, local_media(keys=keys))
    _, removed = answer_offer(described("m=audio 0 RTP/SAVP 0"), SECURE, local_media(keys=keys), previous=first)
    _, back = answer_offer(secure_offer(KEY_BYTES), SECURE, local_media(keys=keys), previous=removed)
    assert back.secure is not None
    assert back.secure.tx == b"\x02" * 30


# --- our offers ------------------------------------------------------------------------------------------------------


def test_offer_has_a_line_with_a_key_of_its_own_for_each_suite__rfc4568_7_1_1() -> None:
    offer = create_offer(SECURE, local_media(keys=CountingKeys()))
    assert offer.media[0].protocol == "RTP/SAVP"
    assert list(parse_crypto_lines(offer.media[0].values("crypto"))) == [
        CryptoLine(1, SHA1_80, b"\x01" * 30),
        CryptoLine(2, CryptoSuite.AES_CM_128_HMAC_SHA1_32, b"\x02" * 30),
    ]


def test_answered_tag_says_which_of_our_keys_is_used__rfc4568_7_1_3() -> None:
    offer = create_offer(SECURE, local_media(keys=CountingKeys()))
    answer = described(f"m=audio 4 RTP/SAVP 0|a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:{KEY}")
    audio = accept_answer(offer, answer, SECURE)
    assert audio.secure == SrtpKeys(CryptoSuite.AES_CM_128_HMAC_SHA1_32, 2, tx=b"\x02" * 30, rx=KEY_BYTES)


@pytest.mark.parametrize(
    "line", ["", f"|a=crypto:2 {SHA1_80.value} inline:{KEY}", f"|a=crypto:3 {SHA1_80.value} inline:{KEY}"]
)
def test_answer_without_a_line_of_ours_is_an_error__rfc4568_7_1_3(line: str) -> None:
    offer = create_offer(SECURE, local_media())
    with pytest.raises(NoUsableCrypto, match="Answer has no a=crypto line that belongs to the offer"):
        accept_answer(offer, described(f"m=audio 4 RTP/SAVP 0{line}"), SECURE)


def test_plain_answer_to_a_secure_offer_is_an_error() -> None:
    with pytest.raises(AnswerMismatch):
        accept_answer(create_offer(SECURE, local_media()), described("m=audio 4 RTP/AVP 0"), SECURE)


@pytest.mark.parametrize(
    ("parameters", "mki"),
    [("|2^20|1:4", b"\0\0\0\1"), ("|1:4", b"\0\0\0\1"), ("|2^31|255:1", b"\xff"), ("|2^31", b""), ("", b"")],
)
def test_the_identifier_of_a_key_is_kept_for_its_packets__rfc4568_6_1(parameters: str, mki: bytes) -> None:
    value = f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}{parameters}"
    line = CryptoLine.parse(value)
    assert line is not None
    assert line.mki == mki
    offer = described("m=audio 6000 RTP/SAVP 0", f"a=crypto:{value}")
    answer, audio = answer_offer(offer, capable_of(srtp=SrtpMode.ALLOWED), local_media())
    assert audio.secure is not None
    assert audio.secure.rx_mki == mki
    (ours,) = answer.media[0].values("crypto")
    assert "|" not in ours, "our packets carry none"
