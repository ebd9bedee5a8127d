"""What only the garbage collector could free. Nothing of a call should wait for it: its runs stop the media clock."""

import gc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def uncollected(is_ours: Callable[[type], bool]) -> Iterator[Callable[[], Counter[str]]]:
    """Gives a function that tells what of ours has become garbage since it was asked last, by type."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)

    def found() -> Counter[str]:
        gc.collect()
        counts = Counter(type(one).__qualname__ for one in gc.garbage if is_ours(type(one)))
        gc.garbage.clear()
        return counts

    try:
        yield found
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
