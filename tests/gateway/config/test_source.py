"""YAML as text with positions: what is kept as it was written, what the environment fills, what is refused."""

from pathlib import Path
from textwrap import dedent

import pytest

from gateway.config.source import LARGEST_FILE_BYTES, MOST_NODES, Source, dotted, read_source


def read(tmp_path: Path, text: str | bytes, **environ: str) -> Source:
    file = tmp_path / "file.yaml"
    file.write_bytes(text if isinstance(text, bytes) else dedent(text).encode())
    return read_source(file, environ)


def reasons(source: Source) -> list[str]:
    return [f"{fault.line}:{fault.column} {fault.key}: {fault.reason}" for fault in source.faults]


def test_scalars_stay_the_text_that_was_written(tmp_path: Path) -> None:
    source = read(
        tmp_path, "number: +15550001111\nlanguage: no\nversion: 1.10\ndate: 2026-11-22\noctal: 0123\n+1555: x\n"
    )
    assert source.tree == {
        "number": "+15550001111",
        "language": "no",
        "version": "1.10",
        "date": "2026-11-22",
        "octal": "0123",
        "+1555": "x",
    }
    assert source.faults == []


def test_null_tilde_and_nothing_are_none_but_quoted_emptiness_is_text(tmp_path: Path) -> None:
    source = read(tmp_path, "a: null\nb: ~\nc:\nd: ''\ne: 'null'\n")
    assert source.tree == {"a": None, "b": None, "c": None, "d": "", "e": "null"}


def test_every_value_and_key_knows_its_line_and_column(tmp_path: Path) -> None:
    source = read(tmp_path, "a:\n  - x\n  - {b: y}\n")
    place = source.position(("a", 1, "b"))
    assert (place.line, place.column) == (3, 9)
    place = source.key_position(("a", 1, "b"))
    assert (place.line, place.column) == (3, 6)


def test_what_is_missing_is_placed_where_its_container_stands(tmp_path: Path) -> None:
    place = read(tmp_path, "a:\n  b: {c: 1}\n").position(("a", "b", "d", "e"))
    assert (place.line, place.column) == (2, 6)


@pytest.mark.parametrize(
    ("text", "environ", "value"),
    [
        ("${NAME}", {"NAME": "x"}, "x"),
        ("sip:${NAME}@${HOST}", {"NAME": "a", "HOST": "b"}, "sip:a@b"),
        ("${NAME:-y}", {}, "y"),
        ("${NAME:-y}", {"NAME": ""}, "y"),
        ("${NAME:-y}", {"NAME": "x"}, "x"),
        ("${NAME:-}", {}, None),
        ("'${NAME:-}'", {}, None),
        ("a${NAME:-}", {}, "a"),
        ("${NAME}", {"NAME": ""}, None),
        ("$${NAME}", {}, "${NAME}"),
        ("costs $5 and $$", {}, "costs $5 and $$"),
        ("${NAME:-wss://host/path?a=b}", {}, "wss://host/path?a=b"),
    ],
)
def test_environment_fills_placeholders(tmp_path: Path, text: str, environ: dict[str, str], value: str | None) -> None:
    source = read(tmp_path, f"key: {text}\n", **environ)
    assert source.tree == {"key": value}
    assert source.faults == []


def test_environment_fills_keys(tmp_path: Path) -> None:
    assert read(tmp_path, "${NUMBER}: reception\n", NUMBER="+15550001111").tree == {"+15550001111": "reception"}


def test_a_value_from_the_environment_cannot_smuggle_structure(tmp_path: Path) -> None:
    assert read(tmp_path, "key: ${NAME}\n", NAME="x\nanyone: true").tree == {"key": "x\nanyone: true"}


def test_a_placeholder_is_not_filled_twice(tmp_path: Path) -> None:
    assert read(tmp_path, "key: ${NAME}\n", NAME="${HOME}", HOME="/root").tree == {"key": "${HOME}"}


def test_variable_that_is_not_set_is_a_fault_with_its_place(tmp_path: Path) -> None:
    source = read(tmp_path, "a:\n  b: ${NAME}\n")
    assert reasons(source) == ["2:6 a.b: the environment variable NAME is not set and has no default"]


@pytest.mark.parametrize("text", ["${NAME", "${}", "${1A}", "${NAME:+x}", "${NAME-x}"])
def test_placeholder_in_another_form_is_a_fault(tmp_path: Path, text: str) -> None:
    (reason,) = reasons(read(tmp_path, f"a: {text}\n", NAME="x"))
    assert reason.startswith(f"1:4 a: {text!r} is neither ${{NAME}} nor ${{NAME:-default}}")


def test_key_that_is_written_twice_is_a_fault(tmp_path: Path) -> None:
    source = read(tmp_path, "a: 1\nb: 2\na: 3\n")
    assert reasons(source) == ["3:1 a: is written twice; it stands first in line 1"]


def test_anchors_aliases_and_merge_keys(tmp_path: Path) -> None:
    source = read(tmp_path, "base: &base {a: 1, b: 2}\none: *base\ntwo: {<<: *base, b: 3}\n")
    assert source.tree == {"base": {"a": "1", "b": "2"}, "one": {"a": "1", "b": "2"}, "two": {"a": "1", "b": "3"}}
    assert source.position(("two", "b")).line == 3
    assert source.position(("two",)).line == 3
    assert source.faults == []


def test_of_several_merged_mappings_the_earlier_wins(tmp_path: Path) -> None:
    source = read(tmp_path, "x: &x {a: 1}\ny: &y {a: 2, b: 2}\nz: {<<: [*x, *y]}\n")
    assert isinstance(source.tree, dict)
    assert source.tree["z"] == {"a": "1", "b": "2"}


def test_merging_what_is_no_mapping_is_a_fault(tmp_path: Path) -> None:
    assert reasons(read(tmp_path, "a: {<<: 1}\n")) == ["1:9 a: << takes a mapping or a list of mappings"]


def test_alias_of_its_own_container_is_a_fault(tmp_path: Path) -> None:
    (reason,) = reasons(read(tmp_path, "a: &a [*a]\n"))
    assert reason.endswith("a[0]: the alias leads back to the value that holds it")


def test_billion_laughs_are_cut_off(tmp_path: Path) -> None:
    lines = ["a: &a [ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
    lines += [
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    source = read(tmp_path, "\n".join(lines))
    assert reasons(source) == [f"1:1 : holds more than {MOST_NODES} values once its aliases are expanded"]


def test_deep_nesting_is_a_fault_and_not_a_stack_overflow(tmp_path: Path) -> None:
    (reason,) = reasons(read(tmp_path, "[" * 100_000))
    assert reason == "1:51 : is not YAML: values are nested more than 50 deep"


def test_tags_are_not_known(tmp_path: Path) -> None:
    assert reasons(read(tmp_path, "a: !!python/object/apply:os.system [id]\nb: !x 1\n")) == [
        "1:4 a: the tag tag:yaml.org,2002:python/object/apply:os.system is not known here",
        "2:4 b: the tag !x is not known here",
    ]


def test_key_that_is_a_list_is_a_fault(tmp_path: Path) -> None:
    assert reasons(read(tmp_path, "? [a]\n: 1\n")) == ["1:3 : a key must be a single value, not a list or a mapping"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("a: [1\nb: 2\n", "2:2 : is not YAML"),
        ("a: b: c\n", "1:5 : is not YAML"),
        ("a: *b\n", "1:4 : is not YAML: found undefined alias 'b'"),
        ("a: 1\n---\nb: 2\n", "2:1 : is not YAML: but found another document"),
        ("a: \x01\n", "1:1 : is not YAML: it holds the character U+0001"),
        (b"a: 1\nb: \xff\n", "2:1 : is not UTF-8 text"),
        ("", "1:1 : the file is empty"),
        ("# only a comment\n", "1:1 : the file is empty"),
        ("- a\n", "1:1 : must be a mapping of keys to values"),
        ("a" * (LARGEST_FILE_BYTES + 1), f"1:1 : is larger than {LARGEST_FILE_BYTES} bytes"),
    ],
)
def test_file_that_is_no_configuration(tmp_path: Path, content: str | bytes, reason: str) -> None:
    (found,) = reasons(read(tmp_path, content))
    assert found.startswith(reason)


def test_file_that_is_not_there(tmp_path: Path) -> None:
    (fault,) = read_source(tmp_path / "none.yaml", {}).faults
    assert str(fault) == f"{tmp_path / 'none.yaml'}:1:1: cannot be read: No such file or directory"


def test_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xef\xbb\xbfa: 1\n").tree == {"a": "1"}


def test_dotted_path_is_written_as_people_write_it() -> None:
    assert dotted(("network", "sip", 0, "port")) == "network.sip[0].port"
