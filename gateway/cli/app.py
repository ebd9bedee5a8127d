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


# ---- commands that take calls or place them ----


@app.command()
def serve(config: ConfigurationOption = DEFAULT_CONFIGURATION) -> None:
    """Answer calls until told to stop (SIGTERM or Ctrl-C)."""
    from gateway.cli.serve import run

    raise typer.Exit(run(config))


@app.command()
def call(
    target: Annotated[str, typer.Argument(metavar="URI", help="Whom to call, such as sip:reception@127.0.0.1:5060.")],
    play: Annotated[Path | None, typer.Option(metavar="FILE", help="Audio to speak: any file FFmpeg reads.")] = None,
    record: Annotated[Path | None, typer.Option(metavar="FILE", help="Write what was heard to this WAV file.")] = None,
    digits: Annotated[str, typer.Option(help="Keys to press after the answer, such as 12#.")] = "",
    duration: Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="Hang up after so long.")] = 30.0,
    caller: Annotated[str, typer.Option(help="The number that calls.")] = "+15550002222",
    bind: Annotated[str | None, typer.Option(metavar="ADDRESS", help="The local address to call from.")] = None,
) -> None:
    """Place a test call: play a file, press keys, record the answer."""
    from gateway.cli.call import run

    raise typer.Exit(
        run(target, play=play, record=record, digits=digits, duration_seconds=duration, caller=caller, bind=bind)
    )


@app.command()
def demo(
    directory: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="Where to leave the recording and the rest.")
    ] = None,
) -> None:
    """Hear a conversation happen: gateway, embedded model and a real call over loopback."""
    from gateway.cli.demo import run

    raise typer.Exit(run(directory))


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


# ---- commands that look after recordings ----

recording = typer.Typer(name="recording", help="Keys for sealed recordings, and the recordings in the clear.")
app.add_typer(recording)


@recording.command()
def key() -> None:
    """Print a new key for recording.encryption."""
    from gateway.cli.recording import run_key

    raise typer.Exit(run_key())


@recording.command()
def decrypt(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The sealed recording.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Default: FILE without .sealed.")
    ] = None,
    key_file: Annotated[Path | None, typer.Option(metavar="FILE", help="A file that holds the key.")] = None,
    key_variable: Annotated[
        str, typer.Option(metavar="NAME", help="The environment variable that holds the key.")
    ] = "TRUNKLINE_RECORDING_KEY",
) -> None:
    """Write a sealed recording in the clear, up to its end or to where a crash ended it."""
    from gateway.cli.recording import run_decrypt

    raise typer.Exit(run_decrypt(path, output, key_file=key_file, key_variable=key_variable))


def main() -> None:
    """Runs the command line and ends the process with the command's exit code."""
    app(prog_name=PROGRAM)
