"""What of a changed configuration a running gateway can go on with, and what it must be started anew for."""

from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from .config import FederationConfig, GatewayConfig, MeshConfig

_AT_START: Final = ("state", "difficulty", "mqtt", "dht", "store", "metrics")
_FED_ANYWAY: Final = ("fee",)
"""It is part of what is said of ourselves."""


@dataclass(frozen=True, slots=True)
class Reload:
    """config: to go on with. changed: names of keys that differ and are in it; restart: of those that are not, since
    they count from the next start on."""

    config: GatewayConfig
    changed: tuple[str, ...]
    restart: tuple[str, ...]


def reload(old: GatewayConfig, new: GatewayConfig, live: Collection[str] = ()) -> Reload:
    """live: names of keys of [federation] that the engine takes while it runs (Exchange.live)."""
    changed: list[str] = []
    restart: list[str] = []
    kept: dict[str, Any] = {}
    for name in (field.name for field in fields(GatewayConfig)):
        if name in ("meshes", "federation", "ledger") or getattr(old, name) == getattr(new, name):
            continue
        if name in _AT_START:
            restart.append(name)
            kept[name] = getattr(old, name)
        else:
            changed.append(name)
    federation = _federation(old.federation, new.federation, {*_FED_ANYWAY, *live}, changed, restart)
    ledger = new.ledger
    for name in ("enabled", "base_fee"):
        if getattr(old.ledger, name) != getattr(new.ledger, name):
            restart.append(f"ledger.{name}")
            ledger = replace(ledger, **{name: getattr(old.ledger, name)})
    if old.ledger.keep_s != new.ledger.keep_s:
        changed.append("ledger.keep_s")
    meshes = _meshes(old.meshes, new.meshes, changed, restart)
    config = replace(new, federation=federation, ledger=ledger, meshes=meshes, **kept)
    return Reload(config, tuple(changed), tuple(restart))


def _federation(
    old: FederationConfig, new: FederationConfig, live: Collection[str], changed: list[str], restart: list[str]
) -> FederationConfig:
    kept: dict[str, Any] = {}
    for name in (field.name for field in fields(FederationConfig)):
        if getattr(old, name) == getattr(new, name):
            continue
        key = f"federation.{'open' if name == 'is_open' else name}"
        if name in live:
            changed.append(key)
        else:
            restart.append(key)
            kept[name] = getattr(old, name)
    return replace(new, **kept)


def _meshes(
    old: tuple[MeshConfig, ...], new: tuple[MeshConfig, ...], changed: list[str], restart: list[str]
) -> tuple[MeshConfig, ...]:
    # Those that were there at the start, in their order, with their relays.
    wanted = {mesh.name: mesh for mesh in new}
    had = {mesh.name for mesh in old}
    restart += [f"mesh {name}" for name in wanted if name not in had]
    result: list[MeshConfig] = []
    for mesh in old:
        now = wanted.get(mesh.name)
        if now is None:
            restart.append(f"mesh {mesh.name}")
            result.append(mesh)
            continue
        if now.relays != mesh.relays:
            restart.append(f"mesh {mesh.name}: relays")
            now = replace(now, relays=mesh.relays)
        if now != mesh:
            changed.append(f"mesh {mesh.name}")
        result.append(now)
    return tuple(result)
