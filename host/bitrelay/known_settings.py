"""What this release knows of each setting of a relay: what it is for, what it takes, and when it takes effect.

The table itself is shared_protocol/settings.py, which relay and host have in common; the words are only here.
"""

import difflib
from dataclasses import dataclass
from typing import Any

from shared_protocol import settings as table

from .errors import BadData

Value = int | str

_MEANING = {
    "name": "how this relay is called in lists and logs",
    "max_links": "Bluetooth links at a time, in both directions together",
    "dial_max": "links that it dials itself; the others stay open to phones",
    "phone_slots": "links that other relays may not take",
    "frame_slots": "frames it holds in memory at a time, 512 bytes each",
    "watchdog_s": "a program that hangs for so long is restarted",
    "led_pin": "the pin of the status LED, -1 for none",
    "log_level": "how much it logs: 0 nothing, 1 errors, 2 warnings, 3 information, 4 everything",
}


@dataclass(frozen=True)
class Setting:
    """One setting. A number has lowest and highest, a text has longest, in bytes of UTF-8.

    at_restart: a change waits for the next start; on_trial: a change can cut the link to the relay, so that it reverts
    unless it is confirmed.
    """

    key: str
    meaning: str
    default: Value
    unit: str
    lowest: int | None
    highest: int | None
    longest: int | None
    at_restart: bool
    on_trial: bool

    @property
    def takes(self) -> str:
        """The values it takes, in words: "a whole number from 1 to 9 (links)"."""
        if self.longest is not None:
            return f"text of 1 to {self.longest} bytes"
        return f"a whole number from {self.lowest} to {self.highest}" + (f" ({self.unit})" if self.unit else "")

    @property
    def range(self) -> str:
        """The values it takes, in a few characters: "1 to 9"."""
        return f"1 to {self.longest} bytes" if self.longest is not None else f"{self.lowest} to {self.highest}"

    @property
    def effect(self) -> str:
        """When a change takes effect, in a few words."""
        when = "at the next start" if self.at_restart else "at once"
        return f"{when}, on trial" if self.on_trial else when

    def check(self, value: Any) -> Value:
        """The value if it is one that this setting takes; raises ValueError with what is demanded if not."""
        if table.problem(self.key, value) is not None:
            raise ValueError(self.takes)
        checked: Value = value
        return checked

    def parse(self, text: str) -> Value:
        """The value of what somebody typed. Raises BadData naming the key, the value and what it must be."""
        try:
            value: Value = table.parse(self.key, text)
        except ValueError:
            raise BadData(f"{self.key} must be {self.takes}, not {text!r}") from None
        return value


def known_settings() -> dict[str, Setting]:
    """All settings by key, in the order of the table."""
    return {key: _setting(key, rule) for key, rule in table.TABLE.items()}


def find_setting(key: str) -> Setting:
    """The setting of this key. Raises BadData, with the key that may be meant, if there is none."""
    known = known_settings()
    if key not in known:
        raise unknown_setting(key, list(known))
    return known[key]


def unknown_setting(key: str, known: list[str]) -> BadData:
    """The error for a key that is not among the known ones."""
    close = difflib.get_close_matches(key, known, 1)
    return BadData(
        f"no setting {key!r}", hint=f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(known)}"
    )


def _setting(key: str, rule: Any) -> Setting:
    default, *limits, flags, unit = rule
    lowest, highest = limits if len(limits) == 2 else (None, None)
    longest = limits[0] if len(limits) == 1 else None
    return Setting(
        key, _MEANING.get(key, ""), default, unit, lowest, highest, longest,
        at_restart=table.RESTART in flags, on_trial=table.TRIAL in flags,
    )  # fmt: skip
