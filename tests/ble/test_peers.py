"""The table of peers, by sightings that were never on the air."""

from dataclasses import replace

import pytest

from bitrelay.ble.events import (
    DisconnectReason,
    PeerConnected,
    PeerDisconnected,
    PeerDiscovered,
    PeerEvent,
    PeerRangeChanged,
)
from bitrelay.ble.peers import DiscoveredPeer, PeerTable
from bitrelay.ble.sighting import Beacon, Services, Sighting

BEACON = Beacon((1, 4), 2, 10, 3)


def of(number: int, rssi: int = -60, address: str = "", **changes: object) -> Sighting:
    sighting = Sighting(
        address or f"F0:{number}", rssi, Services.BITCRAPS, on_air_id=number.to_bytes(8, "big"), beacon=BEACON
    )
    return replace(sighting, **changes)  # type: ignore[arg-type]


def only(table: PeerTable) -> DiscoveredPeer:
    (peer,) = table
    return peer


def kinds(events: list[PeerEvent]) -> list[type]:
    return [type(event) for event in events]


@pytest.mark.requirement("DSC-08", "DSC-09")
def test_a_second_sighting_is_merged_and_keeps_what_was_known() -> None:
    table = PeerTable()
    assert kinds(table.see(of(1, name="kiosk"), 10.0)) == [PeerDiscovered]
    number = only(table).number
    table.attempted(number, 17.0)
    assert table.see(of(1, -61), 12.0) == []
    peer = only(table)
    assert (peer.number, peer.first_seen, peer.last_seen) == (number, 10.0, 12.0)
    assert (peer.connection_attempts, peer.retry_at, peer.name) == (1, 17.0, "kiosk")
    assert (peer.rssi, peer.level) == (-61, -60.25)
    assert kinds(table.connected(number, 13.0)) == [PeerConnected]
    table.see(of(1), 14.0)
    assert only(table).is_connected and only(table).connection_attempts == 0


def test_the_id_is_the_key_and_addresses_may_change() -> None:
    table = PeerTable()
    table.see(of(1, address="A"), 0.0)
    assert table.see(of(1, address="B"), 1.0) == []
    assert only(table).device_address == "B"
    # The old address may become somebody else's.
    assert kinds(table.see(of(2, address="A"), 2.0)) == [PeerDiscovered]
    assert {peer.device_address for peer in table} == {"A", "B"}


def test_an_address_is_the_key_until_an_id_is_told() -> None:
    table = PeerTable()
    phone = Sighting("A", -60, Services.BITCHAT)
    assert kinds(table.see(phone, 0.0)) == [PeerDiscovered]
    assert table.see(of(1, address="A"), 1.0) == []
    peer = only(table)
    assert (peer.on_air_id, peer.services) == (bytes(7) + b"\1", Services.BITCHAT | Services.BITCRAPS)
    assert table.see(replace(phone, rssi=-61), 2.0) == []
    assert only(table).on_air_id == bytes(7) + b"\1"


def test_a_known_id_at_the_address_of_somebody_unnamed_makes_one_of_them() -> None:
    table = PeerTable()
    table.see(Sighting("B", -60, Services.BITCHAT), 0.0)
    table.see(of(1, address="A"), 1.0)
    assert len(table) == 2
    assert table.see(of(1, address="B"), 2.0) == []
    assert (only(table).first_seen, only(table).device_address) == (0.0, "B")


@pytest.mark.requirement("DSC-21")
def test_what_is_incomplete_makes_no_peer_but_is_a_sign_of_life() -> None:
    table = PeerTable()
    incomplete = of(1, on_air_id=None, beacon=None, is_incomplete=True)
    assert table.see(incomplete, 0.0) == []
    assert (len(table), table.ignored) == (0, 1)
    table.see(of(1), 1.0)
    table.see(incomplete, 20.0)
    assert (only(table).last_seen, only(table).beacon) == (20.0, BEACON)


@pytest.mark.requirement("DSC-06", "DSC-11")
def test_who_is_unseen_for_more_than_30_s_is_gone_unless_linked() -> None:
    table = PeerTable()
    table.see(of(1), 0.0)
    table.see(of(2), 0.0)
    linked = next(peer.number for peer in table if peer.device_address == "F0:2")
    table.connected(linked, 0.0)
    assert table.expire(30.0) == []
    events = table.expire(30.1)
    assert [(type(event), event.peer.device_address) for event in events] == [(PeerDisconnected, "F0:1")]
    assert isinstance(events[0], PeerDisconnected) and events[0].reason is DisconnectReason.UNSEEN
    assert kinds(table.disconnected(linked, 100.0, DisconnectReason.LINK_LOST)) == [PeerDisconnected]
    assert table.expire(130.0) == []
    assert kinds(table.expire(130.1)) == [PeerDisconnected]
    # It comes back as somebody new.
    assert kinds(table.see(of(2), 131.0)) == [PeerDiscovered]
    assert only(table).number > linked


@pytest.mark.requirement("DSC-12")
def test_a_range_is_told_by_steps_of_4_db() -> None:
    table = PeerTable()
    table.see(of(1, -60), 0.0)
    told = [event for n in range(30) for event in table.see(of(1, -60 + (n % 2) * 6), float(n))]
    assert told == []
    told = [event for n in range(30) for event in table.see(of(1, -80), float(n))]
    assert 3 <= len(told) <= 5
    assert all(isinstance(event, PeerRangeChanged) and event.distance == event.peer.distance for event in told)


def test_a_stranger_with_a_linked_peers_id_changes_nothing() -> None:
    table = PeerTable()
    table.see(of(1, address="A"), 0.0)
    table.connected(only(table).number, 0.0)
    before = only(table)
    assert table.see(of(1, -20, address="B"), 1.0) == []
    assert (only(table), table.ignored) == (before, 1)


def test_a_flood_of_made_up_ids_drives_out_only_itself() -> None:
    table = PeerTable(capacity=8)
    for seen in (0.0, 1.0):
        for number in range(1, 4):
            table.see(of(number), seen)
    linked, former, proven = (peer.number for peer in table)
    table.connected(linked, 1.0)
    table.connected(former, 1.0)
    table.disconnected(former, 1.0, DisconnectReason.LINK_LOST)
    evicted = 0
    for number in range(100, 1100):
        events = table.see(of(number), 2.0 + number / 1000)
        evicted += sum(isinstance(e, PeerDisconnected) and e.reason is DisconnectReason.EVICTED for e in events)
    assert len(table) == 8
    assert all(table.get(number) for number in (linked, former, proven))
    assert evicted == 1000 - 5


def test_a_table_of_linked_peers_takes_no_more() -> None:
    table = PeerTable(capacity=2)
    for number in (1, 2):
        for event in table.see(of(number), 0.0):
            table.connected(event.peer.number, 0.0)
    assert table.see(of(3), 1.0) == []
    assert (len(table), table.ignored) == (2, 1)


@pytest.mark.requirement("BLE-09")
def test_a_disconnection_has_its_reason() -> None:
    table = PeerTable()
    table.see(of(1), 0.0)
    number = only(table).number
    assert table.disconnected(number, 1.0, DisconnectReason.USER_REQUESTED) == []
    table.connected(number, 1.0)
    (event,) = table.disconnected(number, 2.0, DisconnectReason.USER_REQUESTED, 9.0)
    assert event == PeerDisconnected(only(table), DisconnectReason.USER_REQUESTED)
    assert (only(table).retry_at, only(table).last_seen) == (9.0, 2.0)
