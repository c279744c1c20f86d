# The relay's settings: one JSON file, replaced as a whole, so that a power cut leaves the old one or the new one.
import json
import os

from micropython import const

PATH = "/settings.json"
_NEW = "/settings.new"
_MAX_FILE = const(2048)
_NAME_SHOWN = const(40)

# key: (default, lowest, highest) for numbers, (default, longest in bytes) for texts.
TABLE = {
    "name": ("bitrelay", 29),
    "max_links": (4, 1, 9),  # what the radio of this board carries, both directions together
    "dial_max": (2, 0, 8),  # links that we dial; the others stay open to phones
    "phone_slots": (2, 0, 8),  # links that other relays may not take
    "frame_slots": (20, 8, 64),  # frames in memory at once, 512 bytes each
    "watchdog_s": (30, 5, 3600),
    "led_pin": (-1, -1, 48),  # -1: none
    "log_level": (3, 0, 4),
}


# What is wrong with a value, or None.
def problem(key, value):
    rule = TABLE.get(key)
    if rule is None:
        return "no such setting"
    if isinstance(rule[0], str):
        if not isinstance(value, str):
            return "must be text"
        if not 1 <= len(value.encode()) <= rule[1]:
            return "must have 1 to %d bytes" % rule[1]
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        return "must be a whole number"
    if not rule[1] <= value <= rule[2]:
        return "must be from %d to %d" % (rule[1], rule[2])
    return None


class Settings:
    # Damaged files and values out of range never stop a relay: defaults stand in, and `trouble` says so.
    def __init__(self, path=PATH, new_path=_NEW):
        self.path = path
        self.new_path = new_path
        self.trouble = []
        self.values = {key: rule[0] for key, rule in TABLE.items()}
        # What was set, and what a newer firmware may have set: defaults are not stored, so that they may change.
        self._stored = {}
        for key, value in self._read().items():
            wrong = problem(key, value)
            if wrong is None:
                self.values[key] = value
            else:
                self.trouble.append("%s: %s" % (str(key)[:_NAME_SHOWN], wrong))
            if wrong is None or key not in TABLE:
                self._stored[key] = value

    def __getitem__(self, key):
        return self.values[key]

    # Takes the text form of a value and stores all settings. Raises ValueError with the reason.
    def set(self, key, text):
        rule = TABLE.get(key)
        value = text
        if rule is not None and not isinstance(rule[0], str):
            try:
                value = int(text)
            except ValueError:
                raise ValueError("must be a whole number") from None
        wrong = problem(key, value)
        if wrong is not None:
            raise ValueError(wrong)
        changed = dict(self._stored)
        changed[key] = value
        with open(self.new_path, "w") as f:
            json.dump(changed, f)
        # One rename: on littlefs the name has the old file or the new one, never half of one.
        os.rename(self.new_path, self.path)
        self._stored = changed
        self.values[key] = value
        return value

    def _read(self):
        try:
            with open(self.path, "rb") as f:
                data = f.read(_MAX_FILE + 1)
        except OSError:
            return {}
        try:
            if len(data) > _MAX_FILE:
                raise ValueError
            stored = json.loads(str(data, "utf-8"))
            if isinstance(stored, dict):
                return stored
        except ValueError:
            pass
        self.trouble.append("the settings file is damaged; defaults are in force")
        return {}
