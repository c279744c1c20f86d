# A relay's settings: what there is, what each one takes, and the file they are stored in. One table for the relay and
# for the host.
import json

from shared_protocol.interpreter import const

# Flags of a setting. RESTART: it takes effect at the relay's next start. TRIAL: a wrong value can end the way to the
# relay, over the air or over its cable (links, memory, a pin of the UART or of the flash), so it has to be confirmed.
RESTART = "r"
TRIAL = "t"

MAX_FILE = const(2048)

# key: (default, longest in bytes of UTF-8, flags, unit) of a text, (default, lowest, highest, flags, unit) of a number.
TABLE: "dict[str, tuple[str, int, str, str] | tuple[int, int, int, str, str]]" = {
    "name": ("bitrelay", 29, "", ""),
    "max_links": (4, 1, 9, "rt", "links"),  # what the radio of this board carries, both directions together
    "dial_max": (2, 0, 8, "rt", "links"),  # links that the relay dials; the others stay open to phones
    "phone_slots": (2, 0, 8, "rt", "links"),  # links that other relays may not take
    "frame_slots": (20, 8, 64, "rt", "frames"),  # frames in memory at once, 512 bytes each
    "watchdog_s": (30, 5, 3600, "r", "s"),
    "led_pin": (-1, -1, 48, "rt", ""),  # -1: none
    "log_level": (3, 0, 4, "", ""),
}

_MOST_DIGITS = const(9)
_DEPTH = const(4)


# What is wrong with a value, or None.
def problem(key: str, value: object) -> "str | None":
    rule = TABLE.get(key)
    if rule is None:
        return "no such setting"
    if len(rule) == 4:
        if isinstance(value, str) and 1 <= _size(value) <= rule[1]:
            return None
        return "must be text of 1 to %d bytes" % rule[1]
    # A truth value is an integer to Python, and no setting.
    if isinstance(value, int) and not isinstance(value, bool) and rule[1] <= value <= rule[2]:
        return None
    return "must be a whole number from %d to %d" % (rule[1], rule[2])


# The value that a text stands for. Raises ValueError with what is wrong with it.
def parse(key: str, text: str) -> "str | int":
    rule = TABLE.get(key)
    value: "str | int" = text
    if rule is not None and len(rule) == 5 and _is_number(text):
        value = int(text)
    wrong = problem(key, value)
    if wrong is not None:
        raise ValueError(wrong)
    return value


# The settings in a settings file; there are none in an empty one, which stands for one that is not there. Raises
# ValueError. Values are not checked: see check_all.
def decode_file(data: bytes) -> "dict[str, object]":
    if len(data) > MAX_FILE:
        raise ValueError("longer than %d bytes" % MAX_FILE)
    values: object = None
    try:
        values = json.loads(str(data, "utf-8")) if data else {}
    except (ValueError, RuntimeError):
        pass  # RuntimeError: nested too deep for CPython
    if not isinstance(values, dict):
        raise ValueError("not a JSON object")
    if not _is_plain(values, _DEPTH):
        raise ValueError("nested too deep, or with a number that is not whole")
    return values


# Whether MicroPython writes a value again as it read it: not so with infinity, nor with what is nested too deep.
def _is_plain(value: object, depth: int) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            if depth == 0 or not _is_plain(item, depth - 1):
                return False
        return True
    # To MicroPython a truth value is no integer.
    return value is None or isinstance(value, (str, int, bool))


# "key: reason" for each value that is wrong. Keys that are not known are somebody else's: a newer release's.
def check_all(values: "dict[str, object]") -> "list[str]":
    wrong = []
    for key in sorted(TABLE):
        if key in values:
            reason = problem(key, values[key])
            if reason is not None:
                wrong.append(key + ": " + reason)
    return wrong


# The value in force with these settings: the default where there is none, or one that is wrong.
def effective(values: "dict[str, object]", key: str) -> object:
    value = values.get(key)
    return value if value is not None and problem(key, value) is None else TABLE[key][0]


# Whether a change of settings can end the way to the relay.
def cuts(before: "dict[str, object]", after: "dict[str, object]") -> bool:
    for key, rule in TABLE.items():
        if TRIAL in str(rule[-2]) and effective(before, key) != effective(after, key):
            return True
    return False


# Not UTF-8 (half of a surrogate pair, which JSON can spell) has no size: no message could carry it.
def _size(text: str) -> int:
    for character in text:
        if 0xD800 <= ord(character) < 0xE000:
            return 0
    return len(text.encode())


# int() takes spaces, underscores and digits of other scripts, each interpreter others.
def _is_number(text: str) -> bool:
    digits = text[1:] if text.startswith("-") else text
    for character in digits:
        if character not in "0123456789":
            return False
    return 1 <= len(digits) <= _MOST_DIGITS
