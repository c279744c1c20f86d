"""Reads a scenario from a TOML file."""

import difflib
import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bitrelay.boards.catalog import read_board
from bitrelay.known_settings import known_settings
from bitrelay.toml_source import Rule, Source, Table, TomlError
from bitrelay.tree import boards_dir

from .esp_resets import ROM_WORDS
from .frame_maker import Kind
from .phone_profile import PROFILES
from .radio import RSSI_FLOOR
from .scenario import (
    DEFAULT_BOARD,
    MAX_NODES,
    BoardSpec,
    Edge,
    Fault,
    FaultKind,
    PhoneSpec,
    Position,
    Scenario,
)
from .traffic import ALL_KINDS, Flow

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,23}")
_HEAP = re.compile(r"[1-9][0-9]{0,6}(k|m|wk|wm)", re.IGNORECASE)
_PACKAGED = Path(__file__).parent / "scenarios"

# A phone's clock may be wrong by so many seconds: years.
_CLOCK_MOST_S = 1e9

# What each fault needs besides `at`.
_FAULT_KEYS = {
    FaultKind.KILL: ("node",),
    FaultKind.START: ("node",),
    FaultKind.FREEZE: ("node",),
    FaultKind.THAW: ("node",),
    FaultKind.REBOOT: ("node",),
    FaultKind.MOVE: ("node", "position"),
    FaultKind.JAM: ("between",),
    FaultKind.UNJAM: ("between",),
    FaultKind.LOSS: ("loss",),
}
_BOARDS_ONLY = (FaultKind.FREEZE, FaultKind.THAW)


def find_scenario(name: str) -> Path:
    """The file of a scenario: a path, or the name of one that comes with the package. Raises TomlError."""
    path = Path(name)
    if path.suffix == ".toml" or path.exists():
        return path
    found = _PACKAGED / f"{name}.toml"
    if _NAME.fullmatch(name) and found.is_file():
        return found
    known = ", ".join(sorted(file.stem for file in _PACKAGED.glob("*.toml")))
    raise TomlError(f"no scenario {name!r}", hint=f"Give a .toml file, or one of: {known}")


def is_name(text: str) -> bool:
    """Whether a node can be called this: 1 to 24 letters, digits, - and _, and not "all", which means everybody."""
    return _NAME.fullmatch(text) is not None and text != "all"


def load_scenario(path: Path) -> Scenario:
    """Read a scenario file. Raises TomlError, with the line, for whatever is wrong in it."""
    source = Source(path)
    tables = source.tables(("board", "phone", "edge", "traffic", "fault"))
    head = source.root().read(
        {
            "title": Rule(_text),
            "seed": Rule(_whole(0, 1 << 31)),
            "loss": Rule(_number(0, 0.99)),
            "exponent": Rule(_number(1, 6)),
        }
    )
    boards = tuple(_board(table) for table in tables["board"])
    phones = tuple(_phone(table) for table in tables["phone"])
    if not boards and not phones:
        raise TomlError(f"{path}: no [[board]] and no [[phone]]")
    if len(boards) + len(phones) > MAX_NODES:
        raise TomlError(f"{path}: more than {MAX_NODES} nodes", hint="Larger networks are for the simulator")
    nodes = _Nodes([board.name for board in boards], [phone.name for phone in phones])
    for table in (*tables["board"], *tables["phone"]):
        nodes.check_unique(table)
    return Scenario(
        **head,
        boards=boards,
        phones=phones,
        edges=tuple(_edge(table, nodes) for table in tables["edge"]),
        traffic=tuple(_flow(table, nodes) for table in tables["traffic"]),
        faults=tuple(_fault(table, nodes) for table in tables["fault"]),
    )


class _Nodes:
    def __init__(self, boards: list[str], phones: list[str]) -> None:
        self.boards = boards
        self.phones = phones
        self._seen: set[str] = set()

    def check_unique(self, table: Table) -> None:
        name = str(table.values["name"])
        if name in self._seen:
            raise table.error("name", f"a second node named {name!r}")
        self._seen.add(name)

    def check(self, table: Table, key: str, names: Iterable[str], known: list[str], what: str) -> None:
        for name in names:
            if name not in known:
                raise table.error(key, f"no {what} named {name!r}", f"There are: {', '.join(known) or 'none'}")


def _board(table: Table) -> BoardSpec:
    values = table.read(
        {
            "name": Rule(_name, required=True),
            "position": Rule(_position),
            "board": Rule(_text),
            "max_links": Rule(_whole(1, 9)),
            "heap": Rule(_heap),
            "settings": Rule(_settings),
        }
    )
    known = {file.stem: file for file in boards_dir().glob("*.toml")}
    kind = values.get("board", DEFAULT_BOARD)
    if kind not in known:
        raise table.error("board", f"no board {kind!r}", f"There are: {', '.join(sorted(known))}")
    model = read_board(known[kind])
    if model.chip.name not in ROM_WORDS:
        raise table.error("board", f"no virtual board has an {model.chip.title}")
    values.setdefault("max_links", model.links)
    _check_settings(table, values.get("settings", ()))
    return BoardSpec(**values, chip=model.chip.name)


def _check_settings(table: Table, settings: Iterable[tuple[str, str | int]]) -> None:
    known = known_settings()
    for key, value in settings:
        if key not in known:
            close = difflib.get_close_matches(key, known, 1)
            hint = f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(known)}"
            raise table.error("settings", f"no setting {key!r}", hint)
        try:
            known[key].check(value)
        except ValueError as error:
            raise table.error("settings", f"the setting {key} must be {error}, not {value!r}") from None


def _phone(table: Table) -> PhoneSpec:
    values = table.read(
        {
            "name": Rule(_name, required=True),
            "platform": Rule(_one_of(PROFILES)),
            "position": Rule(_position),
            "announce": Rule(_flag),
            "pace": Rule(_number(0.01, 1)),
            "announce_pace": Rule(_number(0.01, 1)),
            "clock_offset_s": Rule(_number(-_CLOCK_MOST_S, _CLOCK_MOST_S)),
        }
    )
    return PhoneSpec(**values)


def _edge(table: Table, nodes: _Nodes) -> Edge:
    values = table.read({"between": Rule(_pair, required=True), "rssi": Rule(_number(RSSI_FLOOR, 0))})
    nodes.check(table, "between", values["between"], nodes.boards + nodes.phones, "node")
    a, b = values["between"]
    return Edge(a, b, values.get("rssi", Edge.rssi))


def _flow(table: Table, nodes: _Nodes) -> Flow:
    values = table.read(
        {
            "from": Rule(_name, required=True),
            "to": Rule(_receivers, required=True),
            "kinds": Rule(_kinds),
            "count": Rule(_whole(1, 1_000_000)),
            "rate": Rule(_number(0.01, 10_000)),
            "window": Rule(_whole(1, 1000)),
            "hops": Rule(_whole(0, 6)),
            "ttl": Rule(_whole(1, 7)),
        }
    )
    sender = values.pop("from")
    nodes.check(table, "from", (sender,), nodes.phones, "phone")
    to = values.pop("to")
    if to == ("all",):
        to = tuple(name for name in nodes.phones if name != sender)
    nodes.check(table, "to", to, nodes.phones, "phone")
    if not to or sender in to:
        raise table.error("to", "traffic needs another phone than its sender")
    return Flow(sender, to, **({"kinds": ALL_KINDS} | values))


def _fault(table: Table, nodes: _Nodes) -> Fault:
    values = table.read(
        {
            "at": Rule(_number(0, 86_400), required=True),
            "kind": Rule(_one_of(FaultKind), required=True),
            "node": Rule(_name),
            "between": Rule(_pair),
            "position": Rule(_position),
            "over": Rule(_number(0, 86_400)),
            "loss": Rule(_number(0, 0.99)),
        }
    )
    kind = values["kind"] = FaultKind(values["kind"])
    wanted = _FAULT_KEYS[kind]
    for key in wanted:
        if key not in values:
            raise table.error("kind", f"{kind} needs {key!r}")
    for key in values:
        if key not in ("at", "kind", *wanted) and (kind is not FaultKind.MOVE or key != "over"):
            raise table.error(key, f"{kind} takes no {key!r}")
    everybody = nodes.boards + nodes.phones
    if "node" in wanted:
        known, what = (nodes.boards, "board") if kind in _BOARDS_ONLY else (everybody, "node")
        nodes.check(table, "node", (values["node"],), known, what)
    if "between" in wanted:
        nodes.check(table, "between", values["between"], everybody, "node")
    return Fault(**values)


# Readers: each takes a value from TOML and returns ours, or raises ValueError with what it must be.


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 200:
        raise ValueError("text of at most 200 characters")
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str) or not is_name(value):
        raise ValueError("a name of 1 to 24 letters, digits, - and _ (and not 'all')")
    return value


def _heap(value: Any) -> str:
    if not isinstance(value, str) or not _HEAP.fullmatch(value):
        raise ValueError('a size such as "192k"')
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _whole(least: int, most: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return value

    return read


def _number(least: float, most: float) -> Callable[[Any], float]:
    def read(value: Any) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"a number from {least:g} to {most:g}")
        return float(value)

    return read


def _one_of(known: Iterable[str]) -> Callable[[Any], str]:
    names = [str(name) for name in known]

    def read(value: Any) -> str:
        if value not in names:
            raise ValueError(f"one of {', '.join(names)}")
        return str(value)

    return read


def _position(value: Any) -> Position:
    numbers = value if isinstance(value, list) and len(value) == 2 else [math.nan, math.nan]
    if not all(isinstance(n, int | float) and not isinstance(n, bool) and abs(n) <= 1e6 for n in numbers):
        raise ValueError("two numbers, metres, such as [10, 2.5]")
    return float(numbers[0]), float(numbers[1])


def _pair(value: Any) -> tuple[str, str]:
    if (
        not isinstance(value, list)
        or len(value) != 2
        or not all(isinstance(n, str) for n in value)
        or value[0] == value[1]
    ):
        raise ValueError('the names of two nodes, such as ["alice", "relay1"]')
    return value[0], value[1]


def _receivers(value: Any) -> tuple[str, ...]:
    names = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
        raise ValueError('the name of a phone, a list of them, or "all"')
    return tuple(names)


def _kinds(value: Any) -> tuple[Kind, ...]:
    names = value if isinstance(value, list) else [value]
    if not names or not all(name in list(Kind) for name in names):
        raise ValueError(f"a list of {', '.join(Kind)}")
    return tuple(Kind(name) for name in names)


def _settings(value: Any) -> tuple[tuple[str, str | int], ...]:
    if not isinstance(value, dict) or not all(isinstance(v, str | int) for v in value.values()):
        raise ValueError("a table of settings, such as {dial_max = 2}")
    return tuple(value.items())
