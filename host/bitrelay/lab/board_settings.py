"""The settings a board knows, as its firmware has them."""

import ast
import functools

from bitrelay.errors import BrokenInstallation
from bitrelay.tree import firmware_dir

Rule = tuple[str, int] | tuple[int, int, int]


@functools.cache
def known_settings() -> dict[str, Rule]:
    """TABLE of firmware/settings.py: (default, longest in bytes) of a text, (default, lowest, highest) of a number.

    Read, not imported: the file is MicroPython's. Raises BrokenInstallation if it has no such table.
    """
    path = firmware_dir() / "settings.py"
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "TABLE" for t in node.targets):
            table: dict[str, Rule] = ast.literal_eval(node.value)
            return table
    raise BrokenInstallation(f"{path} has no table of settings", hint="Install bitrelay again")


def demanded(rule: Rule, value: object) -> str | None:
    """What a value for a setting would have to be, None if it is."""
    if len(rule) == 2:
        fits = isinstance(value, str) and 1 <= len(value.encode()) <= rule[1]
        return None if fits else f"text of 1 to {rule[1]} bytes"
    fits = isinstance(value, int) and not isinstance(value, bool) and rule[1] <= value <= rule[2]
    return None if fits else f"a whole number from {rule[1]} to {rule[2]}"
