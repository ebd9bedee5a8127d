"""The modes for measuring and load: echo, talk, silent."""

import base64
import json
from typing import Any

import numpy as np

from gateway.embedded.audio import WireFormat
from gateway.embedded.load import EchoSession, SilentSession, TalkSession
from gateway.embedded.session import Session
from tests.gateway.embedded.realtime_peer import Peer, counting_token, tone, types

OPENING = [
    "response.created",
    "rate_limits.updated",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
]
CLOSING = [
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "response.output_item.done",
    "conversation.item.done",
    "response.done",
]


def peer_of(mode: type[Session]) -> Peer:
    peer = Peer(mode("embedded-x", token=counting_token(), wall_time_s=1_800_000_000))
    peer.configure()
    return peer


def append(peer: Peer, payload: bytes, **fields: Any) -> list[dict[str, Any]]:
    return peer.send("input_audio_buffer.append", audio=base64.b64encode(payload).decode(), **fields)


def test_echo_gives_audio_back_at_once_in_one_long_response() -> None:
    peer = peer_of(EchoSession)
    first = append(peer, b"\x01" * 160)
    assert types(first, without_deltas=False) == [*OPENING, "response.output_audio.delta"]
    second = append(peer, b"\x02" * 161)
    assert types(second, without_deltas=False) == ["response.output_audio.delta"]
    assert base64.b64decode(second[0]["delta"]) == b"\x02" * 161


def test_echo_ends_with_cancel_and_begins_anew() -> None:
    peer = peer_of(EchoSession)
    append(peer, bytes(1600))
    assert types(peer.send("response.cancel")) == CLOSING
    item = peer.last("response.done")["response"]["output"][0]
    assert peer.last("response.done")["response"]["usage"]["output_token_details"]["audio_tokens"] == 4
    truncated = peer.send("conversation.item.truncate", item_id=item["id"], content_index=0, audio_end_ms=200)
    assert types(truncated) == ["conversation.item.truncated"]
    assert types(append(peer, bytes(160))) == OPENING


def test_echo_takes_json_that_is_written_in_other_ways() -> None:
    peer = peer_of(EchoSession)
    for text in (
        '{"type":"input_audio_buffer.append","audio":"AAEC"}',
        '{"event_id": "x", "type" : "input_audio_buffer.append" , "audio" : "AAEC"}',
        '{"audio": "AAEC", "type": "input_audio_buffer.append"}',
        '{"type":"input_audio_buffer.append","audio":"\\u0041AEC"}',
    ):
        assert peer.send_raw(text.encode())[-1]["delta"] == "AAEC"


def test_an_append_without_audio_is_an_error() -> None:
    peer = peer_of(EchoSession)
    for text in ('{"type":"input_audio_buffer.append"}', '{"type":"input_audio_buffer.append","audio":5}'):
        assert types(peer.send_raw(text.encode())) == ["error"]


def test_talk_speaks_without_end_at_the_pace_of_playback() -> None:
    peer = peer_of(TalkSession)
    assert types(append(peer, bytes(160))) == OPENING
    peer.run(1.05)
    assert [event["response"]["status"] for event in peer.of_type("response.done")] == ["completed"]
    assert sum(len(base64.b64decode(e["delta"])) for e in peer.of_type("response.output_audio.delta")) == 8 * 8000
    append(peer, bytes(160))
    peer.run(60)
    assert 7 <= len(peer.of_type("response.done")) <= 8


def test_talk_is_quiet_after_a_cancel_until_it_is_asked_again() -> None:
    peer = peer_of(TalkSession)
    peer.send("response.create")
    peer.run(0.2)
    peer.send("response.cancel")
    assert types(peer.run(30)) == []
    assert types(peer.send("response.create")) == OPENING


def test_talk_speaks_a_tone_in_every_format() -> None:
    for wire_format in WireFormat:
        peer = Peer(TalkSession("embedded-talk", token=counting_token(), wall_time_s=0), wire_format=wire_format)
        peer.configure()
        peer.send("response.create")
        peer.run(1.5)
        audio = b"".join(base64.b64decode(e["delta"]) for e in peer.of_type("response.output_audio.delta"))
        assert wire_format.duration_ms(len(audio)) == 8000
        assert np.abs(wire_format.decode(audio).astype(np.int32)).max() > 6000


def test_silent_answers_settings_and_items_but_says_nothing() -> None:
    peer = peer_of(SilentSession)
    assert append(peer, WireFormat.PCMU.encode(tone(200), 8000)) == []
    assert peer.send("response.create") == []
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}
    assert types(peer.send("conversation.item.create", item=item)) == [
        "conversation.item.added",
        "conversation.item.done",
    ]
    assert peer.run(600) == []
    assert json.dumps(peer.last("session.updated"))
