# Messages of the serial console, defined once for the relay and the host.
#
# A body is: kind u8, request id u16, then fields of tag u8, length u16, value (big-endian). The host's requests have
# an id that is not 0, the answer's kind is request | ANSWER with the same id. A list answers with any number of
# records of that kind, then DONE; a failure answers ERROR. Events have id 0. Fields may be missing and unknown tags
# are skipped, so either end may be newer than the other.
from shared_protocol.interpreter import const

# Of INFO's answer; a host refuses a relay that speaks another version.
PROTOCOL = const(1)
MAX_BODY = const(1024)

ANSWER = const(0x80)

INFO = const(0x01)
STATS = const(0x02)
LINKS = const(0x03)
LISTEN = const(0x04)
SEND = const(0x05)
LOG = const(0x06)
GET = const(0x07)
SET = const(0x08)
REBOOT = const(0x09)
TIME = const(0x0A)
CONFIRM = const(0x0B)
EXPORT = const(0x0C)
IMPORT = const(0x0D)

EVENT_HELLO = const(0x40)
EVENT_LOG = const(0x41)
EVENT_FRAME = const(0x42)
EVENT_LINK = const(0x43)

DONE = const(0xFE)
ERROR = const(0xFF)

# What EXPORT and IMPORT carry, and how many bytes of it in a message.
SETTINGS = "settings"
IDENTITY = "identity"
PIECE = const(512)

LOG_OFF = const(0)
LOG_ERROR = const(1)
LOG_WARNING = const(2)
LOG_INFO = const(3)
LOG_DEBUG = const(4)

_HEADER = const(3)
_FIELD_HEADER = const(3)

_INFO = (
    "name:s version:s protocol:u chip:s unique_id:x micropython:s address:x uptime_s:u reset_cause:s max_links:u"
    " heap_free:u heap_used:u time_ms:u build:s restart:b trial_s:u clock:s clock_disputed:b identity:s silent:s"
    " neighbors:u on_air_id:x peer_id:x"
)

# kind: its fields as "name:type", whose tags count from 1; a field that goes leaves a name behind. Types: "u" unsigned
# and "i" signed integer of at most 8 bytes, "s" UTF-8 text, "x" bytes, "b" boolean, "U" list of unsigned 32-bit
# integers. In strings, because tables of tuples would take 6 KiB of a board's heap.
FIELDS = {
    INFO: "",
    INFO | ANSWER: _INFO,
    STATS: "",
    STATS | ANSWER: (
        "uptime_s:u heap_free:u heap_used:u slots_total:u slots_free:u slots_low:u loop_late_ms:u counters:U"
    ),
    LINKS: "",
    LINKS | ANSWER: (
        "conn:u role:s address:x address_type:u mtu:u state:s rssi:i rx_frames:u tx_frames:u queued:u dropped:u age_s:u"
        " service:s mode:s owner:x"
    ),
    LISTEN: "on:b new:b",
    LISTEN | ANSWER: "on:b",
    SEND: "frame:x",
    SEND | ANSWER: "links:u",
    LOG: "level:u",
    LOG | ANSWER: "level:u",
    GET: "key:s",
    GET | ANSWER: "key:s value:s",
    SET: "key:s value:s trial_min:u",
    SET | ANSWER: "key:s value:s restart:b trial_s:u",
    REBOOT: "",
    REBOOT | ANSWER: "",
    TIME: "time_ms:u",
    TIME | ANSWER: "time_ms:u",
    CONFIRM: "",
    CONFIRM | ANSWER: "",
    EXPORT: "what:s offset:u",
    EXPORT | ANSWER: "size:u offset:u data:x",
    IMPORT: "what:s size:u offset:u data:x crc:u trial_min:u",
    IMPORT | ANSWER: "size:u offset:u",
    EVENT_HELLO: _INFO,
    EVENT_LOG: "level:u text:s at_ms:u",
    EVENT_FRAME: "conn:u frame:x verdict:s at_ms:u",
    EVENT_LINK: "conn:u up:b role:s address:x reason:s",
    DONE: "count:u",
    ERROR: "code:s text:s",
}


# What a message carries: [name, type] by tag - 1. Of an unknown kind nothing is known.
def fields(kind: int) -> "list[list[str]]":
    return [field.split(":") for field in FIELDS.get(kind, "").split()]


# The body of a message; values that are missing or None are left out. Raises ValueError for an unknown kind, a name the
# message does not have, a value its type cannot carry, or a body above MAX_BODY.
def encode(kind: int, request_id: int, values: "dict[str, object] | None" = None) -> bytes:
    if kind not in FIELDS:
        raise ValueError("unknown kind " + str(kind))
    values = values or {}
    body = bytearray((kind, request_id >> 8, request_id & 255))
    known = 0
    tag = 0
    for name, form in fields(kind):
        tag += 1
        if name not in values:
            continue
        known += 1
        value = values[name]
        if value is None:
            continue
        raw = _pack(name, form, value)
        if len(body) + _FIELD_HEADER + len(raw) > MAX_BODY:
            raise ValueError(name + " does not fit the message")
        body.append(tag)
        body.append(len(raw) >> 8)
        body.append(len(raw) & 255)
        body.extend(raw)
    if known != len(values):
        raise ValueError("message " + str(kind) + " has no such field: " + ", ".join(_strangers(kind, values)))
    return bytes(body)


# (kind, request id, values) of a body, or None if it is malformed. Raises for no bytes whatever. A kind that is not
# known has no values, so that it can be answered.
def decode(body: bytes | bytearray | memoryview) -> "tuple[int, int, dict[str, object]] | None":
    size = len(body)
    if size < _HEADER or size > MAX_BODY:
        return None
    kind = body[0]
    known = fields(kind)
    values: "dict[str, object]" = {}
    at = _HEADER
    while at < size:
        if at + _FIELD_HEADER > size:
            return None
        tag = body[at]
        length = body[at + 1] << 8 | body[at + 2]
        at += _FIELD_HEADER
        if at + length > size:
            return None
        if 1 <= tag <= len(known):
            name, form = known[tag - 1]
            value = _unpack(form, bytes(body[at : at + length]))
            if value is None:
                return None
            values[name] = value
        at += length
    return kind, body[1] << 8 | body[2], values


def _strangers(kind: int, values: "dict[str, object]") -> "list[str]":
    names = [field[0] for field in fields(kind)]
    return [name for name in values if name not in names]


def _pack(name: str, form: str, value: object) -> bytes:
    if form == "s" and isinstance(value, str):
        return value.encode()
    if form == "x" and isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if form == "b":
        return b"\x01" if value else b"\x00"
    if form == "u" and isinstance(value, int) and 0 <= value < 1 << 64:
        return value.to_bytes(_width(value), "big")
    if form == "i" and isinstance(value, int) and -(1 << 63) <= value < 1 << 63:
        # The sign needs a bit of its own.
        width = _width((value if value >= 0 else -1 - value) << 1)
        return (value if value >= 0 else value + (1 << 8 * width)).to_bytes(width, "big")
    if form == "U" and isinstance(value, (list, tuple)):
        return b"".join([_u32(name, item) for item in value])
    raise ValueError(name + " cannot be " + repr(value))


def _width(value: int) -> int:
    width = 1
    while value > 255:
        value >>= 8
        width += 1
    return width


def _u32(name: str, item: int) -> bytes:
    if not 0 <= item < 1 << 32:
        raise ValueError(name + " cannot hold " + repr(item))
    return item.to_bytes(4, "big")


# None stands for "malformed": no type has it for a value.
def _unpack(form: str, raw: bytes) -> "str | bytes | bool | int | list[int] | None":
    if form == "x":
        return raw
    if form == "s":
        try:
            return str(raw, "utf-8")
        except UnicodeError:
            return None
    if form == "U":
        if len(raw) & 3:
            return None
        return [int.from_bytes(raw[at : at + 4], "big") for at in range(0, len(raw), 4)]
    if form == "b":
        return raw != b"\x00" if len(raw) == 1 else None
    if not 1 <= len(raw) <= 8:
        return None
    value = int.from_bytes(raw, "big")
    if form == "i" and raw[0] & 0x80:
        value -= 1 << 8 * len(raw)
    return value
