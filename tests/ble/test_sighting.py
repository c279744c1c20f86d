"""What an advertisement is taken for."""

import pytest
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData
from hypothesis import given, settings
from hypothesis import strategies as st

from bitrelay.ble.sighting import (
    BITCHAT_SERVICE,
    BITCRAPS_SERVICE,
    Beacon,
    Rejection,
    Services,
    Sighting,
    capability_names,
    has_our_name,
    read_sighting,
)
from shared_protocol import beacon

ID = bytes(range(1, 9))
BEACON = beacon.encode(1, 4, 0x02, ID, 30, 2)
DEVICE = BLEDevice("F0:00:00:00:00:01", None, None)


def read(
    uuids: list[str] | None = None,
    data: dict[str, bytes] | None = None,
    name: str | None = None,
    rssi: int = -50,
    manufacturer: dict[int, bytes] | None = None,
) -> Sighting | Rejection:
    return read_sighting(DEVICE, AdvertisementData(name, manufacturer or {}, data or {}, uuids or [], None, rssi, ()))


@pytest.mark.requirement("BLE-07", "DSC-15")
def test_a_beacon_is_read() -> None:
    for uuids in ([BITCRAPS_SERVICE], [BITCRAPS_SERVICE.upper()], []):
        assert read(uuids, {BITCRAPS_SERVICE: BEACON}) == Sighting(
            "F0:00:00:00:00:01", -50, Services.BITCRAPS, "", ID, Beacon((1, 4), 2, 30, 2)
        )


def test_what_a_relay_does_not_tell_is_none() -> None:
    seen = read([BITCRAPS_SERVICE], {BITCRAPS_SERVICE: beacon.encode(1, 4, 0, ID, 255, 255)})
    assert isinstance(seen, Sighting) and seen.beacon == Beacon((1, 4), 0, None, None)


def test_platforms_that_merge_advertisements_give_both_services() -> None:
    seen = read([BITCHAT_SERVICE, BITCRAPS_SERVICE], {BITCHAT_SERVICE: ID, BITCRAPS_SERVICE: BEACON})
    assert isinstance(seen, Sighting)
    assert (seen.services, seen.on_air_id) == (Services.BITCRAPS | Services.BITCHAT, ID)
    assert seen.beacon is not None


def test_phones_are_known_by_their_service_and_have_an_id_where_they_tell_it() -> None:
    android, ios = read([BITCHAT_SERVICE], {BITCHAT_SERVICE: ID}), read([BITCHAT_SERVICE])
    assert isinstance(android, Sighting) and isinstance(ios, Sighting)
    assert (android.on_air_id, ios.on_air_id) == (ID, None)
    assert not ios.is_incomplete


@pytest.mark.requirement("DSC-21")
def test_data_that_is_missing_or_short_or_zero_gives_nobody_an_id() -> None:
    missing = read([BITCRAPS_SERVICE])
    assert isinstance(missing, Sighting) and missing.is_incomplete and missing.on_air_id is None
    for size in range(beacon.SIZE):
        assert read([BITCRAPS_SERVICE], {BITCRAPS_SERVICE: BEACON[:size]}) is Rejection.MALFORMED
    for size in (0, 7, 9, 32):
        assert read([BITCHAT_SERVICE], {BITCHAT_SERVICE: bytes(size)}) is Rejection.MALFORMED
    keyless = read([BITCRAPS_SERVICE], {BITCRAPS_SERVICE: beacon.encode(1, 4, 0, bytes(8), 0, 0)})
    assert isinstance(keyless, Sighting) and keyless.on_air_id is None


@pytest.mark.requirement("DSC-17", "DSC-16")
def test_a_name_or_a_manufacturer_id_is_never_enough() -> None:
    assert read(name="BitCraps-1") is Rejection.NAME_ONLY
    assert read(name="xCRAPx") is Rejection.NAME_ONLY
    assert read(name="bitcraps") is Rejection.FOREIGN
    assert read(manufacturer={0xFFFF: bytes(range(32))}) is Rejection.FOREIGN
    assert [has_our_name(name) for name in ("BitCraps", "aCRAPb", "Craps", "")] == [True, True, False, False]


@pytest.mark.requirement("DSC-18")
def test_a_missing_level_is_minus_100() -> None:
    seen = read([BITCHAT_SERVICE], rssi=-127)
    assert isinstance(seen, Sighting) and seen.rssi == -100


@pytest.mark.requirement("DSC-15")
def test_capabilities_have_names() -> None:
    assert capability_names(0x07) == ["gaming", "mesh", "tokens"]
    assert capability_names(0x82) == ["mesh", "0x80"]
    assert capability_names(0) == []


_UUIDS = st.sampled_from([BITCHAT_SERVICE, BITCRAPS_SERVICE, "0000180f-0000-1000-8000-00805f9b34fb", "", "x"])


@settings(max_examples=50)
@given(
    st.lists(_UUIDS, max_size=4),
    st.dictionaries(_UUIDS, st.binary(max_size=64)),
    st.none() | st.text(max_size=300),
    st.integers(-1000, 1000),
)
def test_nothing_raises_and_no_id_is_of_zeros(
    uuids: list[str], data: dict[str, bytes], name: str | None, rssi: int
) -> None:
    seen = read(uuids, data, name, rssi)
    if isinstance(seen, Sighting):
        assert seen.on_air_id is None or (len(seen.on_air_id) == 8 and any(seen.on_air_id))
        assert -126 <= seen.rssi <= 20 and len(seen.name) <= 64
