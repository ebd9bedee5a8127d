"""Threads that never keep the process from ending."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError

import pytest

from gateway.daemon_pool import DaemonPool

pytestmark = pytest.mark.timeout(60)
PATIENCE_S = 10


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Functions that wait for it are let go at the end at the latest."""
    gate = threading.Event()
    yield gate
    gate.set()


@pytest.fixture
def pool() -> Iterator[DaemonPool]:
    with DaemonPool(2, "test") as pool:
        yield pool


def test_results_and_errors_come_back(pool: DaemonPool) -> None:
    assert pool.submit(divmod, 7, 2).result(PATIENCE_S) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        pool.submit(divmod, 7, 0).result(PATIENCE_S)
    assert list(pool.map(abs, range(-50, 0))) == list(range(50, 0, -1))


def test_no_more_run_at_once_than_are_allowed_and_the_rest_wait(pool: DaemonPool, gate: threading.Event) -> None:
    begun: list[int] = []
    changed = threading.Semaphore(0)

    def work(number: int) -> int:
        begun.append(number)
        changed.release()
        assert gate.wait(PATIENCE_S)
        return number

    futures = [pool.submit(work, number) for number in range(5)]
    for _ in range(2):
        assert changed.acquire(timeout=PATIENCE_S)
    assert sorted(begun) == [0, 1]
    gate.set()
    assert [future.result(PATIENCE_S) for future in futures] == list(range(5))
    assert begun[2:] == [2, 3, 4]


def test_an_idle_thread_takes_the_next_work() -> None:
    with DaemonPool(8, "test") as pool:
        names = set()
        for _ in range(4):
            names.add(pool.submit(lambda: threading.current_thread().name).result(PATIENCE_S))
            time.sleep(0.01)  # the thread says that it is idle right after the result
    assert len(names) <= 2


async def test_an_error_reaches_who_awaits(pool: DaemonPool) -> None:
    loop = asyncio.get_running_loop()
    assert await loop.run_in_executor(pool, divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await loop.run_in_executor(pool, divmod, 7, 0)
    assert await loop.run_in_executor(pool, divmod, 8, 2) == (4, 0), "the thread is still there"


async def test_a_function_that_raises_stop_iteration_keeps_nobody_waiting(pool: DaemonPool) -> None:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(RuntimeError, match="StopIteration") as told:
            await loop.run_in_executor(pool, next, iter(()))
    assert isinstance(told.value.__cause__, StopIteration)


async def test_what_nobody_awaits_any_more_is_not_begun(gate: threading.Event) -> None:
    loop, begun = asyncio.get_running_loop(), list[str]()
    with DaemonPool(1, "test") as pool:
        running = pool.submit(gate.wait, PATIENCE_S)
        waiting = loop.run_in_executor(pool, begun.append, "cancelled")
        last = loop.run_in_executor(pool, begun.append, "last")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        gate.set()
        async with asyncio.timeout(PATIENCE_S):
            await last
        assert running.result(PATIENCE_S)
    assert begun == ["last"]


def test_there_are_never_more_threads_than_allowed(gate: threading.Event) -> None:
    with DaemonPool(3, "bounded") as pool:
        futures = [pool.submit(gate.wait, PATIENCE_S) for _ in range(20)]
        threads = [thread for thread in threading.enumerate() if thread.name.startswith("bounded-")]
        gate.set()
        assert all(future.result(PATIENCE_S) for future in futures)
    assert sorted(thread.name for thread in threads) == ["bounded-0", "bounded-1", "bounded-2"]
    assert all(thread.daemon for thread in threads)


def test_closing_gives_up_on_what_hangs_and_begins_nothing_that_waits(gate: threading.Event) -> None:
    pool = DaemonPool(2, "test")
    began = threading.Semaphore(0)

    def hang() -> bool:
        began.release()
        return gate.wait()

    hanging = [pool.submit(hang) for _ in range(2)]
    for _ in hanging:
        assert began.acquire(timeout=PATIENCE_S)
    waiting = pool.submit(hang)
    closed: list[bool] = []
    closing = threading.Thread(target=lambda: closed.append(pool.close(0.1)), daemon=True)
    closing.start()
    closing.join(PATIENCE_S)
    assert closed == [False], "it came back although both still hang"
    assert waiting.cancelled()
    with pytest.raises(RuntimeError, match="test"):
        pool.submit(hang)
    gate.set()
    assert all(future.result(PATIENCE_S) for future in hanging)
    assert pool.close(PATIENCE_S), "again, and nothing runs any more"
    assert not began.acquire(blocking=False)


def test_closing_waits_for_what_ends_in_time(gate: threading.Event) -> None:
    pool = DaemonPool(1, "test")

    def work() -> str:
        assert gate.wait(PATIENCE_S)
        time.sleep(0.05)
        return "done"

    ending = pool.submit(work)
    while not ending.running():
        time.sleep(0.001)
    threading.Timer(0.05, gate.set).start()
    assert pool.close(PATIENCE_S)
    assert ending.result(0) == "done"


def test_what_waits_at_the_end_is_cancelled_and_what_runs_is_not_waited_for(gate: threading.Event) -> None:
    pool = DaemonPool(1, "test")
    began = threading.Event()

    def work() -> str:
        began.set()
        gate.wait(PATIENCE_S)
        return "done"

    running, waiting = pool.submit(work), pool.submit(work)
    assert began.wait(PATIENCE_S)
    pool.shutdown(wait=False, cancel_futures=True)
    assert not running.done()
    with pytest.raises(CancelledError):
        waiting.result(PATIENCE_S)
    with pytest.raises(RuntimeError):
        pool.submit(work)
    gate.set()
    assert running.result(PATIENCE_S) == "done"


@pytest.mark.parametrize(
    "end", ["pool.shutdown(wait=False, cancel_futures=True)", "assert not pool.close(0.1)", "pass"]
)
def test_a_function_that_hangs_does_not_keep_the_process(end: str) -> None:
    """With a ThreadPoolExecutor the interpreter would wait for it."""
    program = (
        "import threading\n"
        "from gateway.daemon_pool import DaemonPool\n"
        "began = threading.Event()\n"
        "pool = DaemonPool(1, 'test')\n"
        "pool.submit(lambda: (began.set(), threading.Event().wait()))\n"
        "began.wait()\n"
        f"{end}\n"
        "print('the end')\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == "the end\n"
