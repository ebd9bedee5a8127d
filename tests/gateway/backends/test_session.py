"""A session against a server that is really there, and often unkind."""

import asyncio
import base64
import gc
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from gateway import fast
from gateway.backends.openai.backend import OpenAiBackend, OpenAiEndpoint
from gateway.backends.openai.dialect import AZURE, OPENAI
from gateway.backends.session import WireSession
from gateway.backends.wire import Wire
from gateway.realtime import errors
from gateway.realtime.capability import AudioFormat
from gateway.realtime.event import (
    AudioDelta,
    FailureReason,
    RealtimeEvent,
    ResponseDone,
    ResponseStarted,
    ResponseStatus,
    SessionFailed,
)
from gateway.realtime.settings import SessionSettings
from tests.fakes.realtime_server import (
    Peer,
    RealtimeServer,
    audio_delta,
    error,
    realtime_server,
    response_created,
    response_done,
)


class Caller:
    """A session with the list of what it told, for one endpoint."""

    def __init__(self, endpoint: OpenAiEndpoint) -> None:
        self.events: list[RealtimeEvent] = []
        self._arrival = asyncio.Event()
        self.session: WireSession = OpenAiBackend("test", endpoint).create_session(self.take)

    def take(self, event: RealtimeEvent) -> None:
        self.events.append(event)
        self._arrival.set()

    async def wait_for(self, wanted: Callable[[RealtimeEvent], bool]) -> RealtimeEvent:
        while True:
            for event in self.events:
                if wanted(event):
                    return event
            self._arrival.clear()
            await self._arrival.wait()

    async def failure(self) -> SessionFailed:
        event = await self.wait_for(lambda event: isinstance(event, SessionFailed))
        assert isinstance(event, SessionFailed)
        return event


def quick(server: RealtimeServer) -> OpenAiEndpoint:
    """Waits short enough for a test, long enough for a busy machine."""
    return OpenAiEndpoint(url=server.url, api_key="sk-test", close_timeout_s=0.2)


async def silent(peer: Peer) -> None:
    await peer.greet()
    await peer.drain()


@pytest.fixture
def self_signed(tmp_path: Path) -> ssl.SSLContext:
    """A server's context with a certificate that it signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    begin = datetime(2020, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, begin, begin + timedelta(days=36500))
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.PEM)
    )
    pem = tmp_path / "server.pem"
    pem.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


@pytest.fixture(
    autouse=True,
    params=[
        pytest.param(False, id="transport"),
        pytest.param(True, id="shortcut", marks=pytest.mark.skipif(not fast.is_compiled, reason="nothing is compiled")),
    ],
)
def _either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every session goes through its transport, and then past it from the first moment on."""
    receive_upgrade = Wire._receive_upgrade

    def receive_and_leave_the_transport(self: Wire, head: bytes, rest: bytes) -> None:
        receive_upgrade(self, head, rest)
        self.take_shortcut()

    if request.param:
        monkeypatch.setattr(Wire, "_receive_upgrade", receive_and_leave_the_transport)


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    """After every test the loop has no task but the test's, and no transport is open."""
    yield
    await asyncio.sleep(0)
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
    gc.collect()


async def opened(server: RealtimeServer, **changes: object) -> Caller:
    caller = Caller(replace(quick(server), **changes))  # type: ignore[arg-type]
    await caller.session.open(SessionSettings(instructions="Be brief."))
    return caller


async def test_open_sends_key_and_model_and_waits_for_the_settings_to_be_confirmed() -> None:
    async with realtime_server(silent) as server:
        caller = await opened(server, model="gpt-realtime-2.1", headers=(("OpenAI-Project", "proj_1"),))
        peer = server.peers[0]
        assert peer.path == "/v1/realtime?model=gpt-realtime-2.1"
        assert peer.headers["Authorization"] == "Bearer sk-test"
        assert peer.headers["OpenAI-Project"] == "proj_1"
        assert "OpenAI-Beta" not in peer.headers
        assert "Sec-WebSocket-Extensions" not in peer.headers
        assert peer.received[0]["type"] == "session.update"
        await caller.session.aclose()


async def test_azure_takes_the_key_in_its_own_header() -> None:
    async with realtime_server(silent) as server:
        caller = await opened(server, dialect=AZURE)
        assert server.peers[0].headers["api-key"] == "sk-test"
        assert "Authorization" not in server.peers[0].headers
        await caller.session.aclose()


async def test_no_key_sends_no_authorisation() -> None:
    async with realtime_server(silent) as server:
        caller = await opened(server, api_key="")
        assert "Authorization" not in server.peers[0].headers
        await caller.session.aclose()


@pytest.mark.parametrize(
    ("status", "expected", "retryable"),
    [
        (401, errors.ModelUnauthorisedError, False),
        (403, errors.ModelForbiddenError, False),
        (404, errors.ModelNotFoundError, False),
        (429, errors.ModelRateLimitError, True),
        (500, errors.ModelUpgradeError, True),
    ],
)
async def test_refused_upgrade_tells_why(status: int, expected: type[errors.ModelError], retryable: bool) -> None:
    async with realtime_server(silent, refuse=status, body='{"error":"no such thing"}') as server:
        caller = Caller(quick(server))
        with pytest.raises(expected, match="no such thing") as caught:
            await caller.session.open(SessionSettings())
        assert type(caught.value) is expected
        assert caught.value.retryable is retryable
        assert caught.value.sip_status == 503
        assert caller.events == []


async def test_labels_of_the_errors_are_distinct() -> None:
    classes = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.ModelError)]
    assert len({one.label for one in classes}) == len(classes)


async def test_host_without_address_is_unresolved() -> None:
    caller = Caller(OpenAiEndpoint(url="ws://no-such-host.invalid/v1/realtime"))
    with pytest.raises(errors.ModelUnresolvedError):
        await caller.session.open(SessionSettings())


async def test_url_that_is_none_is_unresolved() -> None:
    caller = Caller(OpenAiEndpoint(url="http://localhost/v1/realtime"))
    with pytest.raises(errors.ModelUnresolvedError):
        await caller.session.open(SessionSettings())


async def test_closed_port_is_refused() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    caller = Caller(OpenAiEndpoint(url=f"ws://127.0.0.1:{port}/v1/realtime"))
    with pytest.raises(errors.ModelRefusedError):
        await caller.session.open(SessionSettings())


async def test_server_that_never_answers_the_upgrade_times_out() -> None:
    async with realtime_server(silent, mute=True) as server:
        caller = Caller(replace(quick(server), open_timeout_s=0.05))
        with pytest.raises(errors.ModelTimeoutError):
            await caller.session.open(SessionSettings())


async def test_server_that_does_not_speak_http_fails_the_upgrade() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        caller = Caller(OpenAiEndpoint(url=f"ws://127.0.0.1:{port}/v1/realtime"))
        with pytest.raises(errors.ModelUpgradeError):
            await caller.session.open(SessionSettings())


async def test_connection_broken_before_the_upgrade_is_answered() -> None:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        caller = Caller(OpenAiEndpoint(url=f"ws://127.0.0.1:{port}/v1/realtime"))
        with pytest.raises((errors.ModelRefusedError, errors.ModelUpgradeError)):
            await caller.session.open(SessionSettings())


async def test_certificate_that_nobody_trusts_is_a_tls_fault(self_signed: ssl.SSLContext) -> None:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=self_signed)
    async with server:
        port = server.sockets[0].getsockname()[1]
        caller = Caller(OpenAiEndpoint(url=f"wss://127.0.0.1:{port}/v1/realtime"))
        with pytest.raises(errors.ModelTlsError, match="self-signed"):
            await caller.session.open(SessionSettings())


async def test_settings_that_are_never_confirmed_time_out() -> None:
    async def script(peer: Peer) -> None:
        await peer.send({"type": "session.created", "session": {}})
        await peer.drain()

    async with realtime_server(script) as server:
        caller = Caller(replace(quick(server), settings_timeout_s=0.05))
        with pytest.raises(errors.ModelTimeoutError):
            await caller.session.open(SessionSettings())


async def test_settings_that_are_refused_say_so() -> None:
    async def script(peer: Peer) -> None:
        await peer.send({"type": "session.created", "session": {}})
        update = await peer.receive("session.update")
        await peer.send(error("invalid_value", "no such voice", str(update["event_id"])))
        await peer.drain()

    async with realtime_server(script) as server:
        caller = Caller(quick(server))
        with pytest.raises(errors.ModelSettingsError, match="no such voice"):
            await caller.session.open(SessionSettings(voice="nobody"))


async def test_quota_that_is_used_up_while_opening_is_a_rate_limit() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(error("insufficient_quota", "You exceeded your current quota"))
        await peer.drain()

    async with realtime_server(script) as server:
        caller = Caller(quick(server))
        with pytest.raises(errors.ModelRateLimitError, match="quota"):
            await caller.session.open(SessionSettings())


async def test_close_while_opening_is_a_lost_session() -> None:
    async def script(peer: Peer) -> None:
        await peer.send({"type": "session.created", "session": {}})
        await peer.close(1011, "oops")

    async with realtime_server(script) as server:
        caller = Caller(quick(server))
        with pytest.raises(errors.ModelSessionLostError, match="oops"):
            await caller.session.open(SessionSettings())


async def test_cancelled_open_leaves_nothing() -> None:
    async with realtime_server(silent, mute=True) as server:
        caller = Caller(quick(server))
        opening = asyncio.create_task(caller.session.open(SessionSettings()))
        await asyncio.sleep(0.02)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening


async def test_open_that_is_cancelled_as_the_upgrade_comes_leaves_no_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    receive_upgrade = Wire._receive_upgrade

    def receive_and_cancel(self: Wire, head: bytes, rest: bytes) -> None:
        receive_upgrade(self, head, rest)
        opening.cancel()

    gone = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.connection.wait_closed()
        gone.set()

    monkeypatch.setattr(Wire, "_receive_upgrade", receive_and_cancel)
    async with realtime_server(script) as server:
        caller = Caller(quick(server))
        opening = asyncio.create_task(caller.session.open(SessionSettings()))
        with pytest.raises(asyncio.CancelledError):
            await opening
        async with asyncio.timeout(5):
            await gone.wait()


async def test_greeting_in_the_same_segment_as_the_upgrade_is_heard() -> None:
    # websockets' server does not write so; a raw one does.
    from websockets.frames import Frame, Opcode
    from websockets.server import ServerProtocol

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        core = ServerProtocol()
        core.receive_data(await reader.read(4096))
        core.send_response(core.accept(core.events_received()[0]))  # type: ignore[arg-type]
        created = Frame(Opcode.TEXT, b'{"type":"session.created","session":{}}').serialize(mask=False)
        updated = Frame(Opcode.TEXT, b'{"type":"session.updated","session":{}}').serialize(mask=False)
        updated += Frame(Opcode.TEXT, b'{"type":"response.created","response":{"id":"resp_1"}}').serialize(mask=False)
        writer.write(b"".join(core.data_to_send()) + created + updated[:7])
        await writer.drain()
        await reader.read(4096)
        for byte in updated[7:]:  # and one frame in single bytes
            writer.write(bytes([byte]))
            await writer.drain()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        caller = Caller(OpenAiEndpoint(url=f"ws://127.0.0.1:{port}/v1/realtime", close_timeout_s=0.05))
        await caller.session.open(SessionSettings())
        await caller.wait_for(lambda event: isinstance(event, ResponseStarted))
        await caller.session.aclose()


async def test_nothing_is_lost_that_comes_before_open_has_its_wire() -> None:
    from websockets.frames import Frame, Opcode
    from websockets.server import ServerProtocol

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        core = ServerProtocol()
        core.receive_data(await reader.read(4096))
        core.send_response(core.accept(core.events_received()[0]))  # type: ignore[arg-type]
        kinds = (
            'session.created","session":{}',
            'session.updated","session":{}',
            'response.created","response":{"id":"r"}',
        )
        messages = [f'{{"type":"{kind}}}'.encode() for kind in kinds]
        frames = b"".join(Frame(Opcode.TEXT, message).serialize(mask=False) for message in messages)
        writer.write(b"".join(core.data_to_send()) + frames)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        caller = Caller(OpenAiEndpoint(url=f"ws://127.0.0.1:{port}/v1/realtime", close_timeout_s=0.05))
        await caller.session.open(SessionSettings())
        assert caller.events == [ResponseStarted("r")]
        await caller.session.aclose()


async def test_caller_audio_goes_out_undecoded_in_twenty_millisecond_pieces() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.drain()

    async with realtime_server(script) as server:
        caller = await opened(server)
        frames = [bytes([number]) * 160 for number in range(5)]
        for frame in frames:
            caller.session.append_audio(frame)
        await caller.session.aclose()
        appended = [event for event in server.peers[0].received if event["type"] == "input_audio_buffer.append"]
        assert [base64.b64decode(str(event["audio"])) for event in appended] == frames


async def test_appends_are_batched_as_the_session_is_told() -> None:
    async with realtime_server(silent) as server:
        caller = await opened(server, append_ms=60)
        for number in range(7):
            caller.session.append_audio(bytes([number]) * 160)
        caller.session.append_ms = 20
        caller.session.append_audio(b"\7" * 160)
        await caller.session.aclose()
        appended = [event for event in server.peers[0].received if event["type"] == "input_audio_buffer.append"]
        assert [len(base64.b64decode(str(event["audio"]))) for event in appended] == [480, 480, 320]


async def test_audio_before_the_session_is_open_is_kept_for_two_seconds() -> None:
    async with realtime_server(silent) as server:
        caller = Caller(quick(server))
        for number in range(150):
            caller.session.append_audio(bytes([number]) * 160)
        assert caller.session.dropped_input_ms == 1000
        await caller.session.open(SessionSettings())
        caller.session.append_audio(b"\xff" * 160)
        await caller.session.aclose()
        sent = b"".join(
            base64.b64decode(str(event["audio"]))
            for event in server.peers[0].received
            if event["type"] == "input_audio_buffer.append"
        )
        assert sent == b"".join(bytes([number]) * 160 for number in range(50, 150)) + b"\xff" * 160


async def test_stalled_writes_drop_the_oldest_audio_and_count_it_then_fail() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.stall()

    async with realtime_server(script) as server:
        caller = await opened(server, write_stall_s=0.1)
        while not caller.events:  # the loopback takes some hundred kB before it stalls
            for _ in range(100):
                caller.session.append_audio(b"\x7f" * 160)
            await asyncio.sleep(0.001)
        failure = await caller.failure()
        assert failure.reason is FailureReason.WRITE_STALLED
        assert failure.retryable
        assert caller.session.dropped_input_ms > 0
        await caller.session.aclose()


async def test_half_open_connection_is_given_up_after_an_unanswered_ping() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.stall()

    async with realtime_server(script) as server:
        caller = await opened(server, ping_interval_s=0.1, ping_timeout_s=0.1)
        assert (await caller.failure()).reason is FailureReason.UNRESPONSIVE
        await caller.session.aclose()


async def test_request_that_nobody_answers_is_given_up_also_where_nothing_was_awaited_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.backends.session.CHECK_INTERVAL_S", 0.02)
    monkeypatch.setattr("gateway.backends.openai.response.UNANSWERED_REQUEST_S", 0.0)
    asked = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.receive("response.create")
        await peer.receive("response.create")
        asked.set()
        await peer.drain()

    async with realtime_server(script) as server:
        caller = await opened(server, ping_interval_s=1000.0)
        await asyncio.sleep(0.1)  # by now it rests until a ping is due
        caller.session.create_response("One.")
        caller.session.create_response("Two.")
        async with asyncio.timeout(10):
            await asked.wait()
        await caller.session.aclose()


async def test_speech_reaches_the_sink_in_order_and_whole() -> None:
    pieces = [bytes([number]) * (97 * number) for number in range(1, 60)]

    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.receive("response.create")
        await peer.send(response_created())
        await peer.send(*(audio_delta(piece, event_id=f"event_{len(piece)}") for piece in pieces))
        await peer.send(response_done())
        await peer.drain()

    async with realtime_server(script) as server:
        caller = await opened(server)
        caller.session.create_response("Greet the caller.")
        await caller.wait_for(lambda event: isinstance(event, ResponseDone))
        assert caller.events[0] == ResponseStarted("resp_1")
        heard = [event for event in caller.events if isinstance(event, AudioDelta)]
        assert [event.audio for event in heard] == pieces
        assert caller.events[-1] == ResponseDone("resp_1", ResponseStatus.COMPLETED, "", None)
        await caller.session.aclose()


async def test_fragmented_and_binary_messages_are_read() -> None:
    import json

    message = json.dumps(audio_delta(b"\x55" * 160))

    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.send_raw([message[:10], message[10:50], message[50:]])
        await peer.send_raw(message.encode())
        await peer.send(response_done())
        await peer.drain()

    async with realtime_server(script) as server:
        caller = await opened(server)
        await caller.wait_for(lambda event: isinstance(event, ResponseDone))
        heard = [event for event in caller.events if isinstance(event, AudioDelta)]
        assert [event.audio for event in heard] == [b"\x55" * 160] * 2
        await caller.session.aclose()


async def test_message_over_the_limit_ends_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.backends.wire.MAX_MESSAGE_BYTES", 2**17)

    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.receive("input_audio_buffer.append")
        await peer.send_raw("x" * (2**17 + 1))
        await peer.drain()

    async with realtime_server(script) as server:
        caller = await opened(server)
        caller.session.append_audio(b"\xff" * 160)
        failure = await caller.failure()
        assert failure.reason is FailureReason.PROTOCOL
        await caller.session.aclose()


async def test_twenty_megabyte_message_is_survived() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.send_raw('{"type":"conversation.item.retrieved","item":"' + "A" * 20_000_000 + '"}')
        await peer.send(response_done())
        await peer.drain()

    async with realtime_server(script) as server:
        caller = await opened(server)
        await caller.wait_for(lambda event: isinstance(event, ResponseDone))
        await caller.session.aclose()


@pytest.mark.parametrize(
    ("code", "text", "reason", "retryable"),
    [
        (1001, "Your session hit the maximum duration of 60 minutes.", FailureReason.EXPIRED, True),
        (1000, "", FailureReason.CLOSED, True),
        (1011, "internal", FailureReason.SERVER_FAULT, True),
        (1008, "policy", FailureReason.PROTOCOL, False),
        (4000, "insufficient_quota", FailureReason.QUOTA, False),
    ],
)
async def test_close_in_mid_word_fails_the_session_once(
    code: int, text: str, reason: FailureReason, retryable: bool
) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.receive("input_audio_buffer.append")
        await peer.send(response_created(), audio_delta(b"\x55" * 160))
        await peer.close(code, text)

    async with realtime_server(script) as server:
        caller = await opened(server)
        caller.session.append_audio(b"\xff" * 160)
        failure = await caller.failure()
        assert (failure.reason, failure.retryable) == (reason, retryable)
        await asyncio.sleep(0.02)
        await caller.session.aclose()
        assert sum(isinstance(event, SessionFailed) for event in caller.events) == 1
        assert caller.events[-1] is failure


async def test_connection_that_breaks_fails_the_session_once() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.receive("input_audio_buffer.append")
        await peer.send(response_created())
        peer.abort()

    async with realtime_server(script) as server:
        caller = await opened(server)
        caller.session.append_audio(b"\xff" * 160)
        assert (await caller.failure()).reason is FailureReason.CONNECTION_LOST
        await caller.session.aclose()
        assert sum(isinstance(event, SessionFailed) for event in caller.events) == 1


async def test_expiry_told_by_an_error_and_a_close_is_one_failure() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.receive("input_audio_buffer.append")
        await peer.send(error("session_expired", "Your session hit the maximum duration of 60 minutes."))
        await peer.close(1001, "Your session hit the maximum duration of 60 minutes.")

    async with realtime_server(script) as server:
        caller = await opened(server)
        caller.session.append_audio(b"\xff" * 160)
        failure = await caller.failure()
        assert failure.reason is FailureReason.EXPIRED
        await asyncio.sleep(0.02)
        await caller.session.aclose()
        assert caller.events == [failure]


async def test_commands_after_the_end_do_nothing() -> None:
    async with realtime_server(silent) as server:
        caller = await opened(server)
        session = caller.session
        await session.aclose()
        session.append_audio(b"\0" * 160)
        session.create_response()
        session.cancel_response()
        session.truncate("item_1", 5)
        session.end_turn()
        session.send_tool_result("call_1", "{}")
        session.send_text("hello")
        await session.aclose()
        assert caller.events == []
        with pytest.raises(errors.ModelSessionLostError):
            await session.open(SessionSettings())


async def test_aclose_does_not_wait_for_a_server_that_does_not_answer() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.stall()

    async with realtime_server(script) as server:
        caller = await opened(server, close_timeout_s=0.05)
        await asyncio.sleep(0.02)
        await caller.session.aclose()
        assert caller.events == []


async def test_sink_may_command_the_session_from_within_an_event() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.send(response_created(), audio_delta(b"\x55" * 800), audio_delta(b"\x66" * 800), response_done())
        assert (await peer.receive("conversation.item.truncate"))["audio_end_ms"] == 40
        await peer.drain()

    async with realtime_server(script) as server:
        caller = Caller(quick(server))

        def cut_at_first_delta(event: RealtimeEvent) -> None:
            caller.take(event)
            if isinstance(event, AudioDelta):
                caller.session.truncate(event.item_id, 40)

        caller.session.sink = cut_at_first_delta
        await caller.session.open(SessionSettings())
        await caller.wait_for(lambda event: isinstance(event, ResponseDone))
        assert sum(isinstance(event, AudioDelta) for event in caller.events) == 1
        await caller.session.aclose()


async def test_audio_in_another_format_is_bounded_by_its_own_time() -> None:
    async with realtime_server(silent) as server:
        caller = Caller(replace(quick(server), dialect=OPENAI))
        await caller.session.open(SessionSettings(input_format=AudioFormat.PCM16_24K))
        caller.session.append_audio(bytes(960))
        await caller.session.aclose()
        assert len(server.peers[0].received) == 2
