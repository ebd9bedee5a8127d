"""What happens to calls when something happens to the process: a stop, a full house, a lost model, a stranger."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers.gateway_process import SILENT, TALK, GatewayProcess
from tests.helpers.raw_caller import RawCaller, described, status_of
from tests.helpers.sipp import LOOPBACK, SippRun, run_sipp

pytestmark = [pytest.mark.sipp, pytest.mark.process]

STRANGER = "127.0.0.9"


@contextmanager
def a_running_call(
    gateway: GatewayProcess, scenario: str, folder: Path, *, number: str = SILENT, hold_ms: int = 1000
) -> Iterator[Callable[[], SippRun]]:
    """A call that is up when the context begins; what is yielded waits for its outcome."""
    outcome: list[SippRun] = []
    thread = threading.Thread(
        target=lambda: outcome.append(
            run_sipp(scenario, gateway.sip_address, folder, number=number, hold_ms=hold_ms, timeout_s=20)
        )
    )

    def finish() -> SippRun:
        thread.join()
        return outcome[0]

    thread.start()
    try:
        gateway.wait_for_event("answered", within_s=10)
        yield finish
    finally:
        thread.join()


def children(pid: int) -> list[int]:
    """The processes that this process has started."""
    tasks = Path(f"/proc/{pid}/task")
    return [int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()]


def test_stop_ends_running_calls_with_bye_and_exits_cleanly(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path / "gateway") as gateway:
        with a_running_call(gateway, "uac-gateway-bye", tmp_path / "call", number=TALK) as finish:
            gateway.stop()
            run = finish()
        run.assert_clean()
        assert gateway.wait_for_record(run.sip_call_id)["end"]["reason"] == "gateway_stopped"


def test_stop_does_not_wait_for_an_ack_that_never_comes(tmp_path: Path) -> None:
    """64*T1 are 32 s; `GatewayProcess.stop` allows 20, and asks for exit code 0."""
    with (
        GatewayProcess(tmp_path / "gateway") as gateway,
        RawCaller(gateway.sip_address, SILENT) as caller,
    ):
        caller.send(caller.write("INVITE", described()))
        assert status_of(caller.final("INVITE")) == 200
        gateway.stop()
        caller.receive(lambda message: message.startswith("BYE "))
        assert gateway.wait_for_record(caller.sip_call_id)["end"]["reason"] == "gateway_stopped"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as successor:
            successor.bind(gateway.sip_address)


def test_call_beyond_the_limit_is_503__rfc3261_21_5_4(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path / "gateway", calls=1) as gateway:
        with a_running_call(gateway, "uac-basic-call-rtp", tmp_path / "first", hold_ms=2000) as finish:
            second = run_sipp("uac-model-unavailable", gateway.sip_address, tmp_path / "second", number=SILENT)
            first = finish()
        first.assert_clean()
        second.assert_clean()
        (refusal,) = second.received(status=503)
        assert refusal.header("Retry-After") is not None


def test_options_of_a_full_gateway_get_what_an_invite_would__rfc3261_11_2(tmp_path: Path) -> None:
    with (
        GatewayProcess(tmp_path / "gateway", calls=1) as gateway,
        RawCaller(gateway.sip_address, SILENT) as prober,
        RawCaller(gateway.sip_address, SILENT) as caller,
    ):
        assert status_of(prober.ask("OPTIONS")) == 200
        assert status_of(caller.ask("INVITE", described())) == 200
        refusal = prober.ask("OPTIONS")
        assert (status_of(refusal), "\r\nRetry-After: " in refusal) == (503, True)
        assert status_of(caller.ask("OPTIONS")) == 200, "in its dialog a call is asked for, not a further one"
        caller.hang_up()
        gateway.wait_until_state(lambda state: state["calls"] == 0)
        assert status_of(prober.ask("OPTIONS")) == 200


def test_lost_model_ends_the_call_with_bye(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path / "gateway") as gateway:
        with a_running_call(gateway, "uac-gateway-bye", tmp_path / "call") as finish:
            for child in children(gateway.pid):  # the embedded server
                os.kill(child, signal.SIGKILL)
            run = finish()
        run.assert_clean()
        assert gateway.wait_for_record(run.sip_call_id)["end"]["reason"] == "model_lost"


def test_stranger_gets_no_answer(gateway: GatewayProcess) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as friend,
    ):
        for sock, host in ((stranger, STRANGER), (friend, LOOPBACK)):
            sock.bind((host, 0))
            port = sock.getsockname()[1]
            request = (
                "OPTIONS sip:gateway SIP/2.0\r\n"
                f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK-{port}\r\n"
                f"From: <sip:someone@{host}>;tag=1\r\nTo: <sip:gateway>\r\nCall-ID: {port}@{host}\r\n"
                "CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
            )
            sock.sendto(request.encode(), gateway.sip_address)
        friend.settimeout(5)
        assert friend.recv(65_535).startswith(b"SIP/2.0 200 ")
        stranger.setblocking(False)
        # The stranger's request came first on the same socket of the gateway: it has been looked at by now.
        with pytest.raises(BlockingIOError):
            stranger.recv(65_535)
