"""The command `trunkline`: what it can be asked, and nothing of how it is done.

Every function imports the module that does its work when it is called, so that `--help` and `check` start without the
packages that only a running gateway needs. A command's function returns its exit code.
"""

from pathlib import Path
from typing import Annotated

import typer

PROGRAM = "trunkline"
DEFAULT_CONFIGURATION = Path("config/gateway.yaml")

app = typer.Typer(
    name=PROGRAM,
    help="A SIP-native media gateway for AI voice: a trunk on one side, a speech-to-speech model on the other.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigurationOption = Annotated[
    Path, typer.Option("--config", "-c", metavar="FILE", help="The configuration.", show_default=True)
]


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"{PROGRAM} {version('trunkline')}")
        raise typer.Exit


@app.callback()
def trunkline(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and leave.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """A SIP-native media gateway for AI voice: a trunk on one side, a speech-to-speech model on the other."""


# ---- commands that take calls or place them: serve, call, demo, embedded ----


# ---- commands that look at the configuration ----


@app.command()
def check(config: ConfigurationOption = DEFAULT_CONFIGURATION) -> None:
    """Read a configuration and name every fault in it, or say what it amounts to."""
    from gateway.cli.check import run

    raise typer.Exit(run(config))


@app.command()
def schema(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the schema here instead of printing it."),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            "--reference", metavar="PAGE", help="Renew the list of keys in this page (docs/configuration.md)."
        ),
    ] = None,
) -> None:
    """Print the JSON Schema of the configuration, for editors that complete and check YAML."""
    from gateway.cli.schema import run

    raise typer.Exit(run(output, reference))


def main() -> None:
    """Runs the command line and ends the process with the command's exit code."""
    app(prog_name=PROGRAM)
