"""`trunkline schema`: the published JSON Schema, and the list of keys in the documentation."""

import sys
from pathlib import Path

from gateway.config.reference import with_reference
from gateway.config.schema import schema_text


def run(output: Path | None, reference: Path | None) -> int:
    """Writes what was asked for; without a wish, prints the schema.

    Returns:
        0, or 1 where the page or the folder is not there.
    """
    try:
        _write(output, reference)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _write(output: Path | None, reference: Path | None) -> None:
    if output is not None:
        output.write_text(schema_text(), encoding="utf-8")
    if reference is not None:
        reference.write_text(with_reference(reference.read_text(encoding="utf-8")), encoding="utf-8")
    if output is None and reference is None:
        sys.stdout.write(schema_text())
