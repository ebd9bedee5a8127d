"""The gateway process that the SIPp scenarios call, and the two ways to call it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.gateway_process import GatewayProcess, SipTimers
from tests.helpers.sipp import Scene, SippRun, is_sipp_installed, run_sipp

IMPATIENT = SipTimers(t1_ms=20, t2_ms=160, t4_ms=200)  # 64*T1 is 1.28 s


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if is_sipp_installed():
        return
    reason = "left out: the SIPp scenarios, since there is no sipp program (Debian: sip-tester)"
    for item in items:
        if item.get_closest_marker("sipp"):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def gateway_for_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """One gateway for the whole run; at its end it must stop cleanly."""
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), calls=40) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def impatient_gateway_for_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """One gateway whose SIP timers are 25 times as fast as the standard's."""
    with GatewayProcess(tmp_path_factory.mktemp("impatient-gateway"), calls=40, timers=IMPATIENT) as gateway:
        yield gateway


@pytest.fixture
def gateway(gateway_for_all: GatewayProcess) -> Iterator[GatewayProcess]:
    """A gateway that carries nothing when the test begins, and must carry nothing after it."""
    yield gateway_for_all
    assert_nothing_is_left(gateway_for_all)


@pytest.fixture
def impatient_gateway(impatient_gateway_for_all: GatewayProcess) -> Iterator[GatewayProcess]:
    """As `gateway`, with fast timers: transactions are gone soon too."""
    yield impatient_gateway_for_all
    assert_nothing_is_left(impatient_gateway_for_all, "transactions")


def assert_nothing_is_left(gateway: GatewayProcess, *more: str) -> None:
    """No call, dialog or port is left of what the test did."""
    kinds = ("calls", "dialogs", "ports", *more)
    gateway.wait_until_state(lambda state: all(state[kind] == 0 for kind in kinds))


def _scene_at(gateway: GatewayProcess, folder: Path) -> Callable[..., SippRun]:
    def run(scenario: str, **options: object) -> SippRun:
        outcome = run_sipp(scenario, gateway.sip_address, folder / Path(scenario).name, **options)  # type: ignore[arg-type]
        outcome.assert_clean()
        return outcome

    return run


@pytest.fixture
def play(gateway: GatewayProcess, tmp_path: Path) -> Scene:
    """Plays a scenario against the gateway."""
    return _scene_at(gateway, tmp_path)


@pytest.fixture
def play_impatiently(impatient_gateway: GatewayProcess, tmp_path: Path) -> Scene:
    """Plays a scenario against the gateway with fast timers."""
    return _scene_at(impatient_gateway, tmp_path)
