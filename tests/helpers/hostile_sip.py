"""Datagrams made to cost as much as they can, in any size. What they cost must stay in proportion to their bytes."""

from collections.abc import Callable, Mapping
from typing import Final

from sip.grammar import PARAMETER_LIMIT
from sip.header import ADDRESS_LIMIT, LIST_LIMIT
from sip.wire import HEADER_COUNT_LIMIT, HEADER_SECTION_LIMIT

_MINIMUM: Final = {
    "Via": "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1",
    "From": "<sip:a@192.0.2.1>;tag=1",
    "To": "<sip:b@192.0.2.1>",
    "Call-ID": "1",
    "CSeq": "1 INVITE",
    "Contact": "<sip:a@192.0.2.1>",
}


def _invite(
    lines: Mapping[str, str] | None = None, extra: str = "", uri: str = "sip:b@192.0.2.1", body: bytes = b""
) -> bytes:
    fields = "".join(f"{name}: {value}\r\n" for name, value in {**_MINIMUM, **(lines or {})}.items())
    return f"INVITE {uri} SIP/2.0\r\n{fields}{extra}\r\n".encode() + body


def _fill(unit: str, size: int, spare: int = 600) -> str:
    """`unit` as often as it fits into a header section of `size` bytes together with the rest of the message."""
    return unit * max(1, (min(size, HEADER_SECTION_LIMIT) - spare) // len(unit))


def _full_lists(size: int) -> bytes:
    """Every list full, every value with as many parameters as are allowed: what the limits leave to do."""
    share = (min(size, HEADER_SECTION_LIMIT) - 600) / HEADER_SECTION_LIMIT
    params = "".join(f";{chr(97 + i % 26)}{i // 26 or ''}" for i in range(PARAMETER_LIMIT))
    vias = ",".join([f"SIP/2.0/UDP a{params}"] * int(LIST_LIMIT * share))
    routes = ",".join([f"<sip:a>{params}"] * int(ADDRESS_LIMIT * share))
    return _invite({"Via": vias}, f"Record-Route: {routes}\r\nRoute: {routes}\r\n")


HOSTILE: Final[Mapping[str, Callable[[int], bytes]]] = {
    "one header value of letters": lambda size: _invite(extra=f"Subject: {_fill('x', size)}\r\n"),
    "no colon, no line": lambda size: b"x" * size,
    "no SIP at all": lambda size: bytes(range(256)) * (size // 256),
    "only line breaks": lambda size: b"\r\n" * (size // 2),
    "only folds": lambda size: _invite(extra=f"Subject: {_fill(chr(13) + chr(10) + ' ', size)}x\r\n"),
    "long fold": lambda size: _invite(extra=f"Subject: a\r\n{_fill(' ', size)}x\r\n"),
    "spaces before a colon": lambda size: _invite(extra=f"Subject{_fill(' ', size)}: x\r\n"),
    "many header fields": lambda size: _invite(extra="Q: x\r\n" * min(HEADER_COUNT_LIMIT - 6, size // 6)),
    "too many header fields": lambda size: _invite(extra=_fill("Q:\r\n", size)),
    "colons": lambda size: _invite(extra=f"Q{_fill(':', size)}\r\n"),
    "duplicates": lambda size: _invite(extra="To: <sip:a>\r\n" * min(200, size // 13)),
    "parameters of From": lambda size: _invite({"From": f"<sip:a>{_fill(';a', size)}"}),
    "parameters of a URI": lambda size: _invite({"From": f"<sip:a{_fill(';a=b', size)}>"}),
    "parameters of the Request-URI": lambda size: _invite(uri=f"sip:a{_fill(';a', size)}"),
    "headers of a URI": lambda size: _invite({"To": f"<sip:a?{_fill('a=b&', size)}a=b>"}),
    "escapes in a URI": lambda size: _invite({"To": f"<sip:{_fill('%41', size)}@a>"}),
    "half escapes in a URI": lambda size: _invite({"To": f"<sip:{_fill('%4', size)}@a>"}),
    "user without host": lambda size: _invite({"To": f"<sip:{_fill('a:', size)}>"}),
    "at signs": lambda size: _invite({"To": f"<sip:{_fill('@', size)}>"}),
    "dots in a host": lambda size: _invite({"To": f"<sip:a@{_fill('a.', size)}b>"}),
    "colons in an address": lambda size: _invite({"To": f"<sip:a@[{_fill(':', size)}]>"}),
    "digits in a port": lambda size: _invite({"To": f"<sip:a@b:{_fill('1', size)}>"}),
    "digits in CSeq": lambda size: _invite({"CSeq": f"{_fill('9', size)} INVITE"}),
    "zeros in CSeq": lambda size: _invite({"CSeq": f"{_fill('0', size)}1 INVITE"}),
    "digits in Content-Length": lambda size: _invite(extra=f"Content-Length: {_fill('9', size)}\r\n"),
    "digits in Expires": lambda size: _invite(extra=f"Expires: {_fill('9', size)}\r\n"),
    "open quotations": lambda size: _invite({"From": _fill('"', size) + "x"}),
    "open quotation of escapes": lambda size: _invite({"From": '"' + _fill('\\"', size)}),
    "quotations in a list": lambda size: _invite({"Contact": _fill('"",', size)}),
    "angle brackets": lambda size: _invite({"From": _fill("<", size)}),
    "open brackets in a list": lambda size: _invite({"Contact": _fill("<,", size)}),
    "commas": lambda size: _invite({"Contact": _fill(",", size)}),
    "Vias": lambda size: _invite({"Via": _fill("SIP/2.0/UDP a,", size) + "SIP/2.0/UDP a"}),
    "spaces in a Via": lambda size: _invite({"Via": f"SIP{_fill(' ', size)}/2.0"}),
    "spaces between parameters": lambda size: _invite({"From": f"<sip:a>;a{_fill(' ', size)}="}),
    "words in a display name": lambda size: _invite({"From": f"{_fill('a ', size)}"}),
    "option tags": lambda size: _invite(extra=f"Supported: {_fill('a,', size)}a\r\n"),
    "required option tags": lambda size: _invite(extra=f"Require: {_fill('a,', size)}a\r\n"),
    "full lists of full values": _full_lists,
    "Latin-1": lambda size: _invite(extra=f"Subject: {_fill('x', size)}\r\n").replace(b"x", b"\xe9"),
    "controls behind backslashes": lambda size: _invite({"From": '"' + _fill("\\\x01", size) + '" <sip:a>'}),
    "bare line feeds": lambda size: _invite(extra=f"Subject: {_fill(chr(10), size)}\r\n"),
    "body": lambda size: _invite(extra="Content-Type: application/sdp\r\n", body=b"a=x\r\n" * ((size - 300) // 5)),
}  # fmt: skip
