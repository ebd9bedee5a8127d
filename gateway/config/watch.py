"""Whether the files of a configuration have changed: by size and time of change, as often as somebody asks."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from gateway.config.load import AGENT_FILE_SUFFIXES

Fingerprint: TypeAlias = frozenset[tuple[str, int, int, int]]


def fingerprint(file: Path, agents_directory: Path | None) -> Fingerprint:
    """The state of a configuration's files. It asks the file system, and so belongs into a thread.

    Args:
        file: the configuration.
        agents_directory: the folder of its agents' files, where it has one.
    """
    return frozenset(_states([file, *_agent_files(agents_directory)]))


def _agent_files(directory: Path | None) -> list[Path]:
    if directory is None:
        return []
    try:
        return [file for file in directory.iterdir() if file.suffix in AGENT_FILE_SUFFIXES]
    except OSError:
        return []  # it is gone; the reading will say so


def _states(files: list[Path]) -> Iterator[tuple[str, int, int, int]]:
    for file in files:
        try:
            state = file.stat()
        except OSError:
            continue  # a file that is being replaced; its absence is a change of its own
        yield str(file), state.st_mtime_ns, state.st_size, state.st_ino
