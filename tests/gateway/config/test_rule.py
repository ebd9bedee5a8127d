"""Rules between the sections of a configuration."""

from pathlib import Path

import pytest

from gateway.config.errors import FaultLevel
from tests.gateway.config.conftest import Inspect


def errors(inspect_text: Inspect, text: str) -> list[str]:
    return [f"{fault.key}: {fault.reason}" for fault in inspect_text(text).errors]


def warnings(inspect_text: Inspect, text: str, ephemeral_ports: tuple[int, int] | None = None) -> list[str]:
    inspection = inspect_text(text, ephemeral_ports=ephemeral_ports)
    assert inspection.errors == ()
    return [f"{fault.key}: {fault.reason}" for fault in inspection.warnings]


def trunk(minimal: str, *trunks: str) -> str:
    entries = "".join(f"  {entry}\n" for entry in trunks)
    return minimal.replace("trunks:\n", f"trunks:\n{entries}")


def test_a_gateway_needs_trunks_agents_and_backends(inspect_text: Inspect) -> None:
    assert errors(inspect_text, "network: {}\n") == [
        "trunks: at least one is needed under trunks",
        "agents: at least one is needed under agents",
        "backends: at least one is needed under backends",
    ]


def test_number_that_stands_twice_in_a_trunk_is_a_fault(inspect_text: Inspect, minimal: str) -> None:
    text = minimal.replace('{"*": reception}', '{"+15550001111": reception, "15550001111": reception}')
    assert errors(inspect_text, text) == [
        "trunks.pbx.numbers.15550001111: is the same number as +15550001111; one of them is enough"
    ]
    assert [fault.column for fault in inspect_text(text).faults] == [42]


def test_number_may_stand_in_several_trunks(inspect_text: Inspect, minimal: str) -> None:
    assert errors(inspect_text, trunk(minimal, 'two: {carrier: twilio, numbers: {"*": reception}}')) == []


def test_backend_that_is_named_twice_is_a_fault(inspect_text: Inspect, minimal: str) -> None:
    assert errors(inspect_text, minimal.replace("[model]", "[model, model]")) == [
        "agents.reception.backends[1]: names the backend 'model' a second time"
    ]


def test_limit_of_cost_that_nothing_counts_towards_is_a_warning(inspect_text: Inspect, minimal: str) -> None:
    limited = minimal.replace("[model]", "[service, model]").replace("Be brief.", "Be brief.\n    max_cost: 1")
    text = limited + "  service: {type: openai, api_key: k}\n"
    priced = limited + "  service: {type: openai, api_key: k, prices: {output_audio: 64}}\n"
    reason = "agents.reception.max_cost: has no effect: none of the agent's backends has prices"
    assert warnings(inspect_text, text) == [reason]
    assert warnings(inspect_text, priced) == []
    assert warnings(inspect_text, text.replace("embedded}", "embedded, prices: {output_audio: 1}}")) == [
        "agents.reception.max_cost: counts nothing of what service costs: no prices stand there"
    ]


def test_trunk_that_admits_nobody_is_a_fault(inspect_text: Inspect, minimal: str) -> None:
    assert errors(inspect_text, minimal.replace("allow: [192.0.2.0/24]", "carrier: custom")) == [
        "trunks.pbx.allow: admits nobody: the carrier 'custom' has no addresses of its own, so list them under allow"
    ]


@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0", "0.0.0.0/1", "128.0.0.0/7", "2000::/3"])
def test_range_for_the_whole_world_is_refused(inspect_text: Inspect, minimal: str, network: str) -> None:
    (error,) = errors(inspect_text, minimal.replace("192.0.2.0/24", f'"{network}"'))
    assert error.startswith(f"trunks.pbx.allow[0]: {network} is wider than /")
    assert error.endswith("a trunk that is open to everybody says `anyone: true`")


def test_whole_world_is_admitted_where_it_is_said(inspect_text: Inspect, minimal: str) -> None:
    assert errors(inspect_text, minimal.replace("allow: [192.0.2.0/24]", "anyone: true")) == []
    assert errors(inspect_text, minimal.replace("allow: [192.0.2.0/24]", "allow: [0.0.0.0/0]\n    anyone: true")) == []


@pytest.mark.parametrize("network", ["10.0.0.0/8", "fd00::/16"])
def test_private_network_may_be_admitted_whole(inspect_text: Inspect, minimal: str, network: str) -> None:
    assert errors(inspect_text, minimal.replace("192.0.2.0/24", f'"{network}"')) == []


@pytest.mark.parametrize(
    ("other", "shared"),
    [
        ("allow: [192.0.2.128/25]", "192.0.2.128/25"),
        ("allow: [192.0.0.0/16]", "192.0.2.0/24"),
        ("anyone: true", "192.0.2.0/24"),
    ],
)
def test_trunks_that_accept_the_same_address_are_a_fault(
    inspect_text: Inspect, minimal: str, other: str, shared: str
) -> None:
    text = minimal.replace("agents:", f'  two:\n    {other}\n    numbers: {{"*": reception}}\nagents:')
    assert errors(inspect_text, text) == [
        f"trunks.two: accepts {shared}, as the trunk 'pbx' does; put the numbers of both into one trunk"
    ]


def test_two_trunks_of_one_carrier_accept_the_same_addresses(inspect_text: Inspect, minimal: str) -> None:
    one, two = (f'{name}: {{carrier: twilio, numbers: {{"*": reception}}}}' for name in ("one", "two"))
    (error,) = errors(inspect_text, trunk(minimal, one, two))
    assert error.startswith("trunks.two: accepts 54.172.60.0/30, as the trunk 'one' does")


def test_addresses_of_the_two_families_stay_apart(inspect_text: Inspect, minimal: str) -> None:
    assert errors(inspect_text, trunk(minimal, 'six: {allow: ["2001:db8::/32"], numbers: {"*": reception}}')) == []


def test_media_allow_without_its_policy_has_no_effect(inspect_text: Inspect, minimal: str) -> None:
    text = minimal.replace("allow: [192.0.2.0/24]", "allow: [192.0.2.0/24]\n    media_allow: [192.0.2.0/24]")
    assert warnings(inspect_text, text) == [
        "trunks.pbx.media_allow: has no effect, since media_source is 'same_host' and not 'carrier'"
    ]
    assert warnings(inspect_text, text.replace("media_allow", "media_source: carrier\n    media_allow")) == []


@pytest.mark.parametrize(
    ("listeners", "taken"),
    [
        ("[{port: 5060}, {port: 5060}]", True),
        ("[{port: 5060}, {port: 5060, bind: 192.0.2.1}]", True),
        ("[{port: 5060, bind: 192.0.2.2}, {port: 5060, bind: 192.0.2.1}]", False),
        ("[{port: 5060}, {port: 5062}]", False),
        ("[{port: 5060}, {port: 5060, bind: '::'}]", False),
        ("[{port: 0}, {port: 0}]", False),
        ("[{port: 5060}, {port: 5060, transport: tcp}]", False),
        ("[{port: 5060, transport: tcp}, {port: 5060, transport: tcp, bind: 192.0.2.1}]", True),
    ],
)
def test_listeners_do_not_share_a_port(inspect_text: Inspect, minimal: str, listeners: str, taken: bool) -> None:
    expected = ["network.sip[1].port: 5060 is already taken by network.sip[0]"] if taken else []
    assert errors(inspect_text, f"{minimal}network: {{sip: {listeners}}}\n") == expected


def test_sip_port_inside_the_rtp_range_is_a_fault(inspect_text: Inspect, minimal: str) -> None:
    assert errors(inspect_text, minimal + "network: {sip: [{port: 25060}]}\n") == [
        "network.sip[0].port: 25060 lies in the range of the RTP ports, 20000–29999"
    ]


def test_tls_listener_needs_its_certificate_and_others_have_no_use_for_one(
    inspect_text: Inspect, minimal: str, tmp_path: Path
) -> None:
    def of(listener: str) -> list[str]:
        return errors(inspect_text, f"{minimal}network: {{sip: [{listener}]}}\n")

    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).touch()
    files = "certificate: cert.pem, key: key.pem"
    assert of(f"{{transport: tls, {files}}}") == []
    assert of("{transport: tls}") == [
        "network.sip[0].certificate: is required for TLS",
        "network.sip[0].key: is required for TLS",
    ]
    assert of("{transport: tls, certificate: cert.pem, key: other.pem}") == [
        f"network.sip[0].key: there is no file {tmp_path}/other.pem"
    ]
    assert of(f"{{transport: tls, {files}, require_client_certificate: true}}") == [
        "network.sip[0].client_ca: is needed to judge the certificates that are required"
    ]
    assert of("{transport: tcp, key: key.pem}") == ["network.sip[0].key: is for TLS; this listener's transport is tcp"]


def test_t2_is_not_less_than_t1(inspect_text: Inspect, minimal: str) -> None:
    assert errors(inspect_text, minimal + "network: {sip_timers: {t1_ms: 5000}}\n") == [
        "network.sip_timers.t2_ms: 4000 is less than t1_ms (5000)"
    ]


@pytest.mark.parametrize(("first", "last"), [(20001, 20002), (20000, 20000), (29999, 20000)])
def test_range_without_a_pair_of_ports_is_a_fault(inspect_text: Inspect, minimal: str, first: int, last: int) -> None:
    assert errors(inspect_text, f"{minimal}network: {{rtp: {{first_port: {first}, last_port: {last}}}}}\n") == [
        f"network.rtp: {first}–{last} holds no pair of ports (an even one and the next)"
    ]


def test_range_smaller_than_the_limit_of_calls_is_a_warning(inspect_text: Inspect, minimal: str) -> None:
    text = minimal + "network: {rtp: {first_port: 20001, last_port: 20010}}\n"
    assert warnings(inspect_text, text) == ["network.rtp: 20001–20010 carries 4 calls, fewer than limits.calls (100)"]


@pytest.mark.parametrize(
    ("first", "last", "overlaps"), [(20000, 32767, False), (20000, 32768, True), (61000, 65535, False)]
)
def test_range_inside_the_kernels_ephemeral_ports_is_a_warning(
    inspect_text: Inspect, minimal: str, first: int, last: int, overlaps: bool
) -> None:
    text = f"{minimal}network: {{rtp: {{first_port: {first}, last_port: {last}}}}}\n"
    expected = (
        f"network.rtp: {first}–{last} overlaps the kernel's ephemeral ports (32768–60999): "
        "other programs will take ports from calls"
    )
    assert warnings(inspect_text, text, (32768, 60999)) == ([expected] if overlaps else [])


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "224.0.0.1"])
def test_public_address_is_one_machines(inspect_text: Inspect, minimal: str, address: str) -> None:
    assert errors(inspect_text, f'{minimal}network: {{public_address: "{address}"}}\n') == [
        f"network.public_address: {address} is not the address of one machine"
    ]


def test_public_address_has_the_family_of_the_media_sockets(inspect_text: Inspect, minimal: str) -> None:
    text = minimal + 'network: {public_address: "2a00:1450::1"}\n'
    assert errors(inspect_text, text) == [
        "network.public_address: 2a00:1450::1 is IPv6, but media is received on 0.0.0.0 (network.rtp.bind)"
    ]
    assert errors(inspect_text, text.replace("{public", '{rtp: {bind: "::"}, public')) == []


def test_private_public_address_is_a_warning_where_a_carrier_must_reach_it(inspect_text: Inspect, minimal: str) -> None:
    text = minimal + "network: {public_address: 10.0.0.5}\n"
    assert warnings(inspect_text, text) == []
    assert warnings(inspect_text, trunk(text, 'two: {carrier: twilio, numbers: {"*": reception}}')) == [
        "network.public_address: 10.0.0.5 cannot be reached by twilio"
    ]


@pytest.mark.parametrize(
    ("backend", "reason"),
    [
        ("{type: openai, api_key: k, url: 'ws://192.0.2.1/v1'}", "url: would send the key unencrypted; use wss://"),
        ("{type: openai, api_key: k, url: 'ws://127.0.0.1:8000/v1'}", None),
        ("{type: openai, api_key: k, url: 'ws://[::1]:8000/v1'}", None),
        ("{type: openai, dialect: compatible, url: 'ws://192.0.2.1/v1'}", None),
        (
            "{type: openai, api_key: k, dialect: azure}",
            "url: is needed for the dialect 'azure'; wss://api.openai.com/v1/realtime speaks 'openai'",
        ),
        (
            "{type: openai, url: 'https://api.openai.com'}",
            "url: 'https://api.openai.com' is not a WebSocket URL such as wss://api.openai.com/v1/realtime",
        ),
        ("{type: openai, url: 'wss://u:p@example.net'}", "url: must not hold a user name or password"),
        ("{type: openai, url: 'wss://example.net:99999'}", "url: is not a URL with a host and a port"),
        ("{type: openai, url: 'wss://['}", "url: is not a URL with a host and a port"),
    ],
)
def test_backends_are_usable(inspect_text: Inspect, minimal: str, backend: str, reason: str | None) -> None:
    expected = [f"backends.model.{reason}"] if reason else []
    assert errors(inspect_text, minimal.replace("{type: embedded}", backend)) == expected


def test_script_is_looked_for_beside_the_configuration(inspect_text: Inspect, tmp_path: Path, minimal: str) -> None:
    text = minimal.replace("{type: embedded}", "{type: embedded, script: words.yaml}")
    assert errors(inspect_text, text) == [f"backends.model.script: there is no file {tmp_path}/words.yaml"]
    (tmp_path / "words.yaml").touch()
    assert errors(inspect_text, text) == []


def test_folder_to_write_to_is_not_a_file(inspect_text: Inspect, tmp_path: Path, minimal: str) -> None:
    (tmp_path / "calls").touch()
    assert errors(inspect_text, f"{minimal}records: {{directory: {tmp_path}/calls}}\n") == [
        f"records.directory: {tmp_path}/calls is a file, not a directory"
    ]


def test_a_fault_is_not_reported_for_what_another_fault_caused(inspect_text: Inspect, minimal: str) -> None:
    inspection = inspect_text(minimal.replace("192.0.2.0/24", "carrier.example"))
    assert [fault.key for fault in inspection.faults] == ["trunks.pbx.allow[0]"]
    assert inspection.faults[0].level is FaultLevel.ERROR


def test_client_certificates_need_a_listener_that_asks_for_them(inspect_text: Inspect, minimal: str) -> None:
    text = minimal.replace("allow: [192.0.2.0/24]", "client_certificates: [pbx.example.net]")
    (error,) = errors(inspect_text, text)
    assert error.startswith("trunks.pbx.client_certificates: no listener asks for client certificates")


def test_who_may_transfer_needs_a_list_of_destinations(inspect_text: Inspect, minimal: str) -> None:
    text = minimal.replace("    backends: [model]\n", "    backends: [model]\n    built_in_tools: [transfer_call]\n")
    assert errors(inspect_text, text) == [
        "agents.reception.built_in_tools: transfer_call needs a list of destinations; write them under transfer"
    ]


CONFERENCES = """conferences:
  stage: {seats: [{number: "3000"}, {number: "3001", trunk: pbx, role: host}]}
"""


def test_a_conference_with_numbers_of_its_own_is_no_fault(inspect_text: Inspect, minimal: str) -> None:
    assert errors(inspect_text, minimal + CONFERENCES) == []


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (
            '"3001", trunk: pbx',
            '"3000"',
            ["seats[1].number: leads to the conference 'stage' already, on the trunk 'pbx'"],
        ),
        ("stage: {", "stage: {music: /no/such/file, ", ["music: there is no file /no/such/file"]),
        ("trunk: pbx", "trunk: pxb", ["seats[1].trunk: there is no trunk 'pxb'; did you mean 'pbx'?"]),
        ("stage: {", "stage: {agent: nobody, ", ["agent: there is no agent 'nobody'; there is reception"]),
        (
            '{number: "3000"}',
            '{number: "*"}',
            ["seats[0].number: must be one number; a room is not what all numbers lead to"],
        ),
    ],
)
def test_what_a_conference_names_exists_once(
    inspect_text: Inspect, minimal: str, before: str, after: str, found: list[str]
) -> None:
    text = minimal + CONFERENCES.replace(before, after)
    assert errors(inspect_text, text) == [f"conferences.stage.{fault}" for fault in found]


def test_a_number_leads_to_an_agent_or_into_a_room(inspect_text: Inspect, minimal: str) -> None:
    text = minimal.replace('{"*": reception}', '{"3000": reception}') + CONFERENCES
    assert errors(inspect_text, text) == [
        "conferences.stage.seats[0].number: leads to the agent 'reception' already, on the trunk 'pbx'"
    ]


def test_recordings_are_sealed_and_uploaded_where_they_are_made(inspect_text: Inspect, minimal: str) -> None:
    section = """recording:
  encryption: {key: "%s"}
  upload: {bucket: calls, endpoint: "http://192.0.2.1:9000"}
"""
    key = "00" * 32
    assert warnings(inspect_text, minimal + section % key) == [
        "recording.encryption: has no effect, since recording.enabled is false",
        "recording.upload: has no effect, since recording.enabled is false",
    ]
    open_text = minimal + (section % key).replace("recording:", "recording:\n  enabled: true").replace(
        f'  encryption: {{key: "{key}"}}\n', ""
    )
    assert "recordings would go over the network in the clear" in warnings(inspect_text, open_text)[0]
    assert errors(inspect_text, minimal + section % "short")[0].startswith(
        "recording.encryption.key: A recording key is"
    )
    assert "short" not in errors(inspect_text, minimal + section % "short")[0]


@pytest.mark.parametrize(
    ("listener", "reason"),
    [
        ('{public_address: "0.0.0.0"}', "0.0.0.0 is not the address of one machine"),
        (
            '{public_address: "2a00:1450::1"}',
            "2a00:1450::1 is not of the IP version of 0.0.0.0, where this listener is bound",
        ),
        (
            '{bind: "::", public_address: "2a00:1450::1"}',
            "2a00:1450::1 is IPv6, but media is received on 0.0.0.0 (network.rtp.bind)",
        ),
    ],
)
def test_a_listeners_own_address_leads_to_it(inspect_text: Inspect, minimal: str, listener: str, reason: str) -> None:
    assert errors(inspect_text, f"{minimal}network: {{sip: [{listener}]}}\n") == [
        f"network.sip[0].public_address: {reason}"
    ]
