"""Any bytes at all: the parser gives a message whose accessors work, or SipParseError, and nothing else.

The quick profile is what every test run does: some 4,000 cases. TRUNKLINE_FUZZ=deep makes it 240,000 mutated messages
and 32,000 generated ones, which takes some minutes. Both are seeded, so a failure comes again.
"""

import os
import random
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sip.header import NameAddr, Via
from sip.message import Request, parse_message
from sip.uri import Uri, is_host
from tests.helpers.sip_mutation import MORSELS, mutate
from tests.helpers.sip_oracle import check_message, check_stream
from tests.helpers.vector import sip_samples

DEEP = os.environ.get("TRUNKLINE_FUZZ") == "deep"
BY_GRAMMAR = 4_000 if DEEP else 40  # for each of two properties; drawing by the grammar is slow
BY_CHANCE = 12_000 if DEEP else 300  # for each of two properties
MUTATED = 240_000 if DEEP else 3_200
BATCHES = 8

# In CI the deep run has what the other tests leave of a core.
pytestmark = pytest.mark.timeout(1800 if DEEP else 120)


def fuzz(cases: int) -> settings:
    return settings(
        max_examples=cases,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )


SAMPLES = [sample for sample in sip_samples() if len(sample) < 4_000]

# The grammar of RFC 3261 §25 as strategies.
TOKENS = st.text("abcXYZ019-.!%*_+`'~", min_size=1, max_size=12)
ESCAPES = st.sampled_from(["%41", "%00", "%c3%a9", "%2B"])
USERS = st.lists(st.one_of(ESCAPES, st.text("abcXYZ019-_.!~*'()&=+$,;?/", min_size=1)), min_size=1).map("".join)
PASSWORDS = st.lists(st.one_of(ESCAPES, st.text("abc019-_.!~*'()&=+$,", min_size=1))).map("".join)
PARAM_TEXT = st.lists(st.one_of(ESCAPES, st.text("abc019-_.!~*'()[]/:&+$", min_size=1)), min_size=1).map("".join)
LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
HOSTS = st.one_of(
    st.tuples(st.lists(LABELS, max_size=3), st.from_regex(r"[a-z]([a-z0-9]{0,5})", fullmatch=True)).map(
        lambda parts: ".".join([*parts[0], parts[1]])
    ),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
)
PORTS = st.one_of(st.just(""), st.integers(1, 65535).map(lambda port: f":{port}"))
LWS = st.sampled_from(["", " ", "  ", "\t", "\r\n ", " \r\n\t "])
SPACE = st.sampled_from([" ", "  ", "\t", "\r\n ", " \r\n\t "])
QUOTED = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=12).map(
    lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
)


@st.composite
def uri_params(draw: st.DrawFn) -> str:
    names = draw(st.lists(PARAM_TEXT, max_size=4, unique_by=str.lower))
    return "".join(f";{name}" + draw(st.one_of(st.just(""), PARAM_TEXT.map(lambda v: f"={v}"))) for name in names)


@st.composite
def sip_uris(draw: st.DrawFn, headers: bool = False) -> str:
    scheme = draw(st.sampled_from(["sip", "sips", "SIP"]))
    user = draw(
        st.one_of(st.just(""), USERS.map(lambda u: f"{u}@"), st.tuples(USERS, PASSWORDS).map("{0[0]}:{0[1]}@".format))
    )
    tail = draw(st.sampled_from(["", "?a=b", "?Subject=x%20y&c="])) if headers else ""
    return f"{scheme}:{user}{draw(HOSTS)}{draw(PORTS)}{draw(uri_params())}{tail}"


@st.composite
def generic_params(draw: st.DrawFn, *given_params: str) -> str:
    names = draw(st.lists(TOKENS.filter(lambda n: n.lower() not in {"tag", "branch"}), max_size=4, unique_by=str.lower))
    params = list(given_params)
    for name in names:
        value = draw(st.one_of(st.none(), TOKENS, HOSTS, QUOTED))
        params.append(name if value is None else f"{name}{draw(LWS)}={draw(LWS)}{value}")
    return "".join(f"{draw(LWS)};{draw(LWS)}{param}" for param in params)


@st.composite
def addresses(draw: st.DrawFn, *given_params: str) -> str:
    name = draw(st.one_of(st.just(""), QUOTED, st.lists(TOKENS, min_size=1, max_size=3).map(" ".join)))
    uri = draw(st.one_of(sip_uris(headers=True), st.sampled_from(["tel:+15551234", "urn:service:sos"])))
    return f"{name}{draw(LWS)}<{uri}>{draw(generic_params(*given_params))}"


@st.composite
def vias(draw: st.DrawFn) -> str:
    transport = draw(st.sampled_from(["UDP", "TCP", "TLS", "tls", "x-y"]))
    slash = f"{draw(LWS)}/{draw(LWS)}"
    branch = f"branch=z9hG4bK{draw(TOKENS)}"
    return f"SIP{slash}2.0{slash}{transport}{draw(SPACE)}{draw(HOSTS)}{draw(PORTS)}{draw(generic_params(branch))}"


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, dict[str, object]]:
    """A request by the grammar, and what it must be read as."""
    method = draw(st.one_of(st.sampled_from(["INVITE", "BYE", "OPTIONS"]), TOKENS))
    number = draw(st.integers(0, 2**31 - 1))
    uri = draw(sip_uris())
    via_values = draw(st.lists(vias(), min_size=1, max_size=4))
    tag = draw(TOKENS)
    body = draw(st.binary(max_size=40))
    fields = [
        (draw(st.sampled_from(["From", "f", "FROM"])), draw(addresses(f"tag={tag}"))),
        (draw(st.sampled_from(["To", "t", "to"])), draw(addresses())),
        (draw(st.sampled_from(["Call-ID", "i", "CALL-id"])), draw(TOKENS)),
        ("CSeq", f"{number}{draw(SPACE)}{method}"),
        (draw(st.sampled_from(["Contact", "m"])), f"<{draw(sip_uris(headers=True))}>"),
        ("Max-Forwards", str(draw(st.integers(0, 255)))),
        (draw(st.sampled_from(["Content-Length", "l"])), str(len(body))),
        *draw(st.lists(st.tuples(TOKENS.map("X-{}".format), QUOTED), max_size=3)),
    ]
    if draw(st.booleans()):
        fields.append(("Via", f"{draw(LWS)},{draw(LWS)}".join(via_values)))
    else:
        fields += [("v", value) for value in via_values]
    order = draw(st.permutations(range(len(fields))))
    positions = [order.index(i) for i in range(len(fields)) if fields[i][0] in {"Via", "v"}]
    for target, source in zip(
        sorted(positions), [i for i, f in enumerate(fields) if f[0] in {"Via", "v"}], strict=True
    ):
        order = [*order[:target], source, *order[target + 1 :]]  # Vias keep their order among themselves
    lines = [f"{fields[i][0]}{draw(st.sampled_from(['', ' ']))}:{draw(LWS)}{fields[i][1]}" for i in order]
    head = "\r\n".join([f"{method} {uri} SIP/2.0", *lines, "", ""])
    expected = {"method": method, "uri": uri, "number": number, "tag": tag, "vias": len(via_values), "body": body}
    return head.encode() + body, expected


@fuzz(BY_GRAMMAR)
@given(requests())
def test_request_by_the_grammar_is_read_as_it_was_meant(case: tuple[bytes, dict[str, object]]) -> None:
    data, expected = case
    message = check_message(data)
    assert isinstance(message, Request)
    assert expected == {
        "method": message.method,
        "uri": str(message.uri),
        "number": message.cseq.number,
        "tag": message.from_.tag,
        "vias": len(message.vias),
        "body": message.body,
    }


@fuzz(BY_GRAMMAR)
@given(sip_uris(headers=True), addresses(), vias())
def test_values_by_the_grammar_are_written_as_they_are_read(uri: str, address: str, via: str) -> None:
    assert str(Uri.parse(uri)) == uri
    assert Uri.parse(uri).equivalent(Uri.parse(uri))
    unfolded = address.replace("\r\n", "")
    assert NameAddr.parse(str(NameAddr.parse(unfolded))) == NameAddr.parse(unfolded)
    unfolded = via.replace("\r\n", "")
    assert Via.parse(str(Via.parse(unfolded))) == Via.parse(unfolded)
    assert is_host(Via.parse(unfolded).host)


@fuzz(BY_CHANCE)
@given(
    st.sampled_from(SAMPLES),
    st.lists(
        st.tuples(st.floats(0, 1), st.floats(0, 0.1), st.one_of(st.sampled_from(MORSELS), st.binary(max_size=8))),
        max_size=6,
    ),
)
def test_message_with_pieces_replaced_breaks_nothing(sample: bytes, changes: list[tuple[float, float, bytes]]) -> None:
    for place, length, piece in changes:
        at = int(place * len(sample))
        sample = sample[:at] + piece + sample[at + int(length * len(sample)) :]
    check_message(sample)


@fuzz(BY_CHANCE)
@given(st.one_of(st.binary(max_size=300), st.lists(st.sampled_from(MORSELS), max_size=60).map(b"".join)))
def test_noise_breaks_nothing(data: bytes) -> None:
    check_message(data)
    check_message(b"INVITE sip:a SIP/2.0\r\nVia: " + data + b"\r\n\r\n")
    check_stream(data, len(data) // 2)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_mutated_messages_break_nothing(batch: int) -> None:
    source = random.Random(batch)
    for case in range(MUTATED // BATCHES):
        data = mutate(source, source.choice(SAMPLES), SAMPLES)
        try:
            check_message(data)
            if case % 8 == 0:
                check_stream(data, source.randrange(len(data) + 1))
        except BaseException as error:
            error.add_note(f"batch {batch}, case {case}: {data!r}")
            raise


def test_memory_stays_flat_under_mutated_messages() -> None:
    source = random.Random(99)
    messages = [mutate(source, source.choice(SAMPLES), SAMPLES) for _ in range(400)]

    def parse_all() -> None:
        for data in messages:
            check_message(data)

    parse_all()
    tracemalloc.start()
    try:
        parse_all()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(3):
            parse_all()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 20_000, "the parser keeps something of every message"


def test_samples_hold_messages_that_parse_and_messages_that_do_not() -> None:
    accepted = sum(check_message(sample) is not None for sample in SAMPLES)
    assert 40 < accepted < len(SAMPLES) - 30
    assert isinstance(parse_message(SAMPLES[0]), Request)
