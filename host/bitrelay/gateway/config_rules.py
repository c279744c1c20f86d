"""What the keys of a gateway's file take: each rule turns a value from TOML into ours, or says what it must be."""

import re
from collections.abc import Callable, Collection
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeVar

from ..errors import BadData, BitrelayError, WrongAddress
from ..identity.private_file import read_secret
from ..toml_source import BadValue
from ..transports.address import (
    PEER_ID_SIZE,
    Address,
    Bluetooth,
    HostAddress,
    Quic,
    Serial,
    Tcp,
    Udp,
    WebSocket,
    parse,
)
from .config import PeerConfig
from .message import MOST_NAME, MOST_SUBSCRIPTIONS, is_mesh_name
from .mqtt_topics import MOST_PREFIX, is_prefix

KEY_SIZE: Final = 32
"""Bytes of a fleet key."""
MOST_ITEMS: Final = 256
"""Of a list."""

_MOST_TEXT: Final = 255
_MOST_PASSWORD: Final = 1024
_GEOHASH: Final = re.compile("[0-9b-hjkmnp-z]{1,12}")
_HEX_32: Final = re.compile("[0-9a-fA-F]{64}")
_NAME_HINT: Final = f"A mesh's name has 1 to {MOST_NAME} bytes of printable text without / + # $ *"
_MAKE_KEY: Final = "`bitrelay gateway fleet-key FILE` writes one"

Value = TypeVar("Value")
Read = Callable[[Any], Value]
Choice = TypeVar("Choice", bound=StrEnum)


def text(value: Any) -> str:
    """A text that can be shown."""
    if not _is_shown(value, _MOST_TEXT):
        raise ValueError(f"printable text of 1 to {_MOST_TEXT} bytes")
    return str(value)


def name(value: Any) -> str:
    """What a gateway is called."""
    if not _is_shown(value, MOST_NAME):
        raise ValueError(f"a name of 1 to {MOST_NAME} bytes of printable text")
    return str(value)


def _is_shown(value: Any, most: int) -> bool:
    return isinstance(value, str) and value.isprintable() and 0 < len(value.encode(errors="replace")) <= most


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def whole(least: int, most: int) -> Read[int]:
    """A whole number, the bounds among them."""

    def read(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return value

    return read


def number(least: float, most: float, *, above: bool = False) -> Read[float]:
    """A number, the bounds among them. above: least is not."""

    def read(value: Any) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not least <= value <= most or (above and value == least):
            raise ValueError(f"a number {'above' if above else 'from'} {least:g} {'up ' * above}to {most:g}")
        return float(value)

    return read


def one_of(kind: type[Choice]) -> Read[Choice]:
    def read(value: Any) -> Choice:
        if not isinstance(value, str) or value not in {each.value for each in kind}:
            raise ValueError(" or ".join(repr(each.value) for each in kind))
        return kind(value)

    return read


def list_of(item: Read[Value], least: int = 0, most: int = MOST_ITEMS) -> Read[tuple[Value, ...]]:
    """A list without repetitions. What is wrong with one of its items is told of that one."""

    def read(value: Any) -> tuple[Value, ...]:
        if not isinstance(value, list):
            raise ValueError("a list, in [ ]")
        if not least <= len(value) <= most:
            raise BadValue(f"{len(value)} of them, where {least} to {most} can be")
        items: list[Value] = []
        for each in value:
            try:
                one = item(each)
            except BadValue:
                raise
            except ValueError as error:
                raise BadValue(f"each must be {error}, not {each!r}") from None
            if one in items:
                raise BadValue(f"{each!r} is there twice", "Take one of them out")
            items.append(one)
        return tuple(items)

    return read


def mesh(value: Any) -> str:
    """The name of a mesh."""
    if not isinstance(value, str) or not is_mesh_name(value):
        raise BadValue(f"{value!r} is no name of a mesh", _NAME_HINT)
    if value.startswith("geo:"):
        raise BadValue(f"{value!r} is no name of a mesh", "One that begins with geo: would be taken for a place")
    return value


def geohash(value: Any) -> str:
    found = value.lower() if isinstance(value, str) else ""
    if not _GEOHASH.fullmatch(found):
        raise ValueError("a geohash of 1 to 12 characters, such as 'u33dc'")
    return found


def subscription(value: Any) -> str:
    """Whose broadcasts are wanted: "*", a name, or geo:PREFIX."""
    if value == "*":
        return "*"
    if isinstance(value, str) and value.startswith("geo:"):
        try:
            return "geo:" + geohash(value[4:])
        except ValueError:
            raise BadValue(f"no geohash in {value!r}", "One looks like geo:u33d") from None
    try:
        return mesh(value)
    except BadValue as error:
        raise BadValue(f"{value!r} is no subscription", f'"*", geo:PREFIX or a name. {error.hint}') from None


subscriptions = list_of(subscription, most=MOST_SUBSCRIPTIONS)


def relay(value: Any) -> Serial | Bluetooth:
    """A way into a mesh: serial:// or ble://, or what `bitrelay devices` shows: a name, a port, rfc2217://HOST:PORT."""
    shown = text(value)
    try:
        if "://" not in shown or shown.startswith("rfc2217://"):
            return Serial(shown)
        address = parse(shown)
    except WrongAddress as error:
        raise BadValue(error.what, _RELAY_HINT) from None
    if not isinstance(address, Serial | Bluetooth):
        raise BadValue(f"{shown!r} leads to no relay", _RELAY_HINT)
    return address


_RELAY_HINT: Final = (
    "A relay is serial:///dev/ttyUSB0, ble://AA:BB:CC:DD:EE:FF, or the name that `bitrelay devices` shows"
)


def internet_address(value: Any) -> HostAddress:
    """Where a gateway can be reached."""
    shown = text(value)
    try:
        address = parse(shown)
    except WrongAddress as error:
        raise BadValue(error.what, _ADDRESS_HINT) from None
    if not isinstance(address, Tcp | Udp | Quic | WebSocket):
        raise BadValue(f"{shown!r} is not an address of the internet", _ADDRESS_HINT)
    return address


_ADDRESS_HINT: Final = "One looks like tcp://192.0.2.1:8765; udp://, ws:// and quic:// are taken, too"


def listen_address(value: Any) -> Address:
    """Where to wait for other gateways."""
    address = internet_address(value)
    if isinstance(address, WebSocket) and address.secure:
        raise BadValue(f"{value!r} needs a certificate", "Listen at ws://, what goes over it is encrypted in any case")
    return address


def announced_address(value: Any) -> Address:
    """Where others are told that they find us."""
    address = internet_address(value)
    if address.host in ("0.0.0.0", "::") or not address.port:
        raise BadValue(f"{value!r} is nothing that others can dial", "Give the address and port as others see them")
    return address


def peer(value: Any) -> PeerConfig:
    """ADDRESS, or PEERID@ADDRESS."""
    shown = text(value)
    who, mark, where = shown.partition("@")
    named = bool(mark) and "://" not in who  # a path of ws:// may have an @
    address = internet_address(where if named else shown)
    if not address.port or address.host in ("0.0.0.0", "::"):
        raise BadValue(f"{shown!r} is nothing that can be dialled", _ADDRESS_HINT)
    return PeerConfig(address, peer_id(who) if named else None)


def peer_id(value: Any) -> bytes:
    if not isinstance(value, str) or not _HEX_32.fullmatch(value):
        raise BadValue(
            f"{value!r} is no PeerId",
            f"It has {2 * PEER_ID_SIZE} hex digits; `bitrelay gateway status` tells it where that gateway runs",
        )
    return bytes.fromhex(value)


def dht_address(value: Any) -> Udp:
    shown = text(value)
    try:
        address = parse(shown if "://" in shown else f"udp://{shown}")
    except WrongAddress as error:
        raise BadValue(error.what, "One looks like udp://192.0.2.1:8766") from None
    if not isinstance(address, Udp):
        raise BadValue(f"{shown!r} is not for the DHT", "It takes udp:// alone")
    return address


def topic(value: Any) -> str:
    """What the topics at a broker begin with."""
    if not isinstance(value, str) or not is_prefix(value):
        raise ValueError(f"1 to {MOST_PREFIX} bytes of printable text without + # $, slashes only inside")
    return value


def host(value: Any) -> str:
    try:
        return Tcp(text(value), 1).host
    except WrongAddress:
        raise ValueError("a host, by name or by address") from None


def host_and_port(value: Any) -> tuple[str, int] | None:
    """HOST:PORT; None for "off"."""
    if value == "off":
        return None
    try:
        where, _, port = text(value).rpartition(":")
        # Else a default port would be taken for one that is missing.
        address = parse(f"tcp://{where}:{int(port)}")
    except ValueError:
        raise ValueError('HOST:PORT, or "off"') from None
    assert isinstance(address, Tcp)
    return address.host, address.port


def path(folder: Path) -> Read[Path]:
    """A path; one that is not absolute begins at the folder of the file it is in. A ~ is the user's home."""

    def read(value: Any) -> Path:
        if not isinstance(value, str) or not value or "\0" in value:
            raise ValueError("a path")
        try:
            return folder / Path(value).expanduser()
        except RuntimeError:
            raise BadValue(f"there is no home directory for {value!r}", "Give the whole path") from None

    return read


def readable_file(folder: Path) -> Read[Path]:
    def read(value: Any) -> Path:
        found = path(folder)(value)
        try:
            with found.open("rb") as file:
                file.read(1)
        except OSError as error:
            raise BadValue(f"cannot read {found}: {error.strerror}", "Give a file that this user can read") from None
        return found

    return read


def password_file(folder: Path) -> Read[str]:
    """The password in a file of its owner's alone: its first line, and there is no other."""

    def read(value: Any) -> str:
        try:
            found = _secret(path(folder)(value), _MOST_PASSWORD).decode()
        except UnicodeDecodeError:
            found = ""
        # An editor ends the last line whether one wants it or not.
        found = found.removesuffix("\n").removesuffix("\r")
        if not found.isprintable() or not found:
            raise BadValue(f"there is no password in {value!r}", "It must be one line of UTF-8 text, and nothing else")
        return found

    return read


def fleet_key(folder: Path) -> Read[bytes]:
    """The key in a file of its owner's alone: a line of 64 hex digits."""

    def read(value: Any) -> bytes:
        if isinstance(value, str) and _HEX_32.fullmatch(value):
            # Not repeated here: complaints end up in logs.
            raise BadValue("this is a key, where the name of its file belongs", _MAKE_KEY)
        found = path(folder)(value)
        line = _secret(found, 2 * KEY_SIZE + 2, _MAKE_KEY).decode(errors="replace").strip()
        if not _HEX_32.fullmatch(line):
            raise BadValue(f"{found} is no fleet key: that is one line of {2 * KEY_SIZE} hex digits", _MAKE_KEY)
        return bytes.fromhex(line)

    return read


def _secret(found: Path, most: int, remedy: str = "Give a file that this user can read") -> bytes:
    try:
        return read_secret(found, most)
    except BadData as error:
        raise BadValue(error.what, error.hint or remedy) from None
    except BitrelayError as error:
        raise BadValue(error.what, remedy) from None


def same_place(one: HostAddress, other: HostAddress) -> bool:
    """Whether two cannot be listened at together: the same port of the same kind, on addresses that overlap."""
    if one.port != other.port or not one.port or _is_stream(one) != _is_stream(other):
        return False
    everywhere: Collection[str] = ("0.0.0.0", "::")
    of_one_version = (":" in one.host) == (":" in other.host)
    return one.host == other.host or (of_one_version and (one.host in everywhere or other.host in everywhere))


def _is_stream(address: HostAddress) -> bool:
    return isinstance(address, Tcp | WebSocket)
