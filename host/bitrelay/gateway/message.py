"""What gateways say to one another (docs/protocol.md, "Between gateways"). Integers are big-endian.

| kind | message | fields |
|---|---|---|
| 1 | hello | version u8, name, fee u32, capacity u32, load u8, uptime u32, run u32, count u8 and meshes |
| 2 | frame | mesh of origin, mesh it is for, how long it has been under way u32, the frame |
| 3 | receipt | mesh it was for, key (16), outcome u8 |
| 4 | notice | what u8, mesh, count u8, keys (16 each) |

A mesh in a hello: name, geohash, flags u8, count u8 and subscriptions, each a text.
A text is its length u8 and printable UTF-8. Names of meshes have 1 to 64 bytes.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from .bridge_frame import KEY_SIZE, MAX_VALUE

VERSION: Final = 1
MOST_MESHES: Final = 16
MOST_SUBSCRIPTIONS: Final = 32
MOST_KEYS: Final = 255
MOST_NAME: Final = 64
MOST_BYTES: Final = 16 * 1024
"""Of any message."""

_HELLO, _FRAME, _RECEIPT, _NOTICE = 1, 2, 3, 4
_U32 = (1 << 32) - 1
_DOWNLINK, _UPLINK = 1, 2


class Outcome(IntEnum):
    """What became of a frame at the gateway it was sent to. From REFUSED on it will not be sent into the mesh."""

    SENT = 1
    """It is in the mesh."""
    QUEUED = 2
    """It waits for its turn; another receipt follows."""
    KNOWN = 3
    """It was there before."""
    REFUSED = 10
    """That mesh takes nothing from the internet, or nothing of this kind."""
    OVER_BUDGET = 11
    STALE = 12
    """Phones would no longer accept it."""
    MALFORMED = 13
    NO_RELAY = 14
    """Its relay does not answer: somebody else may do better."""


class Notice(IntEnum):
    """What gateways of one mesh tell one another."""

    CARRIED = 1
    """These frames of the mesh were carried up: the others need not."""
    INTAKE = 2
    """These frames from the internet go into the mesh now: who hears them there knows that they are not of it."""


@dataclass(frozen=True, slots=True)
class MeshOffer:
    """A mesh that a gateway joins, as it says."""

    name: str
    geohash: str = ""
    downlink: bool = False
    uplink: bool = True
    subscribe: tuple[str, ...] = ("*",)

    def wants(self, origin: str, geohash: str) -> bool:
        """Whether it wants what is for everybody in a mesh of this name and place."""
        return any(
            each == "*"
            or each == origin
            or (each.startswith("geo:") and geohash.startswith(each[4:]) and geohash != "")
            for each in self.subscribe
        )


@dataclass(frozen=True, slots=True)
class Hello:
    """What a gateway says of itself. capacity: frames a minute that its meshes take; load: percent of that in use;
    uptime_s: since it was started; run: chosen by chance when it was; fee: per message."""

    name: str
    meshes: tuple[MeshOffer, ...]
    fee: int = 1
    capacity: int = 0
    load: int = 0
    uptime_s: int = 0
    run: int = 0

    def mesh(self, name: str) -> MeshOffer | None:
        """What it offers of this mesh."""
        return next((each for each in self.meshes if each.name == name), None)


@dataclass(frozen=True, slots=True)
class FrameMessage:
    """A frame heard in `origin`, for `target`. waited_ms: since it was heard. value: as it was heard."""

    origin: str
    target: str
    value: bytes
    waited_ms: int = 0


@dataclass(frozen=True, slots=True)
class Receipt:
    mesh: str
    key: bytes
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class NoticeMessage:
    what: Notice
    mesh: str
    keys: tuple[bytes, ...]


Message = Hello | FrameMessage | Receipt | NoticeMessage


def encode(message: Message) -> bytes:
    """Raises ValueError for what the format cannot carry."""
    match message:
        case FrameMessage(origin, target, value, waited):
            if not 0 < len(value) <= MAX_VALUE:
                raise ValueError("a frame has 1 to 512 bytes")
            return bytes((_FRAME,)) + _mesh(origin) + _mesh(target) + min(waited, _U32).to_bytes(4, "big") + value
        case Receipt(mesh, key, outcome):
            return bytes((_RECEIPT,)) + _mesh(mesh) + _key(key) + bytes((outcome,))
        case NoticeMessage(what, mesh, keys):
            if not 0 < len(keys) <= MOST_KEYS:
                raise ValueError("a notice has 1 to 255 keys")
            return bytes((_NOTICE, what)) + _mesh(mesh) + bytes((len(keys),)) + b"".join(map(_key, keys))
        case Hello():
            return _hello(message)


def decode(data: bytes) -> Message | None:
    """The message, or None if it is none. Never raises."""
    if not 0 < len(data) <= MOST_BYTES:
        return None
    reader = _Reader(data, 1)
    try:
        match data[0]:
            case 1:
                return _read_hello(reader)
            case 2:
                return _read_frame(reader)
            case 3:
                mesh, key = reader.mesh(), reader.take(KEY_SIZE)
                return Receipt(mesh, key, Outcome(reader.last_u8()))
            case 4:
                what, mesh = Notice(reader.u8()), reader.mesh()
                keys = tuple(reader.take(KEY_SIZE) for _ in range(reader.u8()))
                reader.end()
                return NoticeMessage(what, mesh, keys) if keys else None
    except ValueError:
        pass
    return None


def is_mesh_name(name: str) -> bool:
    """Whether a mesh may be called so: 1 to 64 bytes of printable text, no mark that MQTT topics give a meaning."""
    return 0 < len(name.encode(errors="replace")) <= MOST_NAME and name.isprintable() and not set(name) & set("/+#$*")


def _hello(hello: Hello) -> bytes:
    if len(hello.meshes) > MOST_MESHES:
        raise ValueError("too many meshes")
    parts = [bytes((_HELLO, VERSION)), _text(hello.name)]
    parts += [min(number, _U32).to_bytes(4, "big") for number in (hello.fee, hello.capacity)]
    parts.append(bytes((min(hello.load, 255),)))
    parts += [min(number, _U32).to_bytes(4, "big") for number in (hello.uptime_s, hello.run)]
    parts.append(bytes((len(hello.meshes),)))
    for mesh in hello.meshes:
        if len(mesh.subscribe) > MOST_SUBSCRIPTIONS:
            raise ValueError("too many subscriptions")
        flags = _DOWNLINK * mesh.downlink | _UPLINK * mesh.uplink
        parts += [_mesh(mesh.name), _text(mesh.geohash), bytes((flags, len(mesh.subscribe)))]
        parts += map(_text, mesh.subscribe)
    return b"".join(parts)


def _read_hello(reader: "_Reader") -> Hello | None:
    if reader.u8() != VERSION:
        return None
    name, fee, capacity, load = reader.text(), reader.u32(), reader.u32(), reader.u8()
    uptime, run = reader.u32(), reader.u32()
    count = reader.u8()
    if count > MOST_MESHES:
        return None
    meshes = []
    for _ in range(count):
        mesh, geohash, flags, subscriptions = reader.mesh(), reader.text(), reader.u8(), reader.u8()
        if subscriptions > MOST_SUBSCRIPTIONS:
            return None
        wanted = tuple(reader.text() for _ in range(subscriptions))
        meshes.append(MeshOffer(mesh, geohash, bool(flags & _DOWNLINK), bool(flags & _UPLINK), wanted))
    # What a later version appends is not ours to read.
    return Hello(name, tuple(meshes), fee, capacity, load, uptime, run)


def _read_frame(reader: "_Reader") -> FrameMessage | None:
    origin, target, waited, value = reader.mesh(), reader.mesh(), reader.u32(), reader.rest()
    return FrameMessage(origin, target, value, waited) if 0 < len(value) <= MAX_VALUE else None


class _Reader:
    # Raises ValueError where nothing is left.
    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at

    def take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        if len(taken) != size:
            raise ValueError("short")
        self._at += size
        return taken

    def u8(self) -> int:
        return self.take(1)[0]

    def last_u8(self) -> int:
        value = self.u8()
        self.end()
        return value

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def text(self) -> str:
        text = self.take(self.u8()).decode()  # UnicodeDecodeError is a ValueError
        if not text.isprintable():
            raise ValueError("not for people to read")
        return text

    def mesh(self) -> str:
        name = self.text()
        if not is_mesh_name(name):
            raise ValueError("no name of a mesh")
        return name

    def rest(self) -> bytes:
        return self._data[self._at :]

    def end(self) -> None:
        if self._at != len(self._data):
            raise ValueError("long")


def _mesh(name: str) -> bytes:
    if not is_mesh_name(name):
        raise ValueError("no name of a mesh")
    return _text(name)


def _text(text: str) -> bytes:
    if not text.isprintable():
        raise ValueError("not for people to read")
    raw = text.encode()
    return bytes((len(raw),)) + raw  # ValueError above 255


def _key(key: bytes) -> bytes:
    if len(key) != KEY_SIZE:
        raise ValueError("a key has 16 bytes")
    return key
