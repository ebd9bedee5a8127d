"""YAML as text with positions: a tree of mappings, lists and strings, and where in which file each of them stands.

Scalars stay the text that was written; what they mean is the model's business. So +15550001111 stays a telephone number
and `no` a language. `~`, `null` and nothing at all are None. `${NAME}` and `${NAME:-default}` are filled from the
environment in keys and values alike, after the YAML has been read: a value can't smuggle structure into the file.
Nothing in a file can cost more than the limits below: aliases are counted each time they are expanded.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

import yaml

from gateway.config.errors import Fault

LARGEST_FILE_BYTES: Final = 1 << 20  # a long set of instructions is 100 kB; more is not a configuration
DEEPEST_NESTING: Final = 50  # the model itself is 6 deep; the limit stands well before Python's recursion limit
MOST_NODES: Final = 50_000  # after aliases are expanded: what a "billion laughs" file runs into

Tree: TypeAlias = "str | list[Tree] | dict[str, Tree] | None"
TreePath: TypeAlias = tuple[str | int, ...]

# `$${` stands for a literal `${`. Everything else that begins with `${` must be a placeholder.
_PLACEHOLDER: Final = re.compile(r"\$\$\{|\$\{(?P<inside>[^}]*)(?P<end>\}?)")
_INSIDE: Final = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(:-(?P<default>.*))?", re.DOTALL)
# What YAML 1.1 gives to values without a tag. Scalars of all these kinds are text here, but for null.
_CORE_TAGS: Final = frozenset(
    f"tag:yaml.org,2002:{kind}"
    for kind in ("str", "null", "bool", "int", "float", "timestamp", "value", "merge", "seq", "map")
)
_NULL_TAG: Final = "tag:yaml.org,2002:null"
_MERGE_TAG: Final = "tag:yaml.org,2002:merge"


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file, counted from 1."""

    file: Path
    line: int
    column: int

    def fault(self, key: str, reason: str) -> Fault:
        """A fault at this place."""
        return Fault(self.file, self.line, self.column, key, reason)


@dataclass(slots=True)
class Source:
    """What was read: the tree, the place of every value (and of every key), and what was wrong with it."""

    file: Path
    tree: Tree = None
    values: dict[TreePath, Position] = field(default_factory=dict)
    keys: dict[TreePath, Position] = field(default_factory=dict)
    filled: set[TreePath] = field(default_factory=set)  # values in which a placeholder stood; they may be secrets
    faults: list[Fault] = field(default_factory=list)

    def position(self, path: TreePath) -> Position:
        """Where the value at the path stands; for what is not there, where its nearest container stands."""
        for length in range(len(path), -1, -1):
            if place := self.values.get(path[:length]):
                return place
        return Position(self.file, 1, 1)

    def key_position(self, path: TreePath) -> Position:
        """Where the key at the end of the path stands."""
        return self.keys.get(path) or self.position(path)

    def adopt(self, other: "Source", path: TreePath) -> None:
        """Takes over the positions and faults of another file whose tree was put at the path."""
        self.values.update({path + inner: place for inner, place in other.values.items()})
        self.keys.update({path + inner: place for inner, place in other.keys.items()})
        self.keys.setdefault(path, other.position(()))
        self.filled.update(path + inner for inner in other.filled)
        self.faults.extend(other.faults)


def dotted(path: TreePath) -> str:
    """A path as people write it: network.sip[0].port."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


class _Loader(yaml.SafeLoader):
    """Composes nodes and no more, and refuses nesting that would exhaust the stack."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        if self._depth > DEEPEST_NESTING:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, f"values are nested more than {DEEPEST_NESTING} deep", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _TooManyNodesError(Exception):
    """The file grew beyond MOST_NODES."""


class _Reader:
    """Turns composed nodes into a `Source`."""

    def __init__(self, file: Path, environ: Mapping[str, str], prefix: TreePath) -> None:
        self.source = Source(file)
        self._environ = environ
        self._prefix = prefix
        self._nodes = 0
        self._open: set[int] = set()

    def read(self, node: yaml.Node, path: TreePath) -> Tree:
        """The tree below a node."""
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise _TooManyNodesError
        self.source.values[path] = self._place(node)
        if node.tag not in _CORE_TAGS:
            self._fault(node, path, f"the tag {node.tag} is not known here")
            return None
        if isinstance(node, yaml.ScalarNode):
            return None if node.tag == _NULL_TAG and node.style is None else self._text(node, path)
        if id(node) in self._open:
            self._fault(node, path, "the alias leads back to the value that holds it")
            return None
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.read(child, (*path, index)) for index, child in enumerate(node.value)]
            return self._mapping(node, path)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.Node, path: TreePath) -> Tree:
        merged = self._merged([value for key, value in node.value if key.tag == _MERGE_TAG], path)
        self.source.values[path] = self._place(node)
        result: dict[str, Tree] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE_TAG:
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                self._fault(key_node, path, "a key must be a single value, not a list or a mapping")
                continue
            key = self._text(key_node, path) or ""
            inner = (*path, key)
            if key in result:
                first = self.source.keys[inner]
                self._fault(key_node, inner, f"is written twice; it stands first in line {first.line}")
                continue
            self.source.keys[inner] = self._place(key_node)
            result[key] = self.read(value_node, inner)
        return {**merged, **result}

    def _merged(self, nodes: list[yaml.Node], path: TreePath) -> dict[str, Tree]:
        """YAML's merge key `<<`: of several mappings the earlier wins; the mapping's own keys go over them later."""
        listed = [inner for node in nodes for inner in (node.value if isinstance(node, yaml.SequenceNode) else [node])]
        merged: dict[str, Tree] = {}
        for node in reversed(listed):
            if isinstance(node, yaml.MappingNode):
                tree = self.read(node, path)
                merged.update(tree if isinstance(tree, dict) else {})
            else:
                self._fault(node, path, "<< takes a mapping or a list of mappings")
        return merged

    def _text(self, node: yaml.ScalarNode, path: TreePath) -> str | None:
        """The scalar with its placeholders filled in; None where they came out as nothing at all."""
        text: str = node.value
        if "${" not in text:
            return text
        self.source.filled.add(path)
        filled = _PLACEHOLDER.sub(lambda match: self._fill(match, node, path), text)
        return filled or None

    def _fill(self, match: re.Match[str], node: yaml.ScalarNode, path: TreePath) -> str:
        if match["inside"] is None:
            return "${"
        inside = _INSIDE.fullmatch(match["inside"])
        if inside is None or not match["end"]:
            self._fault(
                node, path, f"{match[0]!r} is neither ${{NAME}} nor ${{NAME:-default}}; a literal ${{ is written $${{"
            )
            return ""
        value, default = self._environ.get(inside["name"]), inside["default"]
        if default is not None:
            return value or default
        if value is None:
            self._fault(node, path, f"the environment variable {inside['name']} is not set and has no default")
            return ""
        return value

    def _place(self, node: yaml.Node) -> Position:
        return Position(self.source.file, node.start_mark.line + 1, node.start_mark.column + 1)

    def _fault(self, node: yaml.Node, path: TreePath, reason: str) -> None:
        self.source.faults.append(self._place(node).fault(dotted(self._prefix + path), reason))


def read_source(file: Path, environ: Mapping[str, str], prefix: TreePath = ()) -> Source:
    """Reads one YAML file. Never raises for what stands in it: `Source.faults` says what is wrong.

    Args:
        file: the file.
        environ: where placeholders are looked up.
        prefix: where in the whole configuration the file's tree belongs; used in the keys of faults.
    """
    reader = _Reader(file, environ, prefix)
    source = reader.source
    key = dotted(prefix)
    text = _read_text(file, key, source.faults)
    if text is None:
        return source
    start = Position(file, 1, 1)
    try:
        node = _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Position(file, mark.line + 1, mark.column + 1) if mark else start
        source.faults.append(place.fault(key, f"is not YAML: {_sentence(error)}"))
        return source
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        source.faults.append(
            Position(file, line, 1).fault(key, f"is not YAML: it holds the character U+{error.character:04X}")
        )
        return source
    if node is None:
        source.faults.append(start.fault(key, "the file is empty"))
        return source
    try:
        source.tree = reader.read(node, ())
    except _TooManyNodesError:
        source.faults.append(start.fault(key, f"holds more than {MOST_NODES} values once its aliases are expanded"))
    if not source.faults and not isinstance(source.tree, dict):
        source.faults.append(start.fault(key, "must be a mapping of keys to values"))
    return source


def _read_text(file: Path, key: str, faults: list[Fault]) -> str | None:
    start = Position(file, 1, 1)
    try:
        with file.open("rb") as stream:
            data = stream.read(LARGEST_FILE_BYTES + 1)
    except OSError as error:
        faults.append(start.fault(key, f"cannot be read: {error.strerror}"))
        return None
    if len(data) > LARGEST_FILE_BYTES:
        faults.append(start.fault(key, f"is larger than {LARGEST_FILE_BYTES} bytes"))
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        faults.append(Position(file, line, 1).fault(key, "is not UTF-8 text"))
        return None


def _sentence(error: yaml.MarkedYAMLError) -> str:
    parts: Iterator[str | None] = iter((error.problem, error.context))
    return ", ".join(part for part in parts if part) or "it cannot be parsed"
