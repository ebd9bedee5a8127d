"""What must hold of the parser for any bytes whatever. Shared by the hypothesis tests and the atheris target."""

from sip.body import session_description
from sip.errors import SipError, SipParseError
from sip.framing import StreamFramer
from sip.message import Message, Request, Response, parse_message
from sip.wire import HEADER_COUNT_LIMIT

# The names that a response to a malformed request may hold. Any other was smuggled in.
COPIED = {"Via", "From", "To", "Call-ID", "CSeq"}


def read_everything(message: Message) -> None:
    """Asks every accessor: none may raise."""
    for name in dir(type(message)):
        if isinstance(getattr(type(message), name), property):
            getattr(message, name)
    for name in {name for name, _ in message.headers.items()}:
        message.headers.values(name)


def check_message(data: bytes) -> Message | None:
    """Parses `data` as a datagram; the message, or None where it was refused as it should be."""
    try:
        message = parse_message(data)
    except SipParseError as error:
        check_refusal(error)
        return None
    read_everything(message)
    check_body(message)
    if len(message.headers) < HEADER_COUNT_LIMIT and len(data) < 16_384:  # writing adds a Content-Length and long names
        check_round_trip(message)
    if isinstance(message, Request):
        check_answer(message)
    return message


def check_body(message: Message) -> None:
    """A session description is found, there is none, or the body is refused; it is never anything but a piece of it."""
    status = 200
    try:
        description = session_description(message)
    except SipError as error:
        description, status = b"", error.status
    assert description in message.body
    assert status in {200, 400, 415}


def check_round_trip(message: Message) -> None:
    """What is written is read again as the same fields and body."""
    again = parse_message(bytes(message))
    assert [item for item in again.headers.items() if item[0] != "Content-Length"] == [
        item for item in message.headers.items() if item[0] != "Content-Length"
    ]
    assert again.body == message.body


def check_refusal(error: SipParseError) -> None:
    """An error has a status and a label that are known, and its answer holds nothing but what it must."""
    assert error.status in {400, 413, 505, 513}
    assert error.label.isidentifier()
    assert str(error).isprintable()
    if error.partial is not None:
        answer = bytes(error.partial.create_response(error.status, to_tag="ours"))
        head, _, body = answer.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")[1:]
        assert {line.partition(b":")[0].decode() for line in lines} == {*COPIED, "Content-Length"}
        assert b"\r" not in head.replace(b"\r\n", b"")
        assert b"\n" not in head.replace(b"\r\n", b"")
        assert body == b""


def check_answer(request: Request) -> None:
    """The answer to a request that parsed is itself a message that parses, and belongs to the request."""
    for status in (100, 200, 500):
        response = parse_message(bytes(request.create_response(status, to_tag="ours")))
        assert isinstance(response, Response)
        assert response.headers.get_all("Via") == request.headers.get_all("Via")
        assert (response.call_id, response.cseq) == (request.call_id, request.cseq)
        assert response.to.params.has("tag")


def check_stream(data: bytes, cut: int) -> None:
    """Feeds `data` to a framer in two pieces: it may refuse, and what it yields are pieces of `data` in order."""
    framer = StreamFramer()
    items = []
    try:
        for piece in (data[:cut], data[cut:]):
            items += list(framer.feed(piece))
    except SipParseError as error:
        check_refusal(error)
    position = 0
    for item in items:
        if isinstance(item, bytes):
            position = data.index(item, position) + len(item)
            check_message(item)
