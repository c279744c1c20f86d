"""Reads a gateway's file. Every mistake in it is told with file, line and remedy, all of them at once if wanted.

Files that it names (keys, passwords, certificates) are read here, too. What the machine must have, `check.py` looks at.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..toml_source import Rule, Source, Table, TomlError
from ..transports.address import HostAddress, Tcp, Udp
from . import config_rules as rule
from .config import (
    DhtConfig,
    DownlinkConfig,
    EngineKind,
    FederationConfig,
    GatewayConfig,
    LedgerConfig,
    MeshConfig,
    MqttConfig,
    Preference,
    StoreConfig,
)
from .downlink import offer_of
from .message import MOST_MESHES, Hello, encode

MOST_A_MINUTE: Final = 1_000_000
"""Frames: more than any radio takes, for labs."""
MOST_RELAYS: Final = 16
PHONES_REFUSE_S: Final = 120.0
"""What is older (bitchat protocol, 4.8)."""

_DHT_LISTEN: Final = (Udp("0.0.0.0", Udp.default_port),)
_MQTT_TLS_PORT: Final = 8883
_SECTIONS: Final = ("federation", "mqtt", "dht", "store", "ledger", "metrics")


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file that was read, and where its keys are."""

    path: Path
    config: GatewayConfig
    source: Source

    def line(self, key: str | None, table: str = "", index: int = 0) -> int:
        """The line of a key, else of its table, else 1. table: without brackets; index: among those of one array."""
        return self.source.line_of(table, index, key)


def load_config(path: Path) -> GatewayConfig:
    """The configuration in a file. Raises TomlError for the first mistake, with file and line."""
    return read_config(path).config


def read_config(path: Path) -> ConfigFile:
    """The same, with the lines of its keys. Raises TomlError."""
    found, mistakes = examine(path)
    if found is None:
        raise mistakes[0]
    return found


def examine(path: Path) -> tuple[ConfigFile | None, list[TomlError]]:
    """The configuration in a file, or all mistakes in it, in the order of their lines."""
    try:
        source = Source(path)
    except TomlError as error:
        if isinstance(error.__context__, FileNotFoundError):
            error.hint = "`bitrelay gateway init FILE` writes one"
        return None, [error]
    reading = _Reading(source)
    config = reading.config()
    if config is None:
        return None, sorted(reading.wrong, key=lambda mistake: mistake.line or 0)
    return ConfigFile(path, config, source), []


class _Reading:
    # Reads all tables; what is wrong in one of them keeps no mistake in another from being found.
    def __init__(self, source: Source) -> None:
        self.wrong = source.mistakes(("mesh",), _SECTIONS)
        self._source = source
        self._folder = source.path.absolute().parent
        self._root = source.root(("mesh", *_SECTIONS))
        self._sections = {section: source.section(section) for section in _SECTIONS}
        self._given = {section for section in _SECTIONS if isinstance(source.values.get(section), dict)}

    def config(self) -> GatewayConfig | None:
        """None if anything is wrong."""
        root = self._read(
            self._root,
            {
                "name": Rule(rule.name, required=True),
                "state": Rule(rule.path(self._folder)),
                "difficulty": Rule(rule.whole(8, 24)),
                "local_mbps": Rule(rule.number(0, 100_000, above=True)),
                "internet_mbps": Rule(rule.number(0, 100_000, above=True)),
            },
        )
        meshes = self._meshes()
        metrics = self._read(self._sections["metrics"], {"listen": Rule(rule.host_and_port)})
        if "listen" in metrics:
            root["metrics"] = metrics["listen"]
        federation = self._federation()
        mqtt = self._mqtt()
        dht = self._dht()
        store = self._read(
            self._sections["store"],
            {
                "frames": Rule(rule.whole(0, 1_000_000)),
                "bytes": Rule(rule.whole(0, 1 << 30)),
                "age_s": Rule(rule.number(0, PHONES_REFUSE_S, above=True)),
            },
        )
        ledger = self._read(
            self._sections["ledger"],
            {
                "enabled": Rule(rule.flag),
                "keep_s": Rule(rule.number(60, 10 * 365 * 86_400)),
                "base_fee": Rule(rule.whole(0, 1_000_000)),
            },
        )
        self._demand_apart(root, federation, dht)
        if not self.wrong:
            self._demand_told(root["name"], [MeshConfig(**mesh) for mesh in meshes])
        if self.wrong:
            return None
        return GatewayConfig(
            meshes=tuple(MeshConfig(**mesh) for mesh in meshes),
            federation=FederationConfig(**federation),
            mqtt=None if mqtt is None else MqttConfig(**mqtt),
            dht=None if dht is None else DhtConfig(**dht),
            store=StoreConfig(**store),
            ledger=LedgerConfig(**ledger),
            **root,
        )

    def _read(self, table: Table, rules: Mapping[str, Rule]) -> dict[str, Any]:
        values, wrong = table.read_all(rules)
        self.wrong += wrong
        return values

    def _complain(self, table: Table, key: str | None, what: str, hint: str) -> None:
        self.wrong.append(table.complaint(key, what, hint))

    def _meshes(self) -> list[dict[str, Any]]:
        tables = self._source.array("mesh")
        if not tables and "mesh" not in self._source.values:
            self._complain(
                self._root, None, "there is no [[mesh]]", "A gateway joins one mesh at least: see `gateway init`"
            )
        if len(tables) > MOST_MESHES:
            last = tables[MOST_MESHES]
            self._complain(last, None, f"more than {MOST_MESHES} meshes", "Run another gateway for the others")
        meshes = [self._mesh(table) for table in tables]
        names: dict[str, int] = {}
        relays: dict[str, str] = {}
        for table, mesh in zip(tables, meshes, strict=True):
            name = mesh.get("name")
            if name in names:
                self._complain(
                    table, "name", f"a second mesh named {name!r}", f"The first is on line {names[name]}: rename one"
                )
            elif name is not None:
                names[name] = table.line_of("name")
            for relay in map(str, mesh.get("relays", ())):
                if relay in relays:
                    hint = f"It is in {relays[relay]!r} already, and a relay is in one mesh"
                    self._complain(table, "relays", f"{relay} is in two meshes", hint)
                relays.setdefault(relay, name or "another mesh")
        return meshes

    def _mesh(self, table: Table) -> dict[str, Any]:
        frames = Rule(rule.whole(1, MOST_A_MINUTE))
        of_mesh = {
            "name": Rule(rule.mesh, required=True),
            "relays": Rule(rule.list_of(rule.relay, 1, MOST_RELAYS), required=True),
            "geohash": Rule(rule.geohash),
            "uplink": Rule(rule.flag),
            "subscribe": Rule(rule.subscriptions),
            "announce_every_s": Rule(rule.number(0, 3600)),
        }
        of_downlink = {
            "downlink": Rule(rule.flag),
            "frames_per_minute": frames,
            "airtime_percent": Rule(rule.number(0, 100, above=True)),
            "author_per_minute": frames,
            "gateway_per_minute": frames,
            "max_ttl": Rule(rule.whole(1, 6)),
            "queue": Rule(rule.whole(1, 65_536)),
        }
        values = self._read(table, of_mesh | of_downlink)
        most = values.get("frames_per_minute", DownlinkConfig().frames_per_minute)
        for key in ("author_per_minute", "gateway_per_minute"):
            if values.get(key, 0) > most:
                hint = f"frames_per_minute is {most}: raise it, or lower {key}"
                self._complain(table, key, f"{key} is more than all of them may send", hint)
        downlink = {key: values.pop(key) for key in of_downlink if key in values}
        if "downlink" in downlink:
            downlink["enabled"] = downlink.pop("downlink")
        return values | {"downlink": DownlinkConfig(**downlink)}

    def _federation(self) -> dict[str, Any]:
        table = self._sections["federation"]
        values = self._read(
            table,
            {
                "engine": Rule(rule.one_of(EngineKind)),
                "listen": Rule(rule.list_of(rule.listen_address, most=16)),
                "peers": Rule(rule.list_of(rule.peer)),
                "trust": Rule(rule.list_of(rule.peer_id, most=1024)),
                "open": Rule(rule.flag),
                "announce": Rule(rule.list_of(rule.announced_address, most=4)),
                "fee": Rule(rule.whole(0, 1_000_000)),
                "max_load": Rule(rule.number(0, 1, above=True)),
                "min_uptime": Rule(rule.number(0, 1)),
                "max_fee": Rule(rule.whole(0, 1_000_000)),
                "preference": Rule(rule.one_of(Preference)),
                "links": Rule(rule.whole(1, 1000)),
            },
        )
        if values.get("engine") is EngineKind.MQTT:
            if "mqtt" not in self._given:
                hint = 'Add [mqtt] with host and fleet_key, or take engine = "links"'
                self._complain(table, "engine", "the engine mqtt needs a section [mqtt]", hint)
            for key in ("listen", "peers"):
                if values.get(key):
                    hint = 'Take it out, or take engine = "links"'
                    self._complain(
                        table, key, f"{key} is not for the engine mqtt: its gateways meet at the broker", hint
                    )
        if "trust" in values:
            values["trust"] = frozenset(values["trust"])
        if "open" in values:
            values["is_open"] = values.pop("open")
        return values

    def _mqtt(self) -> dict[str, Any] | None:
        if "mqtt" not in self._given:
            return None
        table = self._sections["mqtt"]
        values = self._read(
            table,
            {
                "host": Rule(rule.host, required=True),
                "port": Rule(rule.whole(1, 65_535)),
                "tls": Rule(rule.flag),
                "ca_file": Rule(rule.readable_file(self._folder)),
                "username": Rule(rule.text),
                "password_file": Rule(rule.password_file(self._folder)),
                "fleet_key": Rule(rule.fleet_key(self._folder), required=True),
                "topic": Rule(rule.topic),
            },
        )
        for key, needed in (("ca_file", "tls"), ("password_file", "username")):
            if key in values and not table.values.get(needed):
                remedy = "tls = true" if needed == "tls" else 'username = "..."'
                self._complain(table, key, f"{key} goes with {needed}", f"Add {remedy}, or take it out")
        if values.get("tls"):
            values.setdefault("port", _MQTT_TLS_PORT)
        if "password_file" in values:
            values["password"] = values.pop("password_file")
        return values

    def _dht(self) -> dict[str, Any] | None:
        if "dht" not in self._given:
            return None
        rules = {
            "listen": Rule(rule.list_of(rule.dht_address, 1, 2)),
            "bootstrap": Rule(rule.list_of(rule.dht_address)),
            "lan": Rule(rule.flag),
            "find": Rule(rule.list_of(rule.mesh, most=64)),
        }
        return {"listen": _DHT_LISTEN} | self._read(self._sections["dht"], rules)

    def _demand_apart(self, root: dict[str, Any], federation: dict[str, Any], dht: dict[str, Any] | None) -> None:
        # A port that this file gives out twice.
        taken: list[tuple[HostAddress, Table]] = []
        for address, table in self._listened(root, federation, dht):
            for other, where in taken:
                if rule.same_place(address, other):
                    key = "listen" if "listen" in table.values else None
                    hint = f"Line {where.line_of('listen')} has {other}: take another port"
                    self._complain(table, key, f"{address} is the same port as another one in this file", hint)
                    break
            taken.append((address, table))

    def _demand_told(self, name: str, meshes: list[MeshConfig]) -> None:
        # What others would refuse to hear is not said.
        try:
            encode(Hello(name, tuple(map(offer_of, meshes))))
        except ValueError as error:
            longest = max(range(len(meshes)), key=lambda number: sum(map(len, meshes[number].subscribe)))
            hint = 'Take fewer or shorter names, "geo:" for many meshes of a region, or "*"'
            self._complain(self._source.array("mesh")[longest], "subscribe", str(error), hint)

    def _listened(
        self, root: dict[str, Any], federation: dict[str, Any], dht: dict[str, Any] | None
    ) -> Iterator[tuple[HostAddress, Table]]:
        metrics = root.get("metrics", GatewayConfig("", ()).metrics)
        for address in federation.get("listen", ()):
            yield address, self._sections["federation"]
        for address in (dht or {}).get("listen", ()):
            yield address, self._sections["dht"]
        if metrics is not None:
            yield Tcp(*metrics), self._sections["metrics"]
