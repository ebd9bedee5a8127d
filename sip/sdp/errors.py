"""What can go wrong with a session description. Each class carries what answers it and what counts it.

    SipError
    ├── SdpParseError               400  the body is not a session description
    │   └── SdpLimitExceeded        488  it is one, but larger than we take
    └── NegotiationError            488  it is one, but no agreement is possible
        ├── NoAudioStream                no m=audio section that is open
        ├── TooManyStreams               more m= sections than we answer
        ├── StreamCountShrank            a re-offer with fewer m= sections than before (RFC 3264 §8)
        ├── UnsupportedProfile           no RTP profile that we speak (DTLS, for one)
        ├── NoCommonCodec
        ├── UnusableAddress              the media address is missing, a name, or not unicast
        ├── AddressFamilyMismatch        IPv6 against IPv4
        ├── SecureMediaRequired          plain RTP where our policy asks for SRTP
        ├── SecureMediaUnavailable       SRTP where our policy forbids it
        ├── NoUsableCrypto               a secure profile without one a=crypto line that we can honour
        ├── StreamRejected               the answer refuses our stream
        └── AnswerMismatch               the answer does not fit our offer (RFC 3264 §6)

A negotiation that fails leaves no trace: what was agreed before is a value in the caller's hands and still holds.
"""

# ruff: noqa: N818 -- the class names are the reasons themselves, as they stand in logs.

from sip.errors import SipError


class SdpError(SipError):
    """Base of the errors of this room. `warning_code` goes into the Warning header of the refusal (RFC 3261 §20.43)."""

    status = 488
    label = "sdp"
    warning_code = 399

    @property
    def warning_text(self) -> str:
        """The error's sentence, fit for a quoted string: printable ASCII without quotes and backslashes."""
        text = str(self).replace('"', "'").replace("\\", "/")
        return text.encode("ascii", "replace").decode()


class SdpParseError(SdpError):
    """The body is not a session description."""

    status = 400
    label = "sdp_malformed"


class SdpLimitExceeded(SdpParseError):
    """The description is larger than we take: too many bytes, lines, media sections or formats."""

    status = 488
    label = "sdp_limit"


class NegotiationError(SdpError):
    """The two sides cannot agree."""

    label = "sdp_negotiation"


class NoAudioStream(NegotiationError):
    """There is no audio stream to take part in."""

    label = "sdp_no_audio"
    warning_code = 304


class TooManyStreams(NegotiationError):
    """The offer has more media sections than we answer."""

    label = "sdp_too_many_streams"


class StreamCountShrank(NegotiationError):
    """RFC 3264 §8: a new offer has at least as many m= lines as the description before it."""

    label = "sdp_stream_count_shrank"


class UnsupportedProfile(NegotiationError):
    """The stream's transport protocol is not one of the four RTP profiles that we speak."""

    label = "sdp_unsupported_profile"
    warning_code = 303


class NoCommonCodec(NegotiationError):
    """No audio format of the peer's is one of ours."""

    label = "sdp_no_common_codec"
    warning_code = 305


class UnusableAddress(NegotiationError):
    """Media cannot be sent to the address that the description names."""

    label = "sdp_unusable_address"
    warning_code = 302


class AddressFamilyMismatch(NegotiationError):
    """The peer's media is on IPv6 and ours on IPv4, or the other way round."""

    label = "sdp_address_family"
    warning_code = 301


class SecureMediaRequired(NegotiationError):
    """Our policy takes SRTP only."""

    label = "sdp_secure_media_required"


class SecureMediaUnavailable(NegotiationError):
    """Our policy takes plain RTP only."""

    label = "sdp_secure_media_unavailable"


class NoUsableCrypto(NegotiationError):
    """A secure stream without a crypto line that we can honour. It is never answered with plain RTP."""

    label = "sdp_no_usable_crypto"


class StreamRejected(NegotiationError):
    """The answer refuses the audio stream of our offer."""

    label = "sdp_stream_rejected"


class AnswerMismatch(NegotiationError):
    """The answer does not belong to our offer."""

    label = "sdp_answer_mismatch"
