"""The harness itself: a scenario that goes wrong must not look like one that went well."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers.rtp_capture import SILENT_FRAME, TELEPHONE_EVENT, RtpPeer, percentile, tone_frame
from tests.helpers.sipp import LOOPBACK, Address, run_sipp

COPIED = ("via:", "from:", "to:", "call-id:", "cseq:")


@contextmanager
def a_responder(status_line: str | None) -> Iterator[Address]:
    """A UDP port that gives every request the same answer, or none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((LOOPBACK, 0))

        def respond() -> None:
            while (received := sock.recvfrom(65_535))[0] != b"end":
                request, source = received
                head = request.decode().split("\r\n\r\n")[0].split("\r\n")
                copied = [line for line in head[1:] if line.lower().startswith(COPIED)]
                if status_line is not None:
                    lines = [status_line, *copied, "Content-Length: 0", "", ""]
                    sock.sendto("\r\n".join(lines).encode(), source)

        thread = threading.Thread(target=respond)
        thread.start()
        try:
            yield sock.getsockname()
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
                waker.sendto(b"end", sock.getsockname())
            thread.join()


@pytest.mark.sipp
def test_run_tells_what_went_well(tmp_path: Path) -> None:
    with a_responder("SIP/2.0 481 Call/Transaction Does Not Exist") as remote:
        run = run_sipp("uac-bye-unknown-dialog", remote, tmp_path, timeout_s=10)

    run.assert_clean()
    assert (run.successful, run.failed, run.unexpected) == (1, 0, 0)
    assert [(message.is_sent, message.method) for message in run.messages] == [(True, "BYE"), (False, "BYE")]
    assert run.messages[1].status == 481
    assert run.messages[0].header("call-id") == run.sip_call_id


@pytest.mark.sipp
def test_unexpected_answer_fails_with_the_trace_in_the_message(tmp_path: Path) -> None:
    with a_responder("SIP/2.0 200 Fine By Me") as remote:
        run = run_sipp("uac-bye-unknown-dialog", remote, tmp_path, timeout_s=10)

    assert run.failed == 1
    assert run.unexpected >= 1
    with pytest.raises(AssertionError, match="200 Fine By Me"):
        run.assert_clean()


@pytest.mark.sipp
def test_answer_without_what_the_scenario_checks_fails(tmp_path: Path) -> None:
    with a_responder("SIP/2.0 200 OK") as remote:
        run = run_sipp("uac-options", remote, tmp_path, timeout_s=10)

    assert run.failed == 1
    with pytest.raises(AssertionError, match="Allow"):
        run.assert_clean()


@pytest.mark.sipp
def test_silence_fails(tmp_path: Path) -> None:
    with a_responder(None) as remote:
        run = run_sipp("uac-bye-unknown-dialog", remote, tmp_path, timeout_s=2)

    with pytest.raises(AssertionError, match="did not go as written"):
        run.assert_clean()


async def test_peer_keeps_what_the_other_peer_plays() -> None:
    async with RtpPeer.open() as caller, RtpPeer.open() as callee:
        caller.remote = (LOOPBACK, callee.port)
        sent = await caller.play([SILENT_FRAME] * 40 + [tone_frame()] * 3)
        await caller.press("5")
        await callee.packet_count(40 + 3 + 5 + 3 + 5)

    assert callee.sequence_faults() == 0, "the sequence number wrapped on the way"
    assert callee.packets[0].sequence > callee.packets[-1].sequence
    assert [packet.payload[0] for packet in callee.packets if packet.payload_type == TELEPHONE_EVENT] == [5] * 8
    assert [packet.first_loud_sample is not None for packet in callee.packets].count(True) >= 3
    assert callee.heard_after_ms(sent[40], within_s=1) is not None
    assert len(callee.gaps_ms()) == len(callee.packets) - 1


async def test_peer_counts_breaks_in_the_sequence() -> None:
    async with RtpPeer.open(sequence=10) as caller, RtpPeer.open() as callee:
        caller.remote = (LOOPBACK, callee.port)
        await caller.play([SILENT_FRAME])
        caller.skip(1)
        await caller.play([SILENT_FRAME])
        await callee.packet_count(2)

    assert callee.sequence_faults() == 1


def test_percentile_is_a_value_that_was_measured() -> None:
    assert percentile([5, 1, 3, 2, 4], 50) == 3
    assert percentile([5, 1, 3, 2, 4], 99) == 5
    assert percentile([7], 1) == 7
