"""Conversations that change their far end, played by SIPp: REFER that is followed, refused or in vain, and Replaces."""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.helpers.gateway_process import SILENT, TALK, GatewayProcess, Record
from tests.helpers.sipp import LOOPBACK, SippRun, free_udp_ports, run_sipp
from tests.sipp.conftest import assert_nothing_is_left

pytestmark = [pytest.mark.sipp, pytest.mark.process]

POLL_S = 0.02
PATIENCE_S = 10.0


@dataclass
class Destination:
    """Where the gateway may transfer to."""

    port: int = field(default_factory=lambda: free_udp_ports(1)[0])

    @property
    def uri(self) -> str:
        return f"sip:target@{LOOPBACK}:{self.port}"


@pytest.fixture(scope="module")
def destination() -> Destination:
    return Destination()


@pytest.fixture(scope="module")
def gateway_for_transfers(
    destination: Destination, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway that may call the destination."""

    def adapt(configuration: Record) -> None:
        configuration["trunks"]["loopback"]["refer"] = {"allow": [destination.uri]}

    with GatewayProcess(tmp_path_factory.mktemp("transfers"), calls=20, adapt=adapt) as gateway:
        yield gateway


@pytest.fixture
def gateway(gateway_for_transfers: GatewayProcess) -> Iterator[GatewayProcess]:
    yield gateway_for_transfers
    assert_nothing_is_left(gateway_for_transfers)


@pytest.fixture
def scene(gateway: GatewayProcess, tmp_path: Path) -> Callable[..., SippRun]:
    def run(scenario: str, keys: Mapping[str, str] | None = None, number: str = TALK, **options: int) -> SippRun:
        folder = tmp_path / scenario
        outcome = run_sipp(scenario, gateway.sip_address, folder, number=number, keys=keys, **options)  # type: ignore[arg-type]
        outcome.assert_clean()
        return outcome

    return run


@contextmanager
def beside(scene: Callable[..., SippRun], scenario: str, **options: object) -> Iterator[Future[SippRun]]:
    """Plays a scenario in a thread of its own, while another one is played; both must go as written."""
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(scene, scenario, **options)
        yield run
        run.result()


def replaces(messages: Path) -> str:
    """The value of Replaces for the call whose messages are traced here, once it is acknowledged."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        assert time.monotonic() < deadline, "the call to be replaced did not come about"
        text = messages.read_text() if messages.exists() else ""
        if "\nACK sip:" in text:
            break
        time.sleep(POLL_S)
    ack = text[text.index("\nACK sip:") :]

    def value(name: str) -> str:
        return next(line.partition(":")[2].strip() for line in ack.splitlines() if line.startswith(f"{name}:"))

    to_tag, from_tag = (value(name).partition("tag=")[2].strip() for name in ("To", "From"))
    return f"{value('Call-ID')};to-tag={to_tag};from-tag={from_tag}"


def test_a_refer_is_followed_to_its_last_notify__rfc3515_2_4_5(
    scene: Callable[..., SippRun], gateway: GatewayProcess, destination: Destination
) -> None:
    with beside(scene, "uas-transfer-target", local_port=destination.port):
        run = scene("uac-refer-followed", {"refer_to": destination.uri})

    record = gateway.wait_for_record(run.call_ids[0])
    (transfer,) = record["transfers"]
    assert (transfer["kind"], transfer["destination"], transfer["status"]) == ("followed", destination.uri, 200)
    assert len(record["sides"]) == 2
    assert record["end"]["reason"] == "caller_hung_up"
    assert record["media"]["packets_tx"] > 10, "the agent speaks on to the destination"


def test_a_busy_destination_leaves_the_call_as_it_was__rfc3515_2_4_4(
    scene: Callable[..., SippRun], gateway: GatewayProcess, destination: Destination
) -> None:
    with beside(scene, "uas-busy", local_port=destination.port):
        run = scene("uac-refer-busy", {"refer_to": destination.uri})

    record = gateway.wait_for_record(run.call_ids[0])
    assert [transfer["status"] for transfer in record["transfers"]] == [486]
    assert record["sides"] == []


@pytest.mark.parametrize("wish", ["tel:+19005550100", "sip:target@203.0.113.9", "sip:other@{host}"])
def test_a_refer_that_no_list_holds_is_refused__rfc3515_2_4_2(
    scene: Callable[..., SippRun], gateway: GatewayProcess, destination: Destination, wish: str
) -> None:
    run = scene("uac-refer-refused", {"refer_to": wish.format(host=f"{LOOPBACK}:{destination.port}")})

    record = gateway.wait_for_record(run.call_ids[0])
    assert [transfer["status"] for transfer in record["transfers"]] == [603]


def test_a_call_is_replaced__rfc3891_3(scene: Callable[..., SippRun], gateway: GatewayProcess, tmp_path: Path) -> None:
    with beside(scene, "uac-replaced") as replaced:
        taker = scene(
            "uac-replaces", {"replaces": replaces(tmp_path / "uac-replaced" / "messages.log")}, number="taker"
        )

    record = gateway.wait_for_record(replaced.result().sip_call_id)
    assert [transfer["kind"] for transfer in record["transfers"]] == ["replaced"]
    assert [side["sip_call_id"] for side in record["sides"]] == [replaced.result().sip_call_id, taker.sip_call_id]
    assert record["end"]["reason"] == "caller_hung_up"


def test_what_matches_no_dialog_gets_481__rfc3891_3(scene: Callable[..., SippRun]) -> None:
    scene("uac-replaces-unmatched", {"replaces": "nobody@nowhere;to-tag=1;from-tag=2"})


def test_early_only_on_a_confirmed_dialog_gets_486__rfc3891_3(
    scene: Callable[..., SippRun], gateway: GatewayProcess, tmp_path: Path
) -> None:
    with beside(scene, "uac-basic-call-rtp", number=SILENT, hold_ms=3000) as standing:
        value = replaces(tmp_path / "uac-basic-call-rtp" / "messages.log")
        scene("uac-replaces-early-only", {"replaces": f"{value};early-only"})

    assert gateway.wait_for_record(standing.result().sip_call_id)["transfers"] == []
