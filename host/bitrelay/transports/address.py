"""Where a peer can be reached: typed, hashable, ordered, and the same as text (rows TRN-02, TRN-03, TRN-08).

    tcp://192.0.2.1:8765   tcp://[2001:db8::1]:8765   udp://relay.example:8766
    ws://192.0.2.1:8765/mesh   wss://relay.example/mesh   quic://[::1]:8766
    ble://AA:BB:CC:DD:EE:FF   serial:///dev/ttyUSB0
    mesh://<PeerId, 64 hex digits>   via://<PeerId>@<PeerId>

TCP, WebSocket and QUIC are reliable and ordered; UDP is fast and unordered; Bluetooth is short of range; a mesh address
names a peer, however many hops away it is, and no place. A via address names a peer that cannot be reached from
outside, and a node that both are connected to and that helps to open a direct path.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import SplitResult, quote, unquote, urlsplit

from ..errors import WrongAddress

PORT = 8765
"""Of streams (row TRN-16, resolution E35)."""
DATAGRAM_PORT = 8766
"""Of UDP and QUIC."""
PEER_ID_SIZE = 32

_MOST_TEXT = 1024
_HOST_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*\.?")
_BLUETOOTH = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}|[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


@dataclass(frozen=True)
class Address:
    """Any address. Its text is what `parse` takes; addresses are ordered by it."""

    scheme: ClassVar[str] = ""

    def __lt__(self, other: object) -> bool:
        return str(self) < str(other) if isinstance(other, Address) else NotImplemented

    def __le__(self, other: object) -> bool:
        return str(self) <= str(other) if isinstance(other, Address) else NotImplemented


@dataclass(frozen=True)
class HostAddress(Address):
    """A host and a port. host: an IP address as `ipaddress` writes it, or a name. Raises WrongAddress."""

    host: str
    port: int

    default_port: ClassVar[int] = PORT

    def __post_init__(self) -> None:
        object.__setattr__(self, "host", _host(self.host))
        if not 0 <= self.port <= 0xFFFF:
            raise WrongAddress(f"{self.port} is no port")

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        """host:port, brackets around IPv6."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Tcp(HostAddress):
    scheme: ClassVar[str] = "tcp"


@dataclass(frozen=True)
class Udp(HostAddress):
    scheme: ClassVar[str] = "udp"
    default_port: ClassVar[int] = DATAGRAM_PORT


@dataclass(frozen=True)
class Quic(HostAddress):
    scheme: ClassVar[str] = "quic"
    default_port: ClassVar[int] = DATAGRAM_PORT


@dataclass(frozen=True)
class WebSocket(HostAddress):
    """path: begins with a slash. secure: over TLS (wss)."""

    path: str = "/"
    secure: bool = False

    scheme: ClassVar[str] = "ws"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.path.startswith("/") or any(c.isspace() or not c.isprintable() or c in "?#" for c in self.path):
            raise WrongAddress(f"{self.path!r} is no path")

    def __str__(self) -> str:
        return f"{'wss' if self.secure else 'ws'}://{self.authority}{self.path}"


@dataclass(frozen=True)
class Bluetooth(Address):
    """device: what the system calls it, an address or (on macOS) a UUID, in capitals."""

    device: str

    scheme: ClassVar[str] = "ble"

    def __post_init__(self) -> None:
        if not _BLUETOOTH.fullmatch(self.device):
            raise WrongAddress(f"{self.device!r} is no Bluetooth device")
        object.__setattr__(self, "device", self.device.upper())

    def __str__(self) -> str:
        return f"ble://{self.device}"


@dataclass(frozen=True)
class Serial(Address):
    """port: a path, or a name such as COM3, or a URL of pyserial such as rfc2217://localhost:4000."""

    port: str

    scheme: ClassVar[str] = "serial"

    def __post_init__(self) -> None:
        if not self.port or not self.port.isprintable():
            raise WrongAddress(f"{self.port!r} is no serial port")

    def __str__(self) -> str:
        return f"serial://{quote(self.port, safe='/:.@')}"


@dataclass(frozen=True)
class Mesh(Address):
    """peer: 32 bytes, its PeerId."""

    peer: bytes

    scheme: ClassVar[str] = "mesh"

    def __post_init__(self) -> None:
        if len(self.peer) != PEER_ID_SIZE:
            raise WrongAddress(f"a PeerId has {PEER_ID_SIZE} bytes, not {len(self.peer)}")

    def __str__(self) -> str:
        return f"mesh://{self.peer.hex()}"


@dataclass(frozen=True)
class Via(Address):
    """peer, node: 32 bytes each, PeerIds of whom is to be reached and of who helps."""

    peer: bytes
    node: bytes

    scheme: ClassVar[str] = "via"

    def __post_init__(self) -> None:
        if len(self.peer) != PEER_ID_SIZE or len(self.node) != PEER_ID_SIZE:
            raise WrongAddress(f"a PeerId has {PEER_ID_SIZE} bytes")

    def __str__(self) -> str:
        return f"via://{self.peer.hex()}@{self.node.hex()}"


_WITH_HOST: dict[str, type[HostAddress]] = {kind.scheme: kind for kind in (Tcp, Udp, Quic)}


def parse(text: str) -> Address:
    """The address that a text names. Raises WrongAddress for whatever is none."""
    if len(text) > _MOST_TEXT:
        raise WrongAddress("the address is too long")
    scheme, mark, rest = text.partition("://")
    scheme = scheme.lower()
    if not mark:
        raise WrongAddress(f"{text!r} is no address", hint="One looks like tcp://192.0.2.1:8765.")
    if scheme in ("ws", "wss"):
        split = _split(text)
        if split.query or split.fragment:
            raise WrongAddress(f"{text!r} has more than a path behind the port")
        given, usual = _port(split, text), 443 if scheme == "wss" else 80
        return WebSocket(split.hostname or "", usual if given is None else given, split.path or "/", scheme == "wss")
    if scheme in _WITH_HOST:
        split = _split(text)
        if split.path not in ("", "/") or split.query or split.fragment:
            raise WrongAddress(f"{text!r} has more than a host and a port")
        port = _port(split, text)
        kind = _WITH_HOST[scheme]
        return kind(split.hostname or "", kind.default_port if port is None else port)
    if scheme == Bluetooth.scheme:
        return Bluetooth(rest)
    if scheme == Serial.scheme:
        return Serial(unquote(rest))
    if scheme == Mesh.scheme:
        return Mesh(_peer_id(rest))
    if scheme == Via.scheme:
        peer, _, node = rest.partition("@")
        return Via(_peer_id(peer), _peer_id(node))
    raise WrongAddress(f"{scheme!r} is no kind of address")


def _peer_id(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise WrongAddress(f"{text!r} is no PeerId") from None


def _split(text: str) -> SplitResult:
    try:
        split = urlsplit(text)
    except ValueError:
        raise WrongAddress(f"{text!r} is no address") from None
    if split.username is not None or split.password is not None:
        raise WrongAddress("an address has no user name")
    return split


def _port(split: SplitResult, text: str) -> int | None:
    try:
        return split.port
    except ValueError:
        raise WrongAddress(f"{text!r} has no valid port") from None


def _host(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    # What is all digits and dots and no address is a mistyped one.
    if not _HOST_NAME.fullmatch(host) or re.fullmatch(r"[0-9.]+", host):
        raise WrongAddress(f"{host!r} is no host")
    return host.lower().rstrip(".")
