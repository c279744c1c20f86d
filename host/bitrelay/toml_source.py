"""Reads TOML so that every complaint names file, line and remedy."""

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import BadData

_MAX_FILE = 1 << 20
_HEADER = re.compile(r"\s*\[\[?\s*([A-Za-z0-9_.-]+)\s*\]\]?")
_KEY = re.compile(r"\s*([A-Za-z0-9_-]+|\"[^\"]*\")\s*[.=]")


class TomlError(BadData):
    """Raised when a TOML file is not what it should be; the message begins with file:line."""


@dataclass(frozen=True)
class Rule:
    """What a key takes: read() turns the value from TOML into ours, or raises ValueError saying what it must be."""

    read: Callable[[Any], Any]
    required: bool = False


class Table:
    """One table of a file. title is its header as the file has it; index tells apart those of one array, from 0."""

    def __init__(self, source: "Source", title: str, index: int, values: Mapping[str, Any]) -> None:
        self._source = source
        self._title = title
        self._index = index
        self.values = values

    def read(self, rules: Mapping[str, Rule]) -> dict[str, Any]:
        """The values of all keys that are there. Raises TomlError for unknown, missing and wrong ones."""
        for key in self.values:
            if key not in rules:
                close = difflib.get_close_matches(key, rules, 1)
                hint = f"Did you mean {close[0]!r}?" if close else f"Known here: {', '.join(rules)}"
                raise self.error(key, f"unknown key {key!r}", hint)
        for key, rule in rules.items():
            if rule.required and key not in self.values:
                raise self.error(None, f"{key!r} is missing", None)
        return {key: self._read(key, value, rules[key]) for key, value in self.values.items()}

    def error(self, key: str | None, what: str, hint: str | None = None) -> TomlError:
        """A complaint about one key of this table, or about the table."""
        where = f"{self._source.path}:{self._source.line_of(self._title.strip('[]'), self._index, key)}"
        inside = f" in {self._title}" if self._title else ""
        return TomlError(f"{where}: {what}{inside}", hint=hint)

    def _read(self, key: str, value: Any, rule: Rule) -> Any:
        try:
            return rule.read(value)
        except ValueError as error:
            raise self.error(key, f"{key} must be {error}, not {value!r}") from None


class Source:
    """A parsed TOML file that knows on which line things are. Raises TomlError if it cannot be read or parsed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                raw = file.read(_MAX_FILE + 1)
        except OSError as error:
            raise TomlError(f"{path}: {error.strerror}") from None
        if len(raw) > _MAX_FILE:
            raise TomlError(f"{path}: larger than such a file can be")
        try:
            text = raw.decode("utf-8")
            self.values = tomllib.loads(text)
        except UnicodeDecodeError:
            raise TomlError(f"{path}: not UTF-8 text") from None
        except tomllib.TOMLDecodeError as error:
            at = re.search(r"\(at line (\d+), column \d+\)", str(error))
            what = re.sub(r"\s*\(at .*\)$", "", str(error))
            raise TomlError(f"{path}:{at[1] if at else '?'}: {what}") from None
        self._lines = _find_lines(text)

    def root(self) -> Table:
        """What stands before the first header."""
        return Table(self, "", 0, {key: value for key, value in self.values.items() if not _is_tables(value)})

    def tables(self, known: Iterable[str]) -> dict[str, list[Table]]:
        """The tables of each known array ([[name]]), in their order. Raises TomlError for any other table."""
        self._demand_known(known, lambda value: isinstance(value, list), "[[{}]]")
        return {
            name: [Table(self, f"[[{name}]]", n, v) for n, v in enumerate(self.values.get(name, []))] for name in known
        }

    def sections(self, known: Iterable[str]) -> dict[str, Table]:
        """The known single tables ([name]); those that are not there are empty. Raises TomlError for any other."""
        self._demand_known(known, lambda value: isinstance(value, dict), "[{}]")
        return {name: Table(self, f"[{name}]", 0, self.values.get(name, {})) for name in known}

    def _demand_known(self, known: Iterable[str], fits: Callable[[Any], bool], form: str) -> None:
        for name, value in self.values.items():
            if name in known:
                if not (_is_tables(value) and fits(value)):
                    raise self._table_error(name, f"{name} must be written as {form.format(name)}")
            elif _is_tables(value):
                raise self._table_error(name, f"unknown table {form.format(name)}", _known(known))

    def _table_error(self, name: str, what: str, hint: str | None = None) -> TomlError:
        line = self._lines.get((name, 0, None)) or self._lines.get(("", 0, name)) or 1
        return TomlError(f"{self.path}:{line}: {what}", hint=hint)

    def line_of(self, name: str, index: int, key: str | None) -> int:
        """The line of a key, else of its table's header, else the first."""
        return self._lines.get((name, index, key)) or self._lines.get((name, index, None)) or 1


def _known(names: Iterable[str]) -> str:
    return f"Known: {', '.join(names)}" if names else "There are none here"


def _is_tables(value: Any) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)
    )


def _find_lines(text: str) -> dict[tuple[str, int, str | None], int]:
    # tomllib forgets where things were. Headers and keys at the beginning of a line are all our files have.
    lines: dict[tuple[str, int, str | None], int] = {}
    name, index = "", 0
    seen: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            name = header[1]
            index = seen.get(name, -1) + 1
            seen[name] = index
            lines[name, index, None] = number
        elif key := _KEY.match(line):
            lines.setdefault((name, index, key[1].strip('"')), number)
    return lines
