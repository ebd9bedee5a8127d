"""From a file to a configuration, or to every fault in it at once.

Parts with faults are left out and the rules are applied to the rest, so that a wrong port does not hide a wrong agent.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway.config.errors import ConfigurationError, Fault, FaultLevel
from gateway.config.explain import explain, is_about_key, tree_path, value_at
from gateway.config.finding import Subject
from gateway.config.model import GatewayConfiguration
from gateway.config.rule import findings
from gateway.config.source import Source, Tree, TreePath, dotted, read_source

AGENT_FILE_SUFFIXES: Final = frozenset({".yaml", ".yml"})
STAND_IN: Final = "-"  # put where a key is missing, so that the rest of its section can be judged
EPHEMERAL_PORTS_FILE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")


@dataclass(frozen=True, slots=True)
class Inspection:
    """What became of a file: the configuration where it can be used, and everything that was found."""

    configuration: GatewayConfiguration | None
    faults: tuple[Fault, ...]

    @property
    def errors(self) -> tuple[Fault, ...]:
        """Faults that stop the start."""
        return tuple(fault for fault in self.faults if fault.level is FaultLevel.ERROR)

    @property
    def warnings(self) -> tuple[Fault, ...]:
        """Faults that should be seen and do not stop the start."""
        return tuple(fault for fault in self.faults if fault.level is FaultLevel.WARNING)


def load(path: Path, environ: Mapping[str, str]) -> GatewayConfiguration:
    """Reads a configuration.

    Args:
        path: the YAML file; relative paths in it are taken from its directory.
        environ: where ${NAME} is looked up.

    Raises:
        ConfigurationError: with every fault that stops the start.
    """
    inspection = inspect(path, environ, ephemeral_ports=read_ephemeral_ports())
    if inspection.configuration is None:
        raise ConfigurationError(inspection.errors)
    return inspection.configuration


def inspect(path: Path, environ: Mapping[str, str], *, ephemeral_ports: tuple[int, int] | None = None) -> Inspection:
    """Reads a configuration and finds everything that is wrong with it; never raises for what the file holds."""
    source = read_source(path, environ)
    if not isinstance(source.tree, dict):
        return Inspection(None, tuple(source.faults))
    _add_agent_files(source, source.tree, environ)
    context = {"directory": path.parent}
    salvaged, faults, left_out = _validate(source, context)
    faults = [*source.faults, *faults]
    subject = Subject(
        configuration=salvaged,
        agent_names=_names(source.tree, "agents"),
        backend_names=_names(source.tree, "backends"),
        ephemeral_ports=ephemeral_ports,
    )
    faults += _rule_faults(source, subject, left_out)
    faults.sort(key=lambda fault: (fault.file != path, str(fault.file), fault.line, fault.column))
    usable = not any(fault.level is FaultLevel.ERROR for fault in faults)
    return Inspection(salvaged if usable else None, tuple(faults))


def read_ephemeral_ports() -> tuple[int, int] | None:
    """The ports that the kernel hands out by itself (first, last); None where it does not say (not Linux)."""
    try:
        first, last = EPHEMERAL_PORTS_FILE.read_text().split()
        return int(first), int(last)
    except (OSError, ValueError):
        return None


def _add_agent_files(source: Source, tree: dict[str, Tree], environ: Mapping[str, str]) -> None:
    """Puts each file of `agents_directory` under `agents`, by the name of the file."""
    written = tree.get("agents_directory")
    if not isinstance(written, str):
        return
    directory = source.file.parent / Path(written).expanduser()
    if not directory.is_dir():
        place = source.position(("agents_directory",))
        source.faults.append(place.fault("agents_directory", f"there is no directory {directory}"))
        return
    agents = tree.get("agents")
    if agents is None:
        agents = tree["agents"] = {}
        source.values[("agents",)] = source.position(("agents_directory",))
    if not isinstance(agents, dict):
        return
    for file in sorted(file for file in directory.iterdir() if file.suffix in AGENT_FILE_SUFFIXES):
        path = ("agents", file.stem)
        if file.stem in agents:
            first = source.key_position(path)
            place = source.position(path) if first.file == file else first
            source.faults.append(place.fault(dotted(path), f"is also defined in {file}"))
            continue
        agent = read_source(file, environ, path)
        source.adopt(agent, path)
        agents[file.stem] = agent.tree


def _validate(source: Source, context: dict[str, Path]) -> tuple[GatewayConfiguration, list[Fault], set[TreePath]]:
    """The configuration without its faulty parts, the faults, and the paths of what was left out."""
    tree = copy.deepcopy(source.tree)
    faults: list[Fault] = []
    left_out: set[TreePath] = set()
    while True:  # each round takes something out of the tree, and an empty tree is valid
        try:
            return GatewayConfiguration.model_validate(tree, context=context), faults, left_out
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False)
        if not left_out:
            faults = list(_faults(source, details))
        for detail in details:
            path = tree_path(source, detail)
            if detail["type"] == "missing" and path not in left_out:
                _put(tree, path, STAND_IN)
                left_out.add(path)
            else:
                left_out.add(_leave_out(tree, path[:-1] if detail["type"] == "missing" else path, left_out))


def _faults(source: Source, details: Sequence[ErrorDetails]) -> Iterator[Fault]:
    known = {fault.key for fault in source.faults}
    for detail in details:
        path = tree_path(source, detail)
        if is_about_key(detail):
            yield source.key_position(path).fault(dotted(path), explain(detail, path, source))
        elif dotted(path) not in known and not (detail["type"] == "too_short" and _holds_faults(details, detail)):
            # (a variable that is not set leaves a value that is missing; faulty elements leave a list that is short)
            yield source.position(path).fault(dotted(path), explain(detail, path, source))


def _holds_faults(details: Sequence[ErrorDetails], outer: ErrorDetails) -> bool:
    return any(detail is not outer and detail["loc"][: len(outer["loc"])] == outer["loc"] for detail in details)


def _put(tree: Tree, path: TreePath, value: str) -> None:
    container = value_at(tree, path[:-1])
    if isinstance(container, dict):
        container[str(path[-1])] = value


def _leave_out(tree: Tree, path: TreePath, left_out: Set[TreePath]) -> TreePath:
    """Takes the value at the path out of the tree; where it is missing, or in a list, the nearest thing around it.

    Elements are never taken out of lists, since that would move the others away from their paths.
    """
    for length in range(len(path), 0, -1):
        container, last = value_at(tree, path[: length - 1]), path[length - 1]
        if isinstance(container, dict) and last in container:
            del container[str(last)]
            return path[:length]
        if path[:length] in left_out:
            return path[:length]
    raise AssertionError(f"a fault at {dotted(path)!r} is about nothing that was read")


def _names(tree: dict[str, Tree], section: str) -> frozenset[str] | None:
    entries = tree.get(section)
    if entries is None:
        return frozenset()
    return frozenset(entries) if isinstance(entries, dict) else None


def _rule_faults(source: Source, subject: Subject, left_out: set[TreePath]) -> Iterator[Fault]:
    for finding in findings(subject):
        if any(path[: len(finding.path)] == finding.path for path in left_out):
            continue  # it may be so only because of what was left out, which has its own fault
        place = source.key_position(finding.path) if finding.at_key else source.position(finding.path)
        fault = place.fault(dotted(finding.path), finding.reason)
        yield Fault(fault.file, fault.line, fault.column, fault.key, fault.reason, finding.level)
