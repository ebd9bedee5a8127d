"""Keys of SRTP appear in answers and nowhere else: not in a log line of any level, a call record, or on a terminal."""

import base64
import re
import secrets
import socket
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import pytest
from pylibsrtp import Policy, Session

from rtp.packet import RtpPacket
from tests.helpers.gateway_process import ECHO, GatewayProcess, Record
from tests.helpers.raw_caller import RawCaller, status_of
from tests.helpers.sipp import LOOPBACK

pytestmark = pytest.mark.process

SUITE: Final = "AES_CM_128_HMAC_SHA1_80"
KEY_OCTETS: Final = 16
MATERIAL_OCTETS: Final = 30
# How many characters of a key are no chance any more, though Call-IDs of random digits stand all about.
BASE64_PIECE: Final = 9
HEX_PIECE: Final = 16
HEARD_WITHIN_S: Final = 10.0
_LINE: Final = re.compile(r"^a=crypto:\d+ (\S+) inline:([A-Za-z0-9+/=]+)", re.MULTILINE)


def crypto(key: bytes, suite: str = SUITE) -> str:
    return f"a=crypto:1 {suite} inline:{base64.b64encode(key).decode()}\r\n"


def offer(port: int, keys: str, version: int = 1, media: str = "RTP/SAVP 0") -> str:
    return (
        f"v=0\r\no=- 1 {version} IN IP4 {LOOPBACK}\r\ns=-\r\nc=IN IP4 {LOOPBACK}\r\nt=0 0\r\n"
        f"m=audio {port} {media}\r\n{keys}"
    )


class SecureMedia(AbstractContextManager["SecureMedia"]):
    """The media side of a caller, whose keys change."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((LOOPBACK, 0))
        self._number = 0
        self.port = self._socket.getsockname()[1]

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def is_heard(self, answer: str, ours: bytes, theirs: bytes) -> bool:
        """Whether speech under our key brings packets that theirs opens, within a while."""
        media = re.search(r"^m=audio (\d+) ", answer, re.MULTILINE)
        assert media is not None
        profile = Policy.SRTP_PROFILE_AES128_CM_SHA1_80
        protect = Session(Policy(ours, Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile)).protect
        unprotect = Session(Policy(theirs, Policy.SSRC_ANY_INBOUND, srtp_profile=profile)).unprotect
        self._socket.settimeout(0.02)
        deadline = time.monotonic() + HEARD_WITHIN_S
        opened = 0
        while opened < 5 and time.monotonic() < deadline:
            self._number += 1
            plain = bytes(RtpPacket(0, self._number, self._number * 160, 7, b"\x0a\x8a" * 80, marker=False))
            for packet in (protect(plain), plain, secrets.token_bytes(180)):  # and what no key has made
                self._socket.sendto(packet, (LOOPBACK, int(media[1])))
            try:
                while data := self._socket.recv(2048):
                    try:
                        unprotect(data)
                    except Exception:  # noqa: BLE001 - of the former key, or what libsrtp has no class of its own for
                        continue
                    opened += 1
            except TimeoutError:
                continue
        return opened >= 5


def key_of(answer: str) -> bytes:
    line = _LINE.search(answer)
    assert line is not None, answer
    assert line[1] == SUITE
    return base64.b64decode(line[2])


def cut(form: str, length: int) -> set[str]:
    return {form[at : at + length] for at in range(len(form) - length + 1)}


def pieces_of(key: bytes) -> set[str]:
    """Pieces of a key, or of its master key and salt apart, in every form in which they could have been written."""
    pieces = set[str]()
    for part in (key, key[:KEY_OCTETS], key[KEY_OCTETS:]):
        pieces |= cut(base64.b64encode(part).decode().rstrip("="), BASE64_PIECE)
        pieces |= cut(base64.urlsafe_b64encode(part).decode().rstrip("="), BASE64_PIECE)
        for form in (part.hex(), part.hex().upper(), part.hex(" "), part.hex(":")):
            pieces |= cut(form, HEX_PIECE)
        pieces |= {repr(part)[2:-1], str(list(part[:8]))[1:-1]}
    return pieces


def written(folder: Path) -> dict[str, str]:
    """All that the gateway wrote: its log, its standard output, its records, and whatever else is in its folder."""
    return {str(path): path.read_text("utf-8", "replace") for path in folder.rglob("*") if path.is_file()}


def broken_offers(port: int, key: bytes) -> list[str]:
    """Offers with a key that cannot be used, as devices and middle boxes spoil them."""
    text = base64.b64encode(key).decode()
    line = crypto(key)
    return [
        offer(port, crypto(key[:-1])),
        offer(port, crypto(key + key)),
        offer(port, crypto(key, "AES_256_CM_HMAC_SHA1_80")),
        offer(port, line.replace("inline:", "inline:*")),
        offer(port, line.replace("\r\n", f"|1:4;inline:{text}|2:4\r\n")),
        offer(port, line.replace("\r\n", " UNENCRYPTED_SRTP\r\n")),
        offer(port, line.replace("a=crypto:1", "a=crypto 1")),
        offer(port, line.replace(" inline", "\r\n inline")),  # folded, which SDP does not know
        offer(port, line.replace("inline:", "inline:\r\n")),
        offer(port, f"a={text}\r\n"),
        offer(port, f"{text}\r\n"),
        offer(port, f"k=base64:{text}\r\n"),
        offer(port, "", media=f"RTP/SAVP 0 {line}"),
        offer(port, "", media=f" {line}"),
        offer(port, line).replace("c=IN IP4", f"c=inline:{text} "),
        offer(port, line).replace("o=- 1 1", f"o=inline:{text}"),
        offer(port, line).replace("t=0 0", f"t=inline:{text}"),
        offer(port, f"b=inline:{text}\r\n"),
        offer(port, line).replace("c=IN IP4 127.0.0.1", f"c=IN IP4 {text}"),
        offer(port, f"a=rtpmap:96 {text}/8000\r\n", media="RTP/SAVP 96"),
        offer(port, line, media=f"inline:{text} 0"),
        offer(port, line, media=f"{text.replace('/', '-')} 0"),
    ]


def test_no_key_is_ever_written_down__rfc4568_10_3(tmp_path: Path) -> None:
    def adapt(configuration: Record) -> None:
        configuration["logging"] = {"level": "debug", "format": "json", "personal": True}
        configuration["trunks"]["loopback"]["srtp"] = "required"

    ours, broken = ([secrets.token_bytes(MATERIAL_OCTETS) for _ in range(2)] for _ in range(2))
    theirs: list[bytes] = []
    with GatewayProcess(tmp_path, calls=100, adapt=adapt) as gateway:
        with SecureMedia() as media, RawCaller(gateway.sip_address, ECHO) as caller:
            for version, key in enumerate(ours, 1):
                answer = caller.ask("INVITE", offer(media.port, crypto(key), version))
                assert status_of(answer) == 200
                theirs.append(key_of(answer))
                assert media.is_heard(answer, key, theirs[-1])
            for version, body in enumerate(broken_offers(media.port, broken[0]), 3):
                assert status_of(caller.ask("INVITE", body.replace("o=- 1 1", f"o=- 1 {version}"))) in {400, 488}
            for body in broken_offers(media.port, broken[1]):
                with RawCaller(gateway.sip_address, ECHO) as other:
                    assert status_of(other.ask("INVITE", body)) in {400, 488}
            gateway.state()
            caller.hang_up()
            record = gateway.wait_for_record(caller.sip_call_id)
        gateway.state()
        gateway.wait_until_state(lambda state: state["calls"] == 0)
    # That there was something to look through: the call was secure, was told of at length, and was recorded.
    assert record["media"]["encrypted"] == SUITE
    assert record["media"]["discarded"]["authentication"] > 0
    assert theirs[0] != theirs[1]
    events = [line.get("event") for line in gateway.log_events]
    assert events.count("refused") >= 5
    assert events.count("state") >= 2
    assert any(line["level"] == "debug" for line in gateway.log_events)
    texts = written(tmp_path)
    assert any(path.endswith("stderr.log") for path in texts)
    for key in (*ours, *theirs, *broken):
        for piece in pieces_of(key):
            found = [
                f"{path}: {line}" for path, text in texts.items() if piece in text
                for line in text.splitlines() if piece in line
            ]  # fmt: skip
            assert not found, f"{piece} of a key stands in\n" + "\n".join(found)
