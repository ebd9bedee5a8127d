"""Python's garbage collector, kept from stopping the media clock: a collection visits every object that it may free."""

import gc
from typing import Final

# New container objects between two collections of the youngest: Python's 700 is a dozen a second under load.
YOUNG_OBJECTS: Final = 5_000
# The next two: a collection of the middle generation visits up to 15,000 objects (about 10 ms), where Python's default
# visits ten times the youngest (60 ms, an audible gap). Full ones come as seldom as before.
GENERATION_THRESHOLDS: Final = (YOUNG_OBJECTS, 2, 50)


def spare_the_collector() -> None:
    """Takes what lives as long as the process (modules, schemas, models) out of its sight, and calls it more seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GENERATION_THRESHOLDS)
