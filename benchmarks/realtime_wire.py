"""What one append and one audio delta cost, in microseconds of CPU: our wire against websockets' own client.

    python benchmarks/realtime_wire.py [--uvloop]

The peer is a raw TCP server in another process, so that only the client is measured. CPU is this process's (user and
system), the socket's calls included. An append carries 20 ms of PCMU, a delta 20 ms and 200 ms.
"""

import argparse
import asyncio
import base64
import json
import multiprocessing
import resource
import socket
import sys
import threading
from collections.abc import Awaitable, Callable

from websockets.asyncio.client import connect
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from gateway.backends.openai.backend import OpenAiBackend, OpenAiEndpoint
from gateway.realtime.event import AudioDelta, RealtimeEvent, SessionFailed
from gateway.realtime.settings import SessionSettings

APPENDS = 20_000
DELTAS = 5_000
FRAME = bytes(range(160))


def delta_message(length: int, number: int) -> bytes:
    """One delta, written as OpenAI writes it."""
    event = {
        "type": "response.output_audio.delta",
        "event_id": f"event_{number:024}",
        "response_id": "resp_CabcdefghijklmnopQRSTU",
        "item_id": "item_CabcdefghijklmnopQRSTU",
        "output_index": 0,
        "content_index": 0,
        "delta": base64.b64encode(bytes([number % 251]) * length).decode(),
    }
    return json.dumps(event, separators=(",", ":")).encode()


def serve(listener: socket.socket, length: int) -> None:
    """Greets, then sends the deltas as fast as they are taken, and swallows what it is sent. For ever."""
    deltas = [Frame(Opcode.TEXT, delta_message(length, number)).serialize(mask=False) for number in range(DELTAS)]
    while True:
        connection, _ = listener.accept()
        core = ServerProtocol()
        core.receive_data(connection.recv(65536))
        request = core.events_received()[0]
        if not isinstance(request, Request):
            raise SystemExit(f"no upgrade, but {request!r}")
        core.send_response(core.accept(request))
        for kind in (b"session.created", b"session.updated"):
            core.send_text(b'{"type":"' + kind + b'","session":{}}')
        connection.sendall(b"".join(core.data_to_send()))
        connection.recv(65536)  # session.update, or the stock client's first message
        threading.Thread(target=swallow, args=(connection,), daemon=True).start()
        if length:
            for delta in deltas:  # one segment each, as a service sends them
                connection.sendall(delta)


def swallow(connection: socket.socket) -> None:
    """Takes everything."""
    while connection.recv(2**18):
        pass


def cpu_s() -> float:
    """CPU seconds of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def ours_append(url: str) -> float:
    """CPU seconds of one append through a session."""
    session = OpenAiBackend("bench", OpenAiEndpoint(url=url)).create_session(lambda _event: None)
    await session.open(SessionSettings())
    begin = cpu_s()
    for number in range(APPENDS):
        session.append_audio(FRAME)
        if number % 16 == 0:
            await asyncio.sleep(0.001)  # as in a call, the socket is never full
    cost = (cpu_s() - begin) / APPENDS
    if session.dropped_input_ms:
        raise SystemExit("the peer was the limit: audio was dropped")
    await session.aclose()
    return cost


async def theirs_append(url: str) -> float:
    """CPU seconds of one append through websockets' client."""
    async with connect(url, compression=None, max_size=None, close_timeout=0.1) as connection:
        begin = cpu_s()
        for number in range(APPENDS):
            audio = base64.b64encode(FRAME).decode()
            await connection.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
            if number % 16 == 0:
                await asyncio.sleep(0.001)
        return (cpu_s() - begin) / APPENDS


async def ours_delta(url: str) -> float:
    """CPU seconds of one delta through a session."""
    done = asyncio.Event()
    count = 0

    def sink(event: RealtimeEvent) -> None:
        nonlocal count
        if isinstance(event, AudioDelta):
            count += 1
            if count == DELTAS:
                done.set()
        elif isinstance(event, SessionFailed):
            raise SystemExit(event.detail)

    session = OpenAiBackend("bench", OpenAiEndpoint(url=url)).create_session(sink)
    begin = cpu_s()
    await session.open(SessionSettings())
    await done.wait()
    cost = (cpu_s() - begin) / DELTAS
    await session.aclose()
    return cost


async def theirs_delta(url: str) -> float:
    """CPU seconds of one delta through websockets' client."""
    begin = cpu_s()
    async with connect(url, compression=None, max_size=None, close_timeout=0.1) as connection:
        await connection.send("{}")
        count = 0
        while count < DELTAS:
            event = json.loads(await connection.recv())
            if event["type"] == "response.output_audio.delta":
                AudioDelta(event["response_id"], event["item_id"], base64.b64decode(event["delta"]))
                count += 1
    return (cpu_s() - begin) / DELTAS


def measure(bench: Callable[[str], Awaitable[float]], length: int, use_uvloop: bool) -> float:
    """Microseconds an operation, against a peer of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    peer = multiprocessing.get_context("fork").Process(target=serve, args=(listener, length), daemon=True)
    peer.start()
    url = f"ws://127.0.0.1:{listener.getsockname()[1]}/v1/realtime"

    async def run() -> float:
        return await bench(url)

    try:
        if use_uvloop:
            import uvloop

            return uvloop.run(run()) * 1e6
        return asyncio.run(run()) * 1e6
    finally:
        peer.terminate()
        peer.join()
        listener.close()


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--uvloop", action="store_true", help="run on uvloop, as the gateway does")
    use_uvloop = parser.parse_args().uvloop
    rows: list[tuple[str, Callable[[str], Awaitable[float]], Callable[[str], Awaitable[float]], int]] = [
        ("append of 20 ms", ours_append, theirs_append, 0),
        ("delta of 20 ms", ours_delta, theirs_delta, 160),
        ("delta of 200 ms", ours_delta, theirs_delta, 1600),
    ]
    sys.stdout.write(f"{'microseconds of CPU each':<26}{'this wire':>12}{'websockets client':>20}\n")
    for label, ours, theirs, length in rows:
        ours_us, theirs_us = (min(measure(one, length, use_uvloop) for _ in range(3)) for one in (ours, theirs))
        sys.stdout.write(f"{label:<26}{ours_us:>12.1f}{theirs_us:>20.1f}\n")


if __name__ == "__main__":
    main()
