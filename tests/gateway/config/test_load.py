"""From a file to a configuration, or to every fault in it at once."""

import random
from pathlib import Path

import pytest

from gateway.config.errors import ConfigurationError, FaultLevel
from gateway.config.load import inspect, load, read_ephemeral_ports
from tests.gateway.config.conftest import Inspect

EXAMPLE = Path(__file__).resolve().parents[3] / "config" / "gateway.yaml"


def found(inspect_text: Inspect, text: str, **environ: str) -> list[str]:
    """Each fault as `line:column key: reason`."""
    faults = inspect_text(text, environ).faults
    return [f"{fault.line}:{fault.column} {fault.key}: {fault.reason}" for fault in faults]


def test_smallest_configuration_takes_all_defaults(inspect_text: Inspect, minimal: str) -> None:
    inspection = inspect_text(minimal)
    assert inspection.faults == ()
    assert inspection.configuration is not None
    assert inspection.configuration.network.sip[0].port == 5060
    assert inspection.configuration.network.rtp.calls == 5000
    assert inspection.configuration.agents["reception"].max_duration_seconds == 3300
    assert not inspection.configuration.recording.enabled


def test_configuration_cannot_be_changed(inspect_text: Inspect, minimal: str) -> None:
    configuration = inspect_text(minimal).configuration
    assert configuration is not None
    with pytest.raises(ValueError, match="frozen"):
        setattr(configuration.limits, "calls", 1)  # noqa: B010 a type checker refuses the assignment itself


def test_every_fault_is_reported_at_once_with_its_place(inspect_text: Inspect) -> None:
    text = """\
    network:
      sip: [{transport: sctp}]
      rtp: {first_prt: 20000}
    trunks:
      twilio:
        carrier: twilio
        numbers:
          +15550001111: receptoin
          "+1 555 000 2222": reception
        calls: 0
      twin:
        carrier: twillio
    agents:
      reception:
        backends: [opnai]
        greetings: Hello
    backends:
      openai: {type: openai, api_key: "${KEY}"}
      parrot: {type: parrot}
    limits: {calls: many}
    bakends: {}
    """
    assert found(inspect_text, text) == [
        "2:21 network.sip[0].transport: must be 'udp', 'tcp' or 'tls', not 'sctp'",
        "3:9 network.rtp.first_prt: is not known here; did you mean 'first_port'?",
        "8:21 trunks.twilio.numbers.+15550001111: there is no agent 'receptoin'; did you mean 'reception'?",
        "9:7 trunks.twilio.numbers.+1 555 000 2222: '+1 555 000 2222' is not an E.164 number; write it as +15550002222",
        "10:12 trunks.twilio.calls: must be at least 1, not '0'",
        "12:5 trunks.twin.numbers: is required",
        "12:14 trunks.twin.carrier: must be 'twilio', 'telnyx' or 'custom', not 'twillio'",
        "15:5 agents.reception.instructions: is required",
        "15:16 agents.reception.backends[0]: there is no backend 'opnai'; did you mean 'openai'?",
        "16:5 agents.reception.greetings: is not known here; did you mean 'greeting'?",
        "18:35 backends.openai.api_key: the environment variable KEY is not set and has no default",
        "19:18 backends.parrot.type: must be 'openai' or 'gemini' or 'openai_live' or 'embedded', not 'parrot'",
        "20:17 limits.calls: must be a whole number, not 'many'",
        "21:1 bakends: is not known here; did you mean 'backends'?",
    ]


def test_fault_is_one_line_that_editors_and_terminals_can_follow(
    inspect_text: Inspect, tmp_path: Path, minimal: str
) -> None:
    (fault,) = inspect_text(minimal + "limit: {}\n").faults
    assert str(fault) == f"{tmp_path}/gateway.yaml:11:1: limit: is not known here; did you mean 'limits'?"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("limits: {calls: 2.5}", "limits.calls: must be a whole number, not '2.5'"),
        ("limits: {calls: [1]}", "limits.calls: must be a whole number, not a list"),
        ("limits: {calls: 100000}", "limits.calls: must be at most 10000, not '100000'"),
        (
            "limits: {calls: 99999999999999999999999999}",
            "limits.calls: must be at most 10000, not '99999999999999999999999999'",
        ),
        ("limits: {setup_timeout_seconds: 0}", "limits.setup_timeout_seconds: must be greater than 0, not '0'"),
        ("limits: {setup_timeout_seconds: nan}", "limits.setup_timeout_seconds: must be a number, not 'nan'"),
        ("limits: {setup_timeout_seconds: soon}", "limits.setup_timeout_seconds: must be a number, not 'soon'"),
        ("limits: {drain_timeout_seconds: {}}", "limits.drain_timeout_seconds: must be a number, not a mapping"),
        ("limits: []", "limits: must be a mapping of keys to values, not a list"),
        ("limits: 5", "limits: must be a mapping of keys to values, not '5'"),
        ("recording: {enabled: perhaps}", "recording.enabled: must be true or false, not 'perhaps'"),
        ("recording: {enabled: []}", "recording.enabled: must be true or false, not a list"),
        ("recording: {format: mp3}", "recording.format: must be 'wav' or 'ogg', not 'mp3'"),
        ("recording: {directory: []}", "recording.directory: must be a path"),
        ("logging: {level: loud}", "logging.level: must be 'debug', 'info', 'warning' or 'error', not 'loud'"),
        ("network: {sip: []}", "network.sip: must not be empty"),
        ("network: {sip: 5060}", "network.sip: must be a list, not '5060'"),
        ("network: {sip: [5060]}", "network.sip[0]: must be a mapping of keys to values, not '5060'"),
        (
            "network: {public_address: gw.example.net}",
            "network.public_address: 'gw.example.net' is not an IPv4 or IPv6 address",
        ),
        ("network: {rtp: {first_port: 0}}", "network.rtp.first_port: must be at least 1, not '0'"),
    ],
)
def test_reason_says_what_the_value_must_be(inspect_text: Inspect, minimal: str, line: str, reason: str) -> None:
    (fault,) = inspect_text(f"{minimal}{line}\n").faults
    assert f"{fault.key}: {fault.reason}" == reason
    assert fault.line == 11


@pytest.mark.parametrize(
    ("agent", "reason"),
    [
        ("{instructions: x}", "agents.a.backends: is required"),
        ("{backends: [], instructions: x}", "agents.a.backends: must not be empty"),
        ("{backends: [model], instructions: ''}", "agents.a.instructions: must not be empty"),
        ("{backends: [model], instructions: []}", "agents.a.instructions: must be text, not a list"),
        (
            "{backends: [model], instructions: x, language: english}",
            "agents.a.language: 'english' is not a language tag such as en or pt-BR",
        ),
        ("{backends: [model], instructions: x, turn_detection: {}}", "agents.a.turn_detection: needs a type"),
        (
            "{backends: [model], instructions: x, turn_detection: {type: vad}}",
            "agents.a.turn_detection.type: must be 'server_vad' or 'semantic_vad' or 'client_vad', not 'vad'",
        ),
        (
            "{backends: [model], instructions: x, turn_detection: {type: semantic_vad, treshold: 1}}",
            "agents.a.turn_detection.treshold: is not known here; there is eagerness, interrupt_response, type",
        ),
        (
            "{backends: [model], instructions: x, turn_detection: {type: server_vad, treshold: 1}}",
            "agents.a.turn_detection.treshold: is not known here; did you mean 'threshold'?",
        ),
        (
            "{backends: [model], instructions: x, max_duration_seconds: 86401}",
            "agents.a.max_duration_seconds: must be at most 86400, not '86401'",
        ),
        ("text", "agents.a: must be a mapping of keys to values, not 'text'"),
        ("", "agents.a: must be a mapping of keys to values, not nothing"),
    ],
)
def test_faults_of_an_agent(inspect_text: Inspect, minimal: str, agent: str, reason: str) -> None:
    (fault,) = inspect_text(minimal.replace("agents:\n", f"agents:\n  a: {agent}\n")).faults
    assert f"{fault.key}: {fault.reason}" == reason


def test_name_that_cannot_be_a_label_is_a_fault_at_the_name(inspect_text: Inspect, minimal: str) -> None:
    text = minimal.replace("backends:\n  model", "backends:\n  my model: {type: embedded}\n  model")
    assert found(inspect_text, text) == [
        "10:3 backends.my model: 'my model' is not a name: at most 64 letters, digits and . _ -, no space"
    ]


def test_empty_value_means_the_default(inspect_text: Inspect, minimal: str) -> None:
    inspection = inspect_text(minimal + "limits:\nlogging: {level: '${LEVEL:-}'}\nnetwork: {public_address: }\n")
    assert inspection.faults == ()
    assert inspection.configuration is not None
    assert inspection.configuration.logging.level.value == "info"


def test_number_without_an_agent_is_a_fault_and_not_a_default(inspect_text: Inspect, minimal: str) -> None:
    text = minimal.replace('{"*": reception}', '{"*": reception, "100": }')
    assert found(inspect_text, text) == ["4:37 trunks.pbx.numbers.100: must be text, not nothing"]


def test_numbers_and_switches_may_come_from_the_environment(inspect_text: Inspect, minimal: str) -> None:
    text = minimal + "limits: {calls: '${CALLS}'}\nrecording:\n  enabled: ${RECORD}\n"
    configuration = inspect_text(text, {"CALLS": "7", "RECORD": "true"}).configuration
    assert configuration is not None
    assert configuration.limits.calls == 7
    assert configuration.recording.enabled


def test_missing_variable_is_one_fault_and_not_two(inspect_text: Inspect, minimal: str) -> None:
    text = minimal.replace("instructions: Be brief.", "instructions: ${WORDS}")
    assert found(inspect_text, text) == [
        "8:19 agents.reception.instructions: the environment variable WORDS is not set and has no default"
    ]


SECRET = "sk-not-for-the-log"


@pytest.mark.parametrize(
    "backend",
    [
        "{type: openai, api_key: '${KEY}', modle: x}",
        "{type: openai, url: '${KEY}'}",
        "{type: openai, dialect: '${KEY}'}",
        "{type: openai, api_key: ['${KEY}']}",
        "{type: openai, url: 'ws://example.net/v1', api_key: '${KEY}'}",
        "{type: openai, url: 'wss://user:${KEY}@example.net/v1'}",
        "{type: openai, url: 'wss://example.net:${KEY}/v1'}",
        "{type: '${KEY}'}",
        "'${KEY}'",
    ],
)
def test_a_secret_from_the_environment_is_never_in_a_fault(inspect_text: Inspect, minimal: str, backend: str) -> None:
    inspection = inspect_text(
        minimal.replace("backends:\n  model", f"backends:\n  b: {backend}\n  model"), {"KEY": SECRET}
    )
    assert inspection.faults
    assert SECRET not in "".join(str(fault) for fault in inspection.faults)


def test_a_key_is_not_shown_with_the_configuration(inspect_text: Inspect, minimal: str) -> None:
    text = minimal.replace("{type: embedded}", "{type: openai, api_key: '${KEY}'}")
    configuration = inspect_text(text, {"KEY": SECRET}).configuration
    assert SECRET not in repr(configuration)
    assert SECRET not in str(configuration)
    assert configuration is not None
    assert SECRET not in configuration.model_dump_json()


def test_load_raises_with_all_faults_and_returns_with_warnings(tmp_path: Path, minimal: str) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(minimal + "network: {rtp: {first_port: 20000, last_port: 20009}}\n")
    assert load(file, {}).network.rtp.calls == 5
    file.write_text(minimal + "limit: {}\nlimits: {call: 1}\n")
    with pytest.raises(ConfigurationError) as caught:
        load(file, {})
    assert [fault.key for fault in caught.value.faults] == ["limit", "limits.call"]
    assert str(caught.value).count("\n") == 1
    assert caught.value.label == "configuration"


def test_file_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.yaml:1:1: cannot be read: No such file or directory"):
        load(tmp_path / "none.yaml", {})


def test_warning_says_that_it_is_one_and_keeps_the_configuration(inspect_text: Inspect, minimal: str) -> None:
    inspection = inspect_text(minimal + "network: {rtp: {last_port: 20009}}\n")
    assert inspection.configuration is not None
    assert inspection.errors == ()
    (warning,) = inspection.warnings
    assert warning.level is FaultLevel.WARNING
    assert "gateway.yaml:11:16: network.rtp: warning: 20000–20009 carries 5 calls" in str(warning)


# ---- agents in files of their own ----


def with_agent_files(tmp_path: Path, minimal: str, **agents: str) -> list[str]:
    (tmp_path / "agents").mkdir(exist_ok=True)
    for name, text in agents.items():
        (tmp_path / "agents" / f"{name}.yaml").write_text(text)
    file = tmp_path / "gateway.yaml"
    file.write_text(minimal + "agents_directory: agents\n")
    return [str(fault).removeprefix(f"{tmp_path}/") for fault in inspect(file, {"VOICE": "marin"}).faults]


def test_each_file_of_the_directory_is_an_agent(tmp_path: Path, minimal: str) -> None:
    agent = "backends: [model]\ninstructions: x\nvoice: ${VOICE}\n"
    text = minimal.replace('{"*": reception}', '{"*": sales}')
    assert with_agent_files(tmp_path, text, sales=agent) == []
    configuration = load(tmp_path / "gateway.yaml", {"VOICE": "marin"})
    assert set(configuration.agents) == {"reception", "sales"}
    assert configuration.agents["sales"].voice == "marin"


def test_agents_may_all_stand_in_files(tmp_path: Path, minimal: str) -> None:
    agent = "backends: [model]\ninstructions: x\n"
    text = minimal.replace("agents:\n  reception:\n    backends: [model]\n    instructions: Be brief.\n", "")
    assert with_agent_files(tmp_path, text, reception=agent) == []


def test_faults_in_an_agent_file_name_that_file(tmp_path: Path, minimal: str) -> None:
    assert with_agent_files(tmp_path, minimal, sales="backends: [modle]\ninstruction: ${NONE}\nvoice: [x]\n") == [
        "agents/sales.yaml:1:1: agents.sales.instructions: is required",
        "agents/sales.yaml:1:12: agents.sales.backends[0]: there is no backend 'modle'; did you mean 'model'?",
        "agents/sales.yaml:2:1: agents.sales.instruction: is not known here; did you mean 'instructions'?",
        "agents/sales.yaml:2:14: agents.sales.instruction: the environment variable NONE is not set and has no default",
        "agents/sales.yaml:3:8: agents.sales.voice: must be text, not a list",
    ]


def test_agent_file_that_is_no_yaml_is_one_fault(tmp_path: Path, minimal: str) -> None:
    (fault,) = with_agent_files(tmp_path, minimal, sales="backends: [")
    assert fault.startswith("agents/sales.yaml:1:12: agents.sales: is not YAML")


def test_agent_that_is_defined_twice_is_a_fault(tmp_path: Path, minimal: str) -> None:
    agent = "backends: [model]\ninstructions: x\n"
    (fault,) = with_agent_files(tmp_path, minimal, reception=agent)
    assert fault == f"gateway.yaml:6:3: agents.reception: is also defined in {tmp_path}/agents/reception.yaml"


def test_directory_that_is_not_there_is_a_fault(inspect_text: Inspect, tmp_path: Path, minimal: str) -> None:
    assert found(inspect_text, minimal + "agents_directory: agnets\n") == [
        f"11:19 agents_directory: there is no directory {tmp_path}/agnets"
    ]


def test_agents_that_are_no_mapping_are_one_fault_beside_the_directory(tmp_path: Path, minimal: str) -> None:
    text = minimal.replace(
        "agents:\n  reception:\n    backends: [model]\n    instructions: Be brief.\n", "agents: []\n"
    )
    (fault,) = with_agent_files(tmp_path, text.replace("reception", "x"), sales="{}")
    assert fault.startswith("gateway.yaml:5:9: agents: must be a mapping")


# ---- bad input of every kind ----


def test_mangled_files_give_faults_and_never_a_traceback(inspect_text: Inspect) -> None:
    chance = random.Random(20261122)
    lines = EXAMPLE.read_text().splitlines()
    alphabet = "{}[]:#&*!|>'\"%@`-?, \t\n${}:-~<=abc019é"
    for _ in range(400):
        mangled = [line for line in lines if chance.random() > 0.05]
        for _ in range(chance.randrange(1, 6)):
            place = chance.randrange(len(mangled))
            column = chance.randrange(len(mangled[place]) + 1)
            cut = column + chance.randrange(3)
            mangled[place] = mangled[place][:column] + chance.choice(alphabet) + mangled[place][cut:]
        inspection = inspect_text("\n".join(mangled))
        assert inspection.configuration is not None or inspection.errors


def test_a_fault_of_an_agent_file_has_its_place_where_all_agents_are_files(tmp_path: Path) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "reception.yaml").write_text("backends: [model]\ninstructions: Be brief.\ngreting: Hello.\n")
    (tmp_path / "agents" / "night.yaml").write_text("backends: [model]\n")
    file = tmp_path / "gateway.yaml"
    file.write_text(
        "trunks: {pbx: {allow: [192.0.2.0/24], numbers: {'*': reception}}}\n"
        "agents_directory: agents\nbackends: {model: {type: embedded}}\n"
    )
    faults = [str(fault).replace(f"{tmp_path}/", "") for fault in inspect(file, {}).faults]
    assert faults == [
        "agents/night.yaml:1:1: agents.night.instructions: is required",
        "agents/reception.yaml:3:1: agents.reception.greting: is not known here; did you mean 'greeting'?",
    ]


def test_values_of_the_wrong_kind_anywhere_give_faults_and_never_a_traceback(inspect_text: Inspect) -> None:
    chance = random.Random(5060)
    lines = [line.partition(" #")[0] for line in EXAMPLE.read_text().splitlines() if not line.strip().startswith("#")]
    for _ in range(400):
        mangled = list(lines)
        for place in chance.sample(range(len(mangled)), 3):
            key, colon, _value = mangled[place].partition(": ")
            if colon:
                mangled[place] = (
                    key + ": " + chance.choice(["[]", "{}", "x", "-1", "[{a: b}]", "{a: {b: c}}", "~", "''"])
                )
        inspection = inspect_text("\n".join(mangled))
        assert inspection.configuration is not None or inspection.errors


def test_kernel_says_which_ports_are_ephemeral() -> None:
    ports = read_ephemeral_ports()
    assert ports is None or 0 < ports[0] < ports[1] < 65536
