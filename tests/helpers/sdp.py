"""Session descriptions for tests: vectors from files, short texts, and a local side with predictable keys."""

from collections.abc import Iterator
from pathlib import Path

from sip.sdp.capability import AudioCapabilities, LocalMedia, SrtpMode, SrtpPolicy
from sip.sdp.codec import PCMU, CodecSpec
from sip.sdp.crypto import DEFAULT_SUITES, CryptoSuite
from sip.sdp.description import SessionDescription

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "sdp"
VECTOR_NAMES = sorted(path.stem for path in VECTORS.glob("*.sdp"))

HEADER = "v=0|o=- 1 1 IN IP4 10.0.0.1|s=-|c=IN IP4 192.0.2.1|t=0 0"


def vector_bytes(name: str) -> bytes:
    return (VECTORS / f"{name}.sdp").read_bytes()


def vector(name: str) -> SessionDescription:
    return SessionDescription.parse(vector_bytes(name))


def described(text: str, *further_lines: str) -> SessionDescription:
    """A description from lines between bars; a text that begins with m= gets a usual session part before it.

    `further_lines` follow as they are, bars and all.
    """
    if text.startswith("m="):
        text = f"{HEADER}|{text}"
    return SessionDescription.parse("".join(f"{line}\r\n" for line in (*text.split("|"), *further_lines)).encode())


def written(description: SessionDescription) -> list[str]:
    """The lines as they go out."""
    text = bytes(description).decode()
    assert text.endswith("\r\n")
    return text[:-2].split("\r\n")


class CountingKeys:
    """A key source that gives 1, 1, 1… then 2, 2, 2… so that a test sees which key went where."""

    def __init__(self) -> None:
        self.given = 0

    def __call__(self, length: int) -> bytes:
        self.given += 1
        return bytes([self.given]) * length


def local_media(
    address: str = "203.0.113.9", port: int = 40000, version: int = 1, keys: CountingKeys | None = None
) -> LocalMedia:
    return LocalMedia(address, port, session_id=77, key_source=keys or CountingKeys(), version=version)


def capable_of(*codecs: CodecSpec, srtp: SrtpMode = SrtpMode.FORBIDDEN) -> AudioCapabilities:
    return AudioCapabilities(codecs or (PCMU,), srtp=policy(srtp))


def policy(mode: SrtpMode, suites: tuple[CryptoSuite, ...] = DEFAULT_SUITES) -> SrtpPolicy:
    return SrtpPolicy(mode, suites)


def audio_lines(description: SessionDescription, index: int = 0) -> Iterator[str]:
    return description.media[index].lines()
