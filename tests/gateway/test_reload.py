"""What a gateway goes on with when its file has changed, and what waits for its next start."""

from dataclasses import replace
from pathlib import Path

import pytest

from bitrelay.gateway.config import (
    DhtConfig,
    DownlinkConfig,
    FederationConfig,
    GatewayConfig,
    LedgerConfig,
    MeshConfig,
    PeerConfig,
    Preference,
    StoreConfig,
)
from bitrelay.gateway.reload import reload
from bitrelay.transports.address import Serial, Tcp, Udp

WEST = MeshConfig("west", (Serial("one"),))
EAST = MeshConfig("east", (Serial("two"),))
OLD = GatewayConfig("a", (WEST, EAST))
HERE = Tcp("127.0.0.1", 1)


def fed(**values: object) -> GatewayConfig:
    return replace(OLD, federation=FederationConfig(**values))  # type: ignore[arg-type]


def test_the_same_file_changes_nothing() -> None:
    found = reload(OLD, replace(OLD))
    assert (found.config, found.changed, found.restart) == (OLD, (), ())


@pytest.mark.parametrize(
    ("new", "changed"),
    [
        (replace(OLD, name="b"), ("name",)),
        (replace(OLD, local_mbps=1.0, internet_mbps=2.0), ("local_mbps", "internet_mbps")),
        (replace(OLD, ledger=LedgerConfig(keep_s=60.0)), ("ledger.keep_s",)),
        (replace(OLD, meshes=(replace(WEST, downlink=DownlinkConfig(True, 5)), EAST)), ("mesh west",)),
        (replace(OLD, meshes=(WEST, replace(EAST, subscribe=("west",), uplink=False))), ("mesh east",)),
        (fed(fee=3), ("federation.fee",)),
        (fed(is_open=True, trust=frozenset({bytes(32)})), ("federation.trust", "federation.open")),
    ],
)
def test_what_is_policy_counts_at_once(new: GatewayConfig, changed: tuple[str, ...]) -> None:
    found = reload(OLD, new, live={"trust", "is_open"})
    assert (found.config, found.changed, found.restart) == (new, changed, ())


@pytest.mark.parametrize(
    ("new", "restart"),
    [
        (replace(OLD, state=Path("/x")), ("state",)),
        (replace(OLD, difficulty=20), ("difficulty",)),
        (replace(OLD, metrics=None), ("metrics",)),
        (replace(OLD, store=StoreConfig(1)), ("store",)),
        (replace(OLD, dht=DhtConfig((Udp("127.0.0.1", 1),))), ("dht",)),
        (replace(OLD, ledger=LedgerConfig(False, base_fee=2)), ("ledger.enabled", "ledger.base_fee")),
        (fed(listen=(HERE,), peers=(PeerConfig(HERE),)), ("federation.listen", "federation.peers")),
        (fed(preference=Preference.LOWEST_COST), ("federation.preference",)),
        (replace(OLD, meshes=(replace(WEST, relays=(Serial("x"),)), EAST)), ("mesh west: relays",)),
        (replace(OLD, meshes=(WEST, EAST, MeshConfig("north", (Serial("3"),)))), ("mesh north",)),
        (replace(OLD, meshes=(EAST,)), ("mesh west",)),
    ],
)
def test_what_needs_a_restart_is_named_and_stays(new: GatewayConfig, restart: tuple[str, ...]) -> None:
    found = reload(OLD, new, live={"trust"})
    assert (found.config, found.changed, found.restart) == (OLD, (), restart)


def test_some_of_each() -> None:
    wanted = replace(WEST, relays=(Serial("x"),), announce_every_s=5.0)
    found = reload(OLD, replace(OLD, meshes=(EAST, wanted), metrics=None))
    assert found.config == replace(OLD, meshes=(replace(WEST, announce_every_s=5.0), EAST))
    assert (found.changed, found.restart) == (("mesh west",), ("metrics", "mesh west: relays"))
