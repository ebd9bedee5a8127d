"""A call's model under seeded chance, written down in full: for holding two implementations to each other.

`python -m tests.helpers.session_fuzz 0 1 2` prints one digest for each seed. From the caller's packets to
the frames on the wire, and from the octets of the socket to the playout: whatever a service may send, in whatever cut,
and whatever a call may ask, in any order, only the seed decides. No time passes.
"""

import asyncio
import hashlib
import json
import logging
import random
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

from gateway.backends.endpoint import WireEndpoint
from gateway.backends.handshake import handshake_with
from gateway.backends.openai.dialect import OPENAI
from gateway.backends.openai.protocol import OpenAiProtocol
from gateway.backends.session import WarmStart, WireSession
from gateway.backends.wire import Wire, WireReceiver
from gateway.bridge import Bridge
from gateway.call.conversation import Conversation, Utterance
from gateway.call.model import CallModel
from gateway.call.prompt import Prompts
from gateway.call.surroundings import ModelSurroundings
from gateway.log import ContextLogger
from gateway.realtime.event import SessionFailed, ToolCall
from gateway.realtime.session import EventSink
from gateway.realtime.settings import SessionSettings
from rtp.fast import TurnPath
from rtp.packet import RtpPacket
from rtp.parameters import StreamParameters
from rtp.playout import PlayedItem
from rtp.stream import RtpStream
from tests.fakes import realtime_server as server
from tests.fakes.transport import FakeTransport

STEPS: Final = 1500
FAR_END: Final = ("198.51.100.7", 12692)
ENDPOINT: Final = WireEndpoint("ws://localhost/v1/realtime")


class _Leg(TurnPath):
    """A leg without sockets (gateway.leg.AudioLeg)."""

    def __init__(self, stream: RtpStream, chance: random.Random) -> None:
        self.turning = stream
        self.mouth = None
        self._stream = stream
        self._chance = chance
        self._sequence_number = self._timestamp = 0

    def _take_care(self, now: float) -> None:
        """Nothing is ticked."""

    def finish(self, item_id: str) -> None:
        self._stream.playout.finish(item_id)

    def flush(self) -> list[PlayedItem]:
        return self._stream.playout.flush()

    def sent_ms(self, item_id: str) -> int:
        return self._stream.playout.sent_ms(item_id)

    def hear(self) -> None:
        """A packet of the caller; now and then one is lost."""
        payload = self._chance.randbytes(self._chance.choice((80, 160, 160, 160, 240)))
        if self._chance.random() < 0.97:
            packet = RtpPacket(0, self._sequence_number & 0xFFFF, self._timestamp, 7, payload)
            self._stream.receive_datagram(bytes(packet), FAR_END, self._timestamp / 8000)
        self._sequence_number += 1
        self._timestamp += len(payload)


class _Greeter:
    """Owns the wire until the session takes it."""

    def message_received(self, message: bytes) -> None:
        raise AssertionError(f"too early: {message!r}")

    def writing_resumed(self) -> None:
        """Nothing was written."""

    def wire_closed(self, _closure: object) -> None:
        raise AssertionError("closed too early")


class _Pool:
    """One open wire that waits for its session (gateway.backends.warm.WarmPool)."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.counters: Counter[str] = Counter()

    def take(self, receiver: WireReceiver) -> tuple[Wire, list[bytes]]:
        self.wire.hand_over(receiver)
        return self.wire, [b'{"type":"session.created","session":{}}', b'{"type":"session.updated","session":{}}']


class _Backend:
    name = "fuzz"
    capabilities = OPENAI.capabilities

    def __init__(self, wire: Wire) -> None:
        self._warm = WarmStart(_Pool(wire), OpenAiProtocol)  # type: ignore[arg-type]  # of the pool only `take` is asked
        self.sessions: list[WireSession] = []

    def create_session(self, sink: EventSink) -> WireSession:
        session = WireSession(ENDPOINT, OpenAiProtocol(), self.capabilities, sink, warm=self._warm)
        self.sessions.append(session)
        return session


class _World:
    """One call's model, with chance for a service, a caller and a network."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.lines: list[str] = []
        self.server = ServerProtocol()
        self.wire = Wire(ENDPOINT, handshake_with(ENDPOINT.url, ENDPOINT.headers), _Greeter())
        self.transport = FakeTransport(self.wire)
        self.wire.connection_made(self.transport)
        self.server.receive_data(self._written())
        self.server.send_response(self.server.accept(self.server.events_received()[0]))  # type: ignore[arg-type]
        self.wire.data_received(b"".join(self.server.data_to_send()))
        self.backend = _Backend(self.wire)
        self.conversation = Conversation(0.0)
        surroundings = ModelSurroundings(
            history=tuple,
            is_speaking=lambda: False,
            spawn=asyncio.get_running_loop().create_task,
            clock=lambda: 1.0,
            logger=ContextLogger(logging.getLogger("fuzz"), {}),
            prompts=Prompts(),
            filler_after_seconds=0.0,
            give_up_after_seconds=0.0,
            prices={},
        )
        self.model = CallModel([self.backend], surroundings)
        self.bridge = Bridge(self.model, self.conversation, self, lambda: 1.0)
        self.model.sink = self.bridge.on_model_event
        parameters = StreamParameters(remote=FAR_END)
        stream = RtpStream(parameters, self.bridge, ssrc=1, sequence_number=1, timestamp=1, now=0.0)
        self.playout = stream.playout
        self.leg = _Leg(stream, self.chance)
        self.bridge.attach(self.leg)
        self.response = self.item = 0
        self.rest = b""

    def _written(self) -> bytes:
        written = bytes(self.transport.written)
        self.transport.written.clear()
        return written

    # --- what the bridge tells the call ---

    def on_digit(self, digit: str, duration_ms: int) -> None:
        self.lines.append(f"digit {digit} {duration_ms}")

    def on_tool_call(self, call: ToolCall) -> None:
        self.lines.append(f"told {call}")

    def on_tool_cancelled(self, tool_call_id: str) -> None:
        self.lines.append(f"told {tool_call_id}")

    def on_model_failed(self, failure: SessionFailed) -> None:
        self.lines.append(f"closed {failure}")

    def on_playout_drained(self) -> None:
        self.lines.append("told drained")

    def on_said(self, utterance: Utterance) -> None:
        self.lines.append(f"told {utterance.speaker.value} {utterance.text}")

    def on_interrupted(self, heard_ms: int) -> None:
        self.lines.append(f"told interrupted {heard_ms}")

    def on_turn(self, latency_ms: int | None) -> None:
        self.lines.append(f"turn {latency_ms}")

    # --- what happens ---

    def live(self) -> None:
        for _ in range(STEPS):
            self._step()
            self._write_down()
        self.wire.connection_lost(None)

    def _write_down(self) -> None:
        """What was sent, and where the account stands."""
        if written := self._written():
            self.server.receive_data(written)
            for event in self.server.events_received():
                text = isinstance(event, Frame) and event.opcode is Opcode.TEXT and bytes(event.data).decode()
                self.lines.append(f"sent {text or event}")
        said = self.conversation.utterances[-1:]
        session = self.backend.sessions[-1]
        self.lines.append(f"item {said} {self.playout.queued_octets} {session.append_ms} {session.dropped_input_ms}")

    def _step(self) -> None:
        match self.chance.choices(range(10), (40, 30, 12, 2, 2, 2, 3, 2, 2, 1))[0]:
            case 0:
                self.leg.hear()
            case 1:
                self._deliver(self._frame(json.dumps(self._delta(), separators=(",", ":")).encode()))
            case 2:
                frame = self.playout.next_frame()
                self.lines.append(f"spoke {frame.hex() if frame else None} {self.playout.current_item_id}")
            case 3:
                self.response += 1
                self._tell(server.response_created(f"resp_{self.response}"))
                self.item += 1
            case 4:
                self.item += self.chance.randrange(2)
                self._tell(server.audio_done(response_id=f"resp_{self.response}", item_id=f"item_{self.item}"))
            case 5:
                status = self.chance.choice(("completed", "cancelled", "failed"))
                self._tell(server.response_done(f"resp_{self.response}", status))
            case 6:
                self._deliver(self.chance.choice(list(self._odd_octets())))
            case 7:
                if self.wire.paused:
                    self.wire.resume_writing()
                else:
                    self.wire.pause_writing()
            case 8:
                self._command()
            case _:
                kind = self.chance.choice(("started", "stopped"))
                self._tell({"type": f"input_audio_buffer.speech_{kind}", "item_id": f"said_{self.item}"})

    def _command(self) -> None:
        match self.chance.randrange(5):
            case 0:
                self.model.create_response()
            case 1:
                self.model.cancel_response()
            case 2:
                self.model.append_ms = self.chance.choice((0, 20, 40, 60))
            case 3:
                self.model.truncate(f"item_{self.item}", self.chance.randrange(500))
            case _:
                self.model.send_text("A note.")

    def _delta(self) -> dict[str, Any]:
        event = server.audio_delta(
            self.chance.randbytes(self.chance.choice((0, 1, 160, 320, 333))),
            response_id=f"resp_{self.response}",
            item_id=f"item_{self.item - (self.chance.random() < 0.05)}",
            event_id=f"event_{len(self.lines)}",
        )
        if self.chance.random() < 0.05:
            event = dict(sorted(event.items()))
        if self.chance.random() < 0.03:
            event = {**event, "delta": self.chance.choice(("AA@A", "AAA", "\\", '"', "é"))}
        return event

    def _odd_octets(self) -> Iterator[bytes]:
        message = json.dumps(self._delta(), separators=(",", ":")).encode()
        cut = self.chance.randrange(len(message))
        yield self._frame(message) + self._frame(message)
        yield self._frame(message[:cut], fin=False) + self._frame(message[cut:], Opcode.CONT)
        yield self._frame(b"", Opcode.PING) + self._frame(message)
        yield self._frame(b"{broken")
        yield self._frame(json.dumps({"type": "unheard.of", "padding": "x" * 70_000}).encode())
        yield self._frame(message, Opcode.BINARY)

    @staticmethod
    def _frame(message: bytes, opcode: Opcode = Opcode.TEXT, *, fin: bool = True) -> bytes:
        return Frame(opcode, message, fin).serialize(mask=False)

    def _tell(self, event: dict[str, Any] | Any) -> None:
        self._deliver(self._frame(json.dumps(event).encode()))

    def _deliver(self, octets: bytes) -> None:
        """As a socket reads: mostly a message at a time, and sometimes its halves."""
        octets = self.rest + octets
        self.rest = b""
        if self.chance.random() < 0.1:
            cut = self.chance.randrange(len(octets) + 1)
            octets, self.rest = octets[:cut], octets[cut:]
        if octets:
            self.wire.data_received(octets)


async def _diary(seed: int) -> list[str]:
    world = _World(seed)
    await world.model.open(SessionSettings())
    world.live()
    world.model.stop()
    await world.model.aclose()
    return world.lines


def diary(seed: int) -> list[str]:
    """All that was told, sent and counted."""
    return asyncio.run(_diary(seed))


def digest(seed: int) -> str:
    """The diary in short."""
    return hashlib.sha256("\n".join(diary(seed)).encode()).hexdigest()


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        sys.stdout.write(digest(int(argument)) + "\n")
