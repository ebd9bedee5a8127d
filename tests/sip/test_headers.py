"""The ordered multimap of header fields (RFC 3261 §7.3)."""

import pytest

from sip.headers import CANONICAL_NAMES, Headers, canonical_name


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("call-id", "Call-ID"),
        ("CALL-ID", "Call-ID"),
        ("i", "Call-ID"),
        ("I", "Call-ID"),
        ("cSeQ", "CSeq"),
        ("www-authenticate", "WWW-Authenticate"),
        ("x-twilio-callsid", "X-Twilio-CallSid"),
        ("X-My-Own", "X-My-Own"),
    ],
)
def test_names_have_one_canonical_form(name: str, canonical: str) -> None:
    assert canonical_name(name) == canonical


@pytest.mark.parametrize(
    ("compact", "full"),
    [
        ("a", "Accept-Contact"), ("b", "Referred-By"), ("c", "Content-Type"), ("d", "Request-Disposition"),
        ("e", "Content-Encoding"), ("f", "From"), ("i", "Call-ID"), ("j", "Reject-Contact"), ("k", "Supported"),
        ("l", "Content-Length"), ("m", "Contact"), ("n", "Identity-Info"), ("o", "Event"), ("r", "Refer-To"),
        ("s", "Subject"), ("t", "To"), ("u", "Allow-Events"), ("v", "Via"), ("x", "Session-Expires"), ("y", "Identity"),
    ],
)  # fmt: skip
def test_compact_forms__rfc3261_7_3_3(compact: str, full: str) -> None:
    assert CANONICAL_NAMES[compact] == CANONICAL_NAMES[compact.upper()] == full
    assert Headers([(compact, "1")]).get(full) == "1"
    assert Headers([(full, "1")]).get(compact) == "1"


def test_order_is_kept_and_values_of_one_name_are_found_together() -> None:
    headers = Headers([("v", "a"), ("X-One", "1"), ("Via", "b"), ("x-one", "2")])
    assert list(headers.items()) == [("Via", "a"), ("X-One", "1"), ("Via", "b"), ("x-one", "2")]
    assert (headers.get("VIA"), headers.get_all("via"), headers.get_all("X-ONE")) == ("a", ["a", "b"], ["1", "2"])
    assert (headers.get("X"), headers.get_all("X"), headers.values("X")) == (None, [], [])
    assert ("via" in headers, "route" in headers, 5 in headers, len(headers)) == (True, False, False, 4)


def test_values_are_cut_at_commas_only_where_the_grammar_makes_a_list() -> None:
    headers = Headers(
        [
            ("Supported", "100rel, timer"),
            ("Date", "Sat, 13 Nov 2010 23:29:00 GMT"),
            ("X-List", "a, b"),
            ("k", "path"),
        ]
    )
    assert headers.values("k") == ["100rel", "timer", "path"]
    assert headers.values("Date") == ["Sat, 13 Nov 2010 23:29:00 GMT"]
    assert headers.values("X-List") == ["a, b"]


def test_empty_list_says_none_and_a_list_with_a_hole_stays_whole__rfc3261_20_37() -> None:
    headers = Headers([("Supported", "")])
    assert headers.values("Supported") == []
    headers.add("Supported", "a,,b")
    headers.add("Supported", "c, d")
    assert headers.values("Supported") == ["a,,b", "c", "d"]


def test_line_of_too_many_values_stays_whole() -> None:
    headers = Headers([("Allow", ",".join(["A"] * count)) for count in (256, 257)])
    assert len(headers.values("Allow")) == 256 + 1


def test_set_takes_the_place_of_the_first_line() -> None:
    headers = Headers([("X-A", "1"), ("X-B", "2"), ("x-a", "3"), ("X-C", "4")])
    headers.set("X-A", "9")
    headers.set("X-D", "5")
    assert list(headers.items()) == [("X-A", "9"), ("X-B", "2"), ("X-C", "4"), ("X-D", "5")]


def test_lines_are_inserted_replaced_and_removed() -> None:
    headers = Headers([("Via", "b"), ("To", "t"), ("Via", "c")])
    headers.insert_first("v", "a")
    headers.replace_first("VIA", "z")
    assert headers.get_all("Via") == ["z", "b", "c"]
    headers.remove("v")
    headers.remove("v")
    assert list(headers.items()) == [("To", "t")]
    with pytest.raises(KeyError):
        headers.replace_first("Via", "x")


def test_copy_is_independent() -> None:
    headers = Headers([("To", "t")])
    copy = headers.copy()
    copy.set("To", "u")
    assert (headers.get("To"), copy.get("To")) == ("t", "u")
    assert headers == Headers([("t", "t")])
    assert headers != copy
    assert headers != [("To", "t")]
    assert repr(headers) == "Headers([('To', 't')])"


@pytest.mark.parametrize(("name", "value"), [("X", "x\r\nB: y"), ("X", "x\n"), ("X\r", "x"), ("", "x")])
def test_line_that_would_write_another_header_field_is_refused(name: str, value: str) -> None:
    headers = Headers([("X-A", "1")])
    for change in (headers.add, headers.set, headers.insert_first, headers.replace_first):
        with pytest.raises(ValueError, match="would break its line"):
            change(name, value)
    assert list(headers.items()) == [("X-A", "1")]


def test_change_drops_only_what_was_kept_of_that_field() -> None:
    headers = Headers([("To", "t"), ("From", "f")])
    headers.typed.update({"To": 1, "From": 2})
    headers.set("t", "u")
    assert headers.typed == {"From": 2}
