"""The command line itself: what it offers, and that it starts light."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.app import app
from gateway.config.schema import schema_text

EXAMPLE = Path(__file__).resolve().parents[3] / "config" / "gateway.yaml"
HEAVY = {"pydantic", "numpy", "av", "websockets", "aiortc", "uvloop", "yaml", "asyncio"}


def test_help_names_the_commands() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert "check" in result.output
    assert "schema" in result.output


def test_version_is_told() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.output.startswith("trunkline ")


def test_check_ends_with_the_code_of_its_verdict(tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["check", "-c", str(EXAMPLE)]).exit_code == 0
    assert CliRunner().invoke(app, ["check", "-c", str(tmp_path / "none.yaml")]).exit_code == 1


def test_schema_is_printed() -> None:
    assert CliRunner().invoke(app, ["schema"]).output == schema_text()


def test_schema_and_reference_are_written(tmp_path: Path) -> None:
    schema, page = tmp_path / "schema.json", tmp_path / "page.md"
    page.write_text((EXAMPLE.parents[1] / "docs" / "configuration.md").read_text().replace("| `calls` |", "| `cals` |"))
    result = CliRunner().invoke(app, ["schema", "--output", str(schema), "--reference", str(page)])
    assert result.exit_code == 0
    assert result.output == ""
    assert schema.read_text() == schema_text()
    assert "| `calls` |" in page.read_text()


def test_page_without_a_place_for_the_reference_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A page\n")
    result = CliRunner().invoke(app, ["schema", "--reference", str(page)])
    assert result.exit_code == 1
    assert "has no place for the reference" in result.output
    assert page.read_text() == "# A page\n"


@pytest.mark.process
def test_help_starts_without_the_packages_of_a_running_gateway() -> None:
    script = "import sys, gateway.cli.app; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert HEAVY.isdisjoint(loaded)
