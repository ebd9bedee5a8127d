"""The bars of the first real call, measured on the real gateway process with a real SIPp.

Usage, from the project's root: `.venv/bin/python -m benchmarks.first_light` (about two minutes). It prints one table,
leaves the figures as JSON in `bench-first-light/`, and exits with 1 where a bar is missed.

SIPp makes the load and does not look at what it hears. Gaps and delays are measured by media peers of our own, whose
calls run among SIPp's and whose arrival times are the kernel's.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Final

from benchmarks.measure import Measure, at_most, exactly, exit_code, keep, show, told
from tests.helpers.gateway_process import ECHO, SILENT, TALK, GatewayProcess, Record, SipTimers
from tests.helpers.rtp_capture import SILENT_FRAME, RtpPeer, percentile, tone_frame
from tests.helpers.sipp import LOOPBACK, SippRun, run_sipp

ROOT: Final = Path(__file__).resolve().parents[1]

LOAD_CALLS: Final = 300
LOAD_CALLS_A_SECOND: Final = 20
LOAD_AT_ONCE: Final = 60
LOAD_HOLD_MS: Final = 3000
PROBES: Final = 6  # of the calls at once, those that are listened to
SET_UP_CALLS: Final = 60
DELAY_CALLS: Final = 6
TONES_A_CALL: Final = 12
TONE_FRAMES: Final = 5
PAUSE_FRAMES: Final = 20
SEQUENCE_CALLS: Final = 100
WARM_UP_CALLS: Final = 30
FAST_TIMERS: Final = SipTimers(t1_ms=100, t2_ms=800, t4_ms=1000)  # 64*T1 is 6.4 s: the wait for idle is short


async def probe_call(
    gateway: GatewayProcess,
    folder: Path,
    number: str,
    hold_ms: int,
    act: Callable[[RtpPeer], Awaitable[None]],
) -> tuple[RtpPeer, SippRun]:
    """One call with a media peer of ours; `act` runs while it lasts."""
    async with RtpPeer.open() as peer:
        keys: dict[str, str | int] = {"rtp_ip": LOOPBACK, "rtp_port": peer.port}
        sipp = asyncio.create_task(
            asyncio.to_thread(
                run_sipp, "uac-external-media", gateway.sip_address, folder,
                number=number, hold_ms=hold_ms, keys=keys, timeout_s=hold_ms / 1000 + 20,
            )
        )  # fmt: skip
        try:
            await peer.first_packet(within_s=15)
            await act(peer)
        finally:
            run = await sipp
    run.assert_clean()
    return peer, run


async def speak_throughout(peer: RtpPeer, seconds: float) -> None:
    """The caller's own side of a probe: RTP both ways."""
    await peer.play([SILENT_FRAME] * round(seconds * 50))


async def measure_load(gateway: GatewayProcess, folder: Path) -> Iterable[Measure]:
    """The basic call under load, and the gaps that a caller hears meanwhile."""
    load_s = LOAD_CALLS / LOAD_CALLS_A_SECOND + LOAD_HOLD_MS / 1000
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(PROBES + 1))  # a thread for each SIPp
    cpu_before, began = gateway.cpu_seconds(), time.monotonic()
    load = asyncio.create_task(
        asyncio.to_thread(
            run_sipp, "load/uac-basic-load", gateway.sip_address, folder / "load",
            number=ECHO, calls=LOAD_CALLS, calls_a_second=LOAD_CALLS_A_SECOND, at_once=LOAD_AT_ONCE,
            hold_ms=LOAD_HOLD_MS, timeout_s=120, trace_messages=False,
        )
    )  # fmt: skip
    await asyncio.sleep(LOAD_HOLD_MS / 1000)  # until the load is at its height
    probe_s = load_s - 2 * LOAD_HOLD_MS / 1000
    async with asyncio.TaskGroup() as group:
        probes = [
            group.create_task(
                probe_call(
                    gateway, folder / f"probe-{index}", TALK, round(probe_s * 1000),
                    lambda peer: speak_throughout(peer, probe_s - 1),
                )
            )
            for index in range(PROBES)
        ]  # fmt: skip
    run = await load
    cpu = (gateway.cpu_seconds() - cpu_before) / (time.monotonic() - began)
    peers = [probe.result()[0] for probe in probes]
    gaps = [gap for peer in peers for gap in peer.gaps_ms()]
    load_name = f"{LOAD_CALLS} calls at {LOAD_CALLS_A_SECOND}/s, {LOAD_AT_ONCE} at once"
    return (
        exactly(f"{load_name}: successful", run.successful, LOAD_CALLS),
        exactly("  failed", run.failed),
        exactly("  unexpected messages", run.unexpected),
        at_most(f"  RTP gap at the caller, p99 of {len(gaps)}", percentile(gaps, 99), 25, "ms"),
        told("  RTP gap p99.9 and greatest", f"{percentile(gaps, 99.9):.1f} ms, {max(gaps):.1f} ms"),
        exactly("  breaks in the sequence numbers", sum(peer.sequence_faults() for peer in peers)),
        told("  INVITE → 200 under load p95", f"{percentile(run.response_times_ms, 95):.0f} ms"),
        told("  retransmissions", str(run.retransmissions)),
        told("  the gateway's processor time", f"{cpu * 100:.0f} % of a core"),
        told("  the machine's processors wanted in vain, of the last minute", wanted_in_vain()),
    )  # fmt: skip


def wanted_in_vain() -> str:
    """How much of the time something waited for a processor: where it is much, the gaps are the machine's."""
    pressure = Path("/proc/pressure/cpu")
    if not pressure.exists():
        return "not known"
    return f"{pressure.read_text().partition('avg60=')[2].partition(' ')[0]} %"


def measure_set_up(gateway: GatewayProcess, folder: Path) -> Iterator[Measure]:
    """INVITE to 200 with the model session in between, one call at a time."""
    run = run_sipp(
        "uac-basic-call-rtp", gateway.sip_address, folder / "set-up",
        number=ECHO, calls=SET_UP_CALLS, calls_a_second=4, at_once=1, hold_ms=100, timeout_s=120,
    )  # fmt: skip
    run.assert_clean()
    # SIPp's own response times are whole milliseconds; the trace's are finer.
    times_ms = [*traced_set_up_ms(folder / "set-up" / "messages.log")]
    yield at_most(f"INVITE → 200, p95 of {len(times_ms)}", percentile(times_ms, 95), 60, "ms")
    yield told("  median and greatest", f"{percentile(times_ms, 50):.1f} ms, {max(times_ms):.1f} ms")


def traced_set_up_ms(trace: Path) -> Iterator[float]:
    """INVITE to 200 of each call in SIPp's message trace."""
    sent_at: dict[str, datetime] = {}
    for entry in trace.read_text().split("-----------------------------------------------")[1:]:
        stamp, _, rest = entry.strip().partition("\n")
        at = datetime.fromisoformat(stamp)
        call_id = next(line for line in rest.splitlines() if line.lower().startswith("call-id:"))
        if "message sent" in rest and "\nINVITE " in rest:
            sent_at[call_id] = at
        elif "\nSIP/2.0 200 " in rest and "INVITE\n" in rest.replace("\r", "") and call_id in sent_at:
            yield (at - sent_at.pop(call_id)).total_seconds() * 1000


async def measure_delay(gateway: GatewayProcess, folder: Path) -> Iterable[Measure]:
    """From a tone's first frame sent to its first loud sample heard, through the echoing model."""
    tone, delays, unheard = tone_frame(), [], 0

    async def sound_tones(peer: RtpPeer) -> None:
        await peer.play([SILENT_FRAME] * PAUSE_FRAMES)
        for _ in range(TONES_A_CALL):
            sent.append((await peer.play([tone] * TONE_FRAMES))[0])
            await peer.play([SILENT_FRAME] * PAUSE_FRAMES)

    for index in range(DELAY_CALLS):
        sent: list[float] = []
        seconds = (PAUSE_FRAMES + TONES_A_CALL * (TONE_FRAMES + PAUSE_FRAMES)) / 50 + 1
        peer, _ = await probe_call(
            gateway, folder / f"delay-{index}", ECHO, round(seconds * 1000),
            sound_tones,
        )  # fmt: skip
        heard = [peer.heard_after_ms(at, within_s=(TONE_FRAMES + PAUSE_FRAMES) / 50) for at in sent]
        delays += [delay for delay in heard if delay is not None]
        unheard += heard.count(None)
    return (
        at_most(f"tone in → tone out through echo, p95 of {len(delays)}", percentile(delays or [9999.0], 95), 60, "ms"),
        told("  median and greatest", f"{percentile(delays, 50):.1f} ms, {max(delays):.1f} ms" if delays else "none"),
        exactly("  tones that did not come back", unheard),
    )  # fmt: skip


def idle_state(gateway: GatewayProcess) -> Record:
    """The gateway's counts once every transaction has run out."""
    return gateway.wait_until_state(
        lambda state: not any(state[kind] for kind in ("calls", "dialogs", "transactions", "ports")),
        within_s=30,
    )


def measure_sequence(gateway: GatewayProcess, folder: Path) -> Iterator[Measure]:
    """A hundred calls one after the other; what is left of them."""

    def call(count: int, name: str) -> None:
        run_sipp(
            "uac-basic-call-rtp", gateway.sip_address, folder / name,
            number=SILENT, calls=count, calls_a_second=10, at_once=1, hold_ms=200, timeout_s=180, trace_messages=False,
        ).assert_clean()  # fmt: skip

    call(WARM_UP_CALLS, "warm-up")
    before, resident, descriptors = idle_state(gateway), gateway.resident_bytes(), gateway.descriptor_count()
    call(SEQUENCE_CALLS, "sequence")
    after = idle_state(gateway)
    growth = (gateway.resident_bytes() / resident - 1) * 100
    yield Measure(
        f"{SEQUENCE_CALLS} calls in sequence, then idle: memory", "±5 %",
        f"{growth:+.1f} % of {resident / 2**20:.0f} MB", abs(growth) <= 5,
    )  # fmt: skip
    for kind in ("calls", "dialogs", "transactions", "ports"):
        yield exactly(f"  {kind} left", after[kind])
    for kind in ("tasks", "sockets"):
        yield exactly(f"  {kind} more than before", after[kind] - before[kind])
    yield exactly("  descriptors more than before", gateway.descriptor_count() - descriptors)


PARTS: Final[Mapping[str, tuple[SipTimers | None, Callable[[GatewayProcess, Path], Iterable[Measure]]]]] = {
    "set-up": (None, measure_set_up),
    "delay": (None, lambda gateway, folder: asyncio.run(measure_delay(gateway, folder))),
    "load": (None, lambda gateway, folder: asyncio.run(measure_load(gateway, folder))),
    "sequence": (FAST_TIMERS, measure_sequence),
}


def main() -> int:
    """Measures the chosen parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "bench-first-light", help="where traces and figures go")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all when none is given")
    arguments = parser.parse_args()
    folder: Path = arguments.folder / f"{datetime.now():%Y%m%d-%H%M%S}"
    measures: list[Measure] = []
    for name in arguments.parts or PARTS:
        timers, measure = PARTS[name]
        with GatewayProcess(folder / f"gateway-{name}", timers=timers) as gateway:
            measures += measure(gateway, folder)
    show(measures, "Trunkline, first light")
    keep(measures, folder)
    return exit_code(measures)


if __name__ == "__main__":
    sys.exit(main())
