"""Threads that never keep the process from ending.

The interpreter joins every thread of a ThreadPoolExecutor before it ends, and an upload or somebody else's function may
hang for ever. These are daemon threads: what still runs when the process ends is cut off.
"""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from functools import partial
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class DaemonPool(Executor):
    """Runs functions in threads, at most `limit` at once; what comes when all are busy waits in its order.

    Args:
        limit: how many threads. Each is started when there is nobody else to do the work, and stays.
        name: what the threads are called, with a number each.
    """

    def __init__(self, limit: int, name: str) -> None:
        self._limit = limit
        self._name = name
        self._work: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._idle = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._is_shut = False

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """See `Executor`."""
        future = Future[R]()
        with self._lock:
            if self._is_shut:
                raise RuntimeError(f"The threads called {self._name} take no more work")
            if not self._idle.acquire(blocking=False) and len(self._threads) < self._limit:
                thread = threading.Thread(target=self._serve, name=f"{self._name}-{len(self._threads)}", daemon=True)
                thread.start()  # before the work is in the queue: where no thread can be had, nothing stays behind
                self._threads.append(thread)
            self._work.put((future, partial(fn, *args, **kwargs)))
        return future

    def close(self, patience_s: float) -> bool:
        """Takes no more work and drops what waits; gives what runs `patience_s` in all to end. Blocks. Idempotent.

        Returns:
            False where something still runs.
        """
        self.shutdown(wait=False, cancel_futures=True)
        give_up_at = time.monotonic() + patience_s
        for thread in self._threads:
            thread.join(max(0.0, give_up_at - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See `Executor`. With `wait` it may take for ever, unlike `close`."""
        with self._lock:
            self._is_shut = True
            if cancel_futures:
                self._cancel_waiting()
            for _ in self._threads:
                self._work.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def _cancel_waiting(self) -> None:
        with suppress(queue.Empty):
            while True:
                if (item := self._work.get_nowait()) is not None:
                    item[0].cancel()

    def _serve(self) -> None:
        while (item := self._work.get()) is not None:
            future, work = item
            if future.set_running_or_notify_cancel():
                try:
                    result = work()
                except StopIteration as error:
                    # An asyncio future takes none, and whoever awaits would wait for ever; generators do the same.
                    wrapped = RuntimeError("The function raised StopIteration")
                    wrapped.__cause__ = error
                    future.set_exception(wrapped)
                    del wrapped
                except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
                    future.set_exception(error)
                else:
                    future.set_result(result)
                    del result
            del future, work, item  # an idle thread holds nothing of a call that is over
            self._idle.release()
