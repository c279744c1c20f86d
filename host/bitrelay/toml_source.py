"""Reads TOML so that every complaint names file, line and remedy."""

import difflib
import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import BadData

_MAX_FILE = 1 << 20
_HEADER = re.compile(r"\s*\[\[?\s*([A-Za-z0-9_.-]+)\s*\]\]?")
_FORM = 'A line is key = value: a text in "quotes", a list in [ ], or true, or a number'
_TWICE = ("Cannot overwrite", "Cannot declare")
_KEY = re.compile(r"\s*([A-Za-z0-9_-]+|\"[^\"]*\")\s*[.=]")


class TomlError(BadData):
    """Raised when a TOML file is not what it should be; the message begins with file:line. line: None if unknown."""

    def __init__(self, what: str, *, line: int | None = None, device: str | None = None, hint: str | None = None):
        super().__init__(what, device=device, hint=hint)
        self.line = line


class BadValue(ValueError):
    """Raised by a rule for a value when "must be ..., not ..." would not tell what is wrong with it, or too much."""

    def __init__(self, what: str, hint: str | None = None) -> None:
        super().__init__(what)
        self.hint = hint


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
        self._inside = f" in {title}" if title else ""

    def read(self, rules: Mapping[str, Rule]) -> dict[str, Any]:
        """The values of all keys that are there. Raises TomlError for unknown, missing and wrong ones."""
        values, wrong = self.read_all(rules)
        if wrong:
            raise wrong[0]
        return values

    def read_all(self, rules: Mapping[str, Rule]) -> tuple[dict[str, Any], list[TomlError]]:
        """The values of all keys that are there and right; complaints about unknown, missing and wrong ones."""
        values: dict[str, Any] = {}
        wrong = []
        for key in self.values:
            if key not in rules:
                close = difflib.get_close_matches(key, rules, 1)
                hint = f"Did you mean {close[0]!r}?" if close else f"Known here: {', '.join(rules)}"
                wrong.append(self.error(key, f"unknown key {key!r}", hint))
        for key, rule in rules.items():
            if rule.required and key not in self.values:
                wrong.append(self.error(None, f"{key!r} is missing", f"Add {key} = ..."))
        for key, value in self.values.items():
            if key in rules:
                try:
                    values[key] = self._read(key, value, rules[key])
                except TomlError as error:
                    wrong.append(error)
        return values, wrong

    def error(self, key: str | None, what: str, hint: str | None = None) -> TomlError:
        """A complaint about one key of this table, or about the table."""
        return self.complaint(key, f"{what}{self._inside}", hint)

    def complaint(self, key: str | None, what: str, hint: str | None = None) -> TomlError:
        """The same, where `what` needs no word about the table it is in."""
        line = self.line_of(key)
        return TomlError(f"{self._source.path}:{line}: {what}", line=line, hint=hint)

    def line_of(self, key: str | None = None) -> int:
        """The line of a key, else of the table's header, else the first."""
        return self._source.line_of(self._title.strip("[]"), self._index, key)

    def _read(self, key: str, value: Any, rule: Rule) -> Any:
        try:
            return rule.read(value)
        except BadValue as error:
            raise self.complaint(key, f"{key}{self._inside}: {error}", error.hint) from None
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
            # Without a number it is at the end of the document.
            line = int(at[1]) if at else len(text.splitlines()) or 1
            twice = what.startswith(_TWICE)
            hint = "A key or a [table] is there twice: take one out" if twice else _FORM
            raise TomlError(f"{path}:{line}: {what}", line=line, hint=hint) from None
        except (ValueError, RecursionError):
            raise TomlError(f"{path}: a number in it is too long, or lists are nested too deeply") from None
        self._lines = _find_lines(text)

    def root(self, tables: Collection[str] = ()) -> Table:
        """What stands before the first header. tables: names that mistakes() complains about, if they are there."""
        found = {key: value for key, value in self.values.items() if not _is_tables(value) and key not in tables}
        return Table(self, "", 0, found)

    def tables(self, known: Collection[str]) -> dict[str, list[Table]]:
        """The tables of each known array ([[name]]), in their order. Raises TomlError for any other table."""
        for mistake in self.mistakes(arrays=known):
            raise mistake
        return {name: self.array(name) for name in known}

    def sections(self, known: Collection[str]) -> dict[str, Table]:
        """The known single tables ([name]); those that are not there are empty. Raises TomlError for any other."""
        for mistake in self.mistakes(sections=known):
            raise mistake
        return {name: self.section(name) for name in known}

    def array(self, name: str) -> list[Table]:
        """The tables of an array ([[name]]); none if there is none of this form."""
        tables = self.values.get(name)
        if not (isinstance(tables, list) and _is_tables(tables)):
            return []
        return [Table(self, f"[[{name}]]", number, values) for number, values in enumerate(tables)]

    def section(self, name: str) -> Table:
        """A single table ([name]); empty if there is none of this form."""
        values = self.values.get(name)
        return Table(self, f"[{name}]", 0, values if isinstance(values, dict) else {})

    def mistakes(self, arrays: Collection[str] = (), sections: Collection[str] = ()) -> list[TomlError]:
        """Complaints about tables that are in neither, or of the other form."""
        wrong = []
        for name, value in self.values.items():
            if name in arrays:
                if not (_is_tables(value) and isinstance(value, list)):
                    wrong.append(self._table_error(name, f"{name} must be written as [[{name}]]"))
            elif name in sections:
                if not isinstance(value, dict):
                    wrong.append(self._table_error(name, f"{name} must be written as [{name}]"))
            elif _is_tables(value):
                form = f"[[{name}]]" if isinstance(value, list) else f"[{name}]"
                wrong.append(self._table_error(name, f"unknown table {form}", _known([*arrays, *sections])))
        return wrong

    def _table_error(self, name: str, what: str, hint: str | None = None) -> TomlError:
        line = self._lines.get((name, 0, None)) or self._lines.get(("", 0, name)) or 1
        return TomlError(f"{self.path}:{line}: {what}", line=line, hint=hint)

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
