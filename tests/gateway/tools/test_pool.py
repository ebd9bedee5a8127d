"""Threads for functions that are not ours."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError

import pytest

from gateway.tools.pool import FunctionPool

PATIENCE_S = 10


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Functions that wait for it are let go at the end at the latest."""
    gate = threading.Event()
    yield gate
    gate.set()


@pytest.fixture
def pool() -> Iterator[FunctionPool]:
    with FunctionPool(2, "test") as pool:
        yield pool


def test_results_and_errors_come_back(pool: FunctionPool) -> None:
    assert pool.submit(divmod, 7, 2).result(PATIENCE_S) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        pool.submit(divmod, 7, 0).result(PATIENCE_S)
    assert list(pool.map(abs, range(-50, 0))) == list(range(50, 0, -1))


def test_no_more_run_at_once_than_are_allowed_and_the_rest_wait(pool: FunctionPool, gate: threading.Event) -> None:
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
    with FunctionPool(8, "test") as pool:
        names = set()
        for _ in range(4):
            names.add(pool.submit(lambda: threading.current_thread().name).result(PATIENCE_S))
            time.sleep(0.01)  # the thread says that it is idle right after the result
    assert len(names) <= 2


def test_what_waits_at_the_end_is_cancelled_and_what_runs_is_not_waited_for(gate: threading.Event) -> None:
    pool = FunctionPool(1, "test")
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


def test_a_function_that_hangs_does_not_keep_the_process() -> None:
    """With a ThreadPoolExecutor the interpreter would wait for it."""
    program = (
        "import threading\n"
        "from gateway.tools.pool import FunctionPool\n"
        "began = threading.Event()\n"
        "pool = FunctionPool(1, 'test')\n"
        "pool.submit(lambda: (began.set(), threading.Event().wait()))\n"
        "began.wait()\n"
        "pool.shutdown(wait=False, cancel_futures=True)\n"
        "print('the end')\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == "the end\n"


def test_the_first_request_to_a_web_server_loads_no_event_loop_of_its_library() -> None:
    program = (
        "import asyncio, sys\n"
        "from gateway.tools.catalog import ToolCatalog\n"
        "async def look():\n"
        "    async with ToolCatalog():\n"
        "        print('anyio._backends._asyncio' in sys.modules)\n"
        "asyncio.run(look())\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == "True\n"
