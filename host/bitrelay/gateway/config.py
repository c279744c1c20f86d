"""How a gateway is to run, as plain data; `config_file.py` reads it from TOML."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from ..transports.address import Address, Bluetooth, HostAddress, Serial, Udp


class EngineKind(StrEnum):
    """What carries frames from gateway to gateway."""

    LINKS = "links"
    """Connections of our own, secured by Noise. Needs nobody's server."""
    MQTT = "mqtt"
    """A broker of the operator's."""


class Preference(StrEnum):
    """Which of several gateways is taken (row GWY-10)."""

    LOWEST_LATENCY = "lowest-latency"
    LOWEST_COST = "lowest-cost"
    HIGHEST_BANDWIDTH = "highest-bandwidth"
    MOST_RELIABLE = "most-reliable"


@dataclass(frozen=True, slots=True)
class DownlinkConfig:
    """What the internet may send into one mesh. enabled: nothing unless asked for.

    frames_per_minute, airtime_percent: of all; author_per_minute, gateway_per_minute: of one author on the air, of one
    other gateway (None: a half, and all of frames_per_minute). max_ttl: 1 reaches the relays' neighbours only, 6 is
    all that a frame may have left; it is lowered in any case. queue: frames that may wait.
    """

    enabled: bool = False
    frames_per_minute: int = 30
    airtime_percent: float = 5.0
    author_per_minute: int | None = None
    gateway_per_minute: int | None = None
    max_ttl: int = 6
    queue: int = 256


@dataclass(frozen=True, slots=True)
class MeshConfig:
    """One mesh that a gateway joins. relays: ways into it. uplink: whether what it says goes out.

    subscribe: whose broadcasts it wants: names of meshes, "*" for all, "geo:PREFIX" for all whose geohash begins so.
    announce_every_s: how often at most an author's announce crosses, in each direction.
    """

    name: str
    relays: tuple[Serial | Bluetooth, ...]
    geohash: str = ""
    uplink: bool = True
    subscribe: tuple[str, ...] = ("*",)
    announce_every_s: float = 60.0
    downlink: DownlinkConfig = DownlinkConfig()


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """Another gateway at an address; peer_id: who it must be, if that is known."""

    address: Address
    peer_id: bytes | None = None


@dataclass(frozen=True, slots=True)
class FederationConfig:
    """Links with other gateways.

    trust: PeerIds. Only trusted gateways are taken for others of our own mesh, with whom the work is shared; is_open:
    whether strangers may link, too. announce: where the DHT shall say we are reached. fee: what we ask per message.
    """

    engine: EngineKind = EngineKind.LINKS
    listen: tuple[Address, ...] = ()
    peers: tuple[PeerConfig, ...] = ()
    trust: frozenset[bytes] = frozenset()
    is_open: bool = False
    announce: tuple[Address, ...] = ()
    fee: int = 1
    max_load: float = 0.8
    min_uptime: float = 0.95
    max_fee: int = 10
    preference: Preference = Preference.MOST_RELIABLE
    links: int = 50


@dataclass(frozen=True, slots=True)
class MqttConfig:
    """A broker of MQTT 5. fleet_key: 32 bytes that all gateways of a fleet share; what goes over the broker is sealed
    with it. topic: the first part of all topics."""

    host: str
    port: int = 1883
    tls: bool = False
    ca_file: Path | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    fleet_key: bytes = field(default=b"", repr=False)
    topic: str = "bitrelay"


@dataclass(frozen=True, slots=True)
class DhtConfig:
    """A node of the DHT, in which gateways are found by the names of their meshes. find: of which meshes, beside those
    that ours subscribe to by name."""

    listen: tuple[Udp, ...]
    bootstrap: tuple[Udp, ...] = ()
    lan: bool = False
    find: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """Frames that wait for a mesh that cannot be reached. age_s: phones refuse what is older than two minutes."""

    frames: int = 10_000
    bytes: int = 4 * 1024 * 1024
    age_s: float = 110.0


@dataclass(frozen=True, slots=True)
class LedgerConfig:
    """The proof-of-relay ledger. keep_s: how long entries are kept (section D: 3600 s)."""

    enabled: bool = True
    keep_s: float = 3600.0
    base_fee: int = 1


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """All of it. state: the folder of the gateway. difficulty: of our proof of work, and the least of others'.

    local_mbps, internet_mbps: what each side may take at most (rows GWY-12, GWY-13). metrics: host and port of the
    Prometheus endpoint, or None.
    """

    name: str
    meshes: tuple[MeshConfig, ...]
    state: Path | None = None
    difficulty: int = 16
    federation: FederationConfig = FederationConfig()
    mqtt: MqttConfig | None = None
    dht: DhtConfig | None = None
    store: StoreConfig = StoreConfig()
    ledger: LedgerConfig = LedgerConfig()
    local_mbps: float = 10.0
    internet_mbps: float = 100.0
    metrics: tuple[str, int] | None = ("127.0.0.1", 9464)


def is_name(subscription: str) -> bool:
    """Whether what is subscribed to is one mesh, by its name."""
    return subscription != "*" and not subscription.startswith("geo:")


def is_somewhere(address: Address) -> bool:
    """Whether an address that is listened at is one that others can dial."""
    return isinstance(address, HostAddress) and address.host not in ("0.0.0.0", "::")
