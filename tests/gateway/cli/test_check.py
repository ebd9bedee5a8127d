"""`trunkline check`: faults one a line and exit code 1, or a summary and exit code 0."""

import io
from collections.abc import Mapping
from pathlib import Path

from gateway.cli.check import run
from gateway.config.load import load
from gateway.roster import version_of

EXAMPLE = Path(__file__).resolve().parents[3] / "config" / "gateway.yaml"
MINIMAL = """\
trunks:
  pbx: {allow: [192.0.2.0/24], numbers: {"+15550001111": reception}}
agents:
  reception: {backends: [model], instructions: Be brief.}
backends:
  model: {type: embedded, mode: echo}
"""


def check(file: Path, environ: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    output, errors = io.StringIO(), io.StringIO()
    code = run(file, environ=environ or {}, output=output, errors=errors)
    return code, output.getvalue(), errors.getvalue()


def check_text(tmp_path: Path, text: str) -> tuple[int, str, str]:
    file = tmp_path / "gateway.yaml"
    file.write_text(text)
    code, output, errors = check(file)
    return code, output.replace(f"{tmp_path}/", ""), errors.replace(f"{tmp_path}/", "")


def test_faults_come_one_a_line_with_exit_code_1(tmp_path: Path) -> None:
    code, output, errors = check_text(tmp_path, MINIMAL + "limits: {call: 1}\nloging: {}\n")
    assert code == 1
    assert output == ""
    assert errors.splitlines() == [
        "gateway.yaml:7:10: limits.call: is not known here; did you mean 'calls'?",
        "gateway.yaml:8:1: loging: is not known here; did you mean 'logging'?",
        "gateway.yaml: 2 faults; the gateway would not start",
    ]


def test_one_fault_is_not_faults(tmp_path: Path) -> None:
    _, _, errors = check_text(tmp_path, MINIMAL + "loging: {}\n")
    assert errors.endswith("gateway.yaml: 1 fault; the gateway would not start\n")


def test_file_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    code, _, errors = check(tmp_path / "none.yaml")
    assert code == 1
    assert "none.yaml:1:1: cannot be read: No such file or directory" in errors


def test_warning_does_not_stop_the_start(tmp_path: Path) -> None:
    code, output, errors = check_text(tmp_path, MINIMAL + "network: {rtp: {last_port: 20009}}\n")
    assert code == 0
    assert (
        errors
        == "gateway.yaml:7:16: network.rtp: warning: 20000–20009 carries 5 calls, fewer than limits.calls (100)\n"
    )
    assert "limit      5 calls at once\n" in output


def test_summary_says_what_the_configuration_amounts_to(tmp_path: Path) -> None:
    code, output, errors = check_text(tmp_path, MINIMAL)
    assert (code, errors) == (0, "")
    assert output == (
        "gateway.yaml is fine.\n"
        "SIP        udp 0.0.0.0:5060\n"
        "address    detected at the start\n"
        "RTP        0.0.0.0:20000–29999, ports for 5000 calls\n"
        "limit      100 calls at once\n"
        "recording  off\n"
        "records    records\n"
        "trunk      pbx (custom): calls from 192.0.2.0/24\n"
        "             +15550001111 → reception\n"
        "agent      reception: speaks with model\n"
        f"             version {version_of(load(tmp_path / 'gateway.yaml', {}).agents['reception'], {})}\n"
    )


def test_summary_shows_ipv6_recording_and_long_lists(tmp_path: Path) -> None:
    ranges = ", ".join(f"192.0.2.{host}" for host in range(8))
    text = MINIMAL.replace("192.0.2.0/24", ranges)
    text += 'network: {sip: [{bind: "::1", port: 0}], rtp: {bind: "::"}, public_address: "2a00:1450::1"}\n'
    text += "recording: {enabled: true, directory: /srv/recordings}\n"
    _, output, _ = check_text(tmp_path, text)
    assert "SIP        udp [::1]:any free port\n" in output
    assert "address    2a00:1450::1\n" in output
    assert "RTP        [::]:20000–29999" in output
    assert "recording  /srv/recordings\n" in output
    assert "192.0.2.5/32, 2 more\n" in output


def test_summary_warns_of_an_open_trunk_and_an_agent_that_cannot_speak(tmp_path: Path) -> None:
    text = MINIMAL.replace("allow: [192.0.2.0/24]", "anyone: true").replace("embedded, mode: echo", "openai")
    code, output, _ = check_text(tmp_path, text)
    assert code == 0
    assert "trunk      pbx (custom): calls from EVERY address\n" in output
    assert "agent      reception: NO USABLE BACKEND: every call is refused with 503\n" in output
    assert "             model is left out: it has no api_key\n" in output


def test_example_is_fine_and_prefers_openai_where_there_is_a_key() -> None:
    code, output, errors = check(EXAMPLE, {"OPENAI_API_KEY": "sk-not-for-the-log"})
    assert (code, errors) == (0, "")
    assert "agent      reception: speaks with openai, then embedded\n" in output
    assert "sk-not-for-the-log" not in output


def test_example_speaks_with_the_embedded_server_without_a_key() -> None:
    _, output, _ = check(EXAMPLE)
    assert "agent      reception: speaks with embedded\n" in output
    assert "             openai is left out: it has no api_key\n" in output


def test_summary_says_which_share_of_calls_goes_to_a_candidate(tmp_path: Path) -> None:
    candidate = "  next: {backends: [model], instructions: Be briefer., version: winter}\n"
    text = MINIMAL.replace("Be brief.}", "Be brief., candidate: {agent: next, percent: 12.5}}").replace(
        "backends:\n", f"{candidate}backends:\n", 1
    )
    _, output, errors = check_text(tmp_path, text)
    assert errors == ""
    lines = output.splitlines()
    assert any(line.startswith("             version winter+") for line in lines)
    assert any(line.endswith("; 12.5 % to next") for line in lines)


def test_a_tool_that_cannot_be_made_is_a_fault_and_names_its_agent(tmp_path: Path) -> None:
    tool = "{look_up: {type: python, function: json:no_such_function}}"
    code, output, errors = check_text(tmp_path, MINIMAL.replace("Be brief.}", f"Be brief., tools: {tool}}}"))
    assert (code, output) == (1, "")
    assert errors == "gateway.yaml: agents.reception: json:no_such_function: json has no function no_such_function\n"
