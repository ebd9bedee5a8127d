"""`trunkline serve` and `trunkline call`: what they say when they cannot do what is asked."""

import socket
import subprocess
import sys
from pathlib import Path

CONFIGURATION = """\
network:
  sip: [{{transport: udp, bind: 127.0.0.1, port: {port}}}]
  public_address: 127.0.0.1
  rtp: {{bind: 127.0.0.1, first_port: 20000, last_port: 20099}}
trunks:
  loop: {{allow: [127.0.0.1/32], numbers: {{"1000": {agent}}}}}
agents:
  desk: {{backends: [openai], instructions: Be brief.}}
backends:
  openai: {{type: openai, api_key: "${{NO_SUCH_KEY:-}}"}}
"""


def trunkline(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments], check=False, capture_output=True, text=True, timeout=60
    )


def write(folder: Path, *, port: int = 0, agent: str = "desk") -> str:
    path = folder / "gateway.yaml"
    path.write_text(CONFIGURATION.format(port=port, agent=agent))
    return str(path)


def test_a_faulty_configuration_stops_the_start_with_file_line_and_suggestion(tmp_path: Path) -> None:
    run = trunkline("serve", "-c", write(tmp_path, agent="dezk"))
    assert run.returncode == 1
    assert "gateway.yaml:6:" in run.stderr
    assert "desk" in run.stderr
    assert "Traceback" not in run.stderr


def test_a_port_that_is_taken_is_said_and_ends_the_start(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        run = trunkline("serve", "-c", write(tmp_path, port=taken.getsockname()[1]))
    assert run.returncode == 1
    assert "cannot start" in run.stderr
    assert "Address already in use" in run.stderr
    assert "Traceback" not in run.stderr


def test_a_tool_that_cannot_be_made_is_said_and_ends_the_start(tmp_path: Path) -> None:
    path = Path(write(tmp_path))
    tool = "{look_up: {type: python, function: no_such_module:look_up}}"
    path.write_text(path.read_text().replace("Be brief.}", f"Be brief., tools: {tool}}}"))
    run = trunkline("serve", "-c", str(path))
    assert run.returncode == 1
    assert "agents.desk: no_such_module:look_up: the module cannot be imported" in run.stderr
    assert "Traceback" not in run.stderr


def test_a_call_that_nobody_answers_ends_with_its_status() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    run = trunkline("call", f"sip:1000@127.0.0.1:{port}", "--duration", "1", "--play", "/no/such/file.wav")
    assert run.returncode == 1
    assert "/no/such/file.wav" in run.stderr
    assert "Traceback" not in run.stderr


def test_a_uri_that_cannot_be_read_is_said() -> None:
    run = trunkline("call", "mailto:somebody")
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
