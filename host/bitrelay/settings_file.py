"""A relay's settings as a text file: TOML, one line per key, with what it is for, what it takes, and its unit.

A key that is not in the file, or is commented out, has its default. The board itself stores JSON, see `to_board_file`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared_protocol import settings as table

from .errors import BadData
from .known_settings import Value, known_settings
from .toml_source import Rule, Source

_HEAD = """\
# Settings of a bitrelay relay. A key that is commented out has its default.
# `bitrelay config import FILE` puts this file on a relay as a whole, `bitrelay flash --settings FILE` while flashing.
"""


def load_settings_file(path: Path) -> dict[str, Value]:
    """The settings in a file, only those that it gives.

    Raises BadData, with file and line, the key and what is demanded of it, for whatever is wrong in it.
    """
    source = Source(path)
    source.sections(())
    return source.root().read({key: Rule(setting.check) for key, setting in known_settings().items()})


def render_settings(values: Mapping[str, Value]) -> str:
    """The text of a settings file: keys that have a value, and the others commented out with their default.

    Keys that this release does not know are left out: it cannot say what they take.
    """
    known = known_settings()
    lines = []
    for key, setting in known.items():
        if key in values:
            line = f"{key} = {_toml(values[key])}"
        else:
            line = f"# {key} = {_toml(setting.default)}"
        lines.append((line, f"{setting.meaning}; {setting.takes}"))
    width = max(len(line) for line, _ in lines)
    return _HEAD + "\n" + "".join(f"{line:<{width}}  # {comment}\n" for line, comment in lines)


def to_board_file(values: Mapping[str, Value]) -> bytes:
    """The bytes of /settings.json on the board for these settings, written as its own firmware writes them."""
    return json.dumps(dict(values), ensure_ascii=False, separators=(",", ":")).encode()


def read_board_file(data: bytes) -> dict[str, Any]:
    """The settings in the bytes of /settings.json, keys that this release does not know among them.

    Raises BadData naming each key whose value is wrong.
    """
    try:
        values = table.decode_file(data)
    except ValueError as error:
        raise BadData(f"not a relay's settings: {error}") from None
    wrong = table.check_all(values)
    if wrong:
        raise BadData(f"settings no relay takes: {'; '.join(wrong)}")
    return dict(values)


def _toml(value: Value) -> str:
    # JSON's form of a text is TOML's, but for one character, which TOML wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
