"""`trunkline recording`: keys for sealed recordings, and the recordings themselves in the clear again."""

import os
from pathlib import Path

import typer

from gateway.recording_file import WAV_HEADER_OCTETS, completed_wav_header
from gateway.recording_seal import SUFFIX, RecordingKey, SealedFile, SealError


def run_key() -> int:
    """Prints a new key."""
    typer.echo(RecordingKey.generate())
    return 0


def run_decrypt(path: Path, output: Path | None, *, key_file: Path | None, key_variable: str) -> int:
    """Writes the recording in the clear. 0: all of it; 1: not at all; 2: up to where a crash had ended it."""
    output = output or path.with_name(path.name.removesuffix(SUFFIX))
    try:
        if output == path:
            raise SealError(f"The output would replace {str(path)!r}; name another with --output")
        sealed = SealedFile(path.read_bytes(), _key(key_file, key_variable))
        octets = b"".join(sealed.chunks())
        output.write_bytes(_playable(octets))
    except (SealError, OSError) as error:
        typer.echo(str(error), err=True)
        return 1
    typer.echo(f"{output}: {len(octets)} octets")
    if not sealed.is_complete:
        typer.echo(
            "The recording has no end: the process that wrote it died, or the disk was full. What was sealed is there.",
            err=True,
        )
        return 2
    return 0


def _key(key_file: Path | None, key_variable: str) -> RecordingKey:
    if key_file is not None:
        return RecordingKey.load(key_file)
    if (text := os.environ.get(key_variable)) is None:
        raise SealError(f"There is no key: name a file with --key-file, or set {key_variable}")
    return RecordingKey.parse(text)


def _playable(octets: bytes) -> bytes:
    """A WAV file's header could not say how long it would become; now it can."""
    if octets.startswith(b"RIFF") and len(octets) >= WAV_HEADER_OCTETS:
        return completed_wav_header(octets[:WAV_HEADER_OCTETS], len(octets)) + octets[WAV_HEADER_OCTETS:]
    return octets
