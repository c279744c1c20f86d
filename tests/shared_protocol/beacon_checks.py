# What a BitCraps node tells in its scan response, on either interpreter.
from shared_protocol import beacon

ID = b"\xa0\x28\x98\x10\x03\x2e\xb4\x17"


def check_a_beacon_by_its_bytes():
    data = beacon.encode(1, 4, beacon.MESH_ROUTING, ID, 37, 3)
    assert data == b"\x01\x04\x02" + ID + b"\x25\x03"
    assert beacon.parse(data) == (1, 4, 2, ID, 37, 3)


def check_beacons_of_every_kind_come_back():
    for fields in (
        (0, 0, 0, bytes(8), 0, 0),
        (255, 255, 255, b"\xff" * 8, 100, 255),
        (2, 0, beacon.GAMING | beacon.TOKENS, ID, beacon.UNKNOWN, beacon.UNKNOWN),
    ):
        data = beacon.encode(*fields)
        assert len(data) == beacon.SIZE
        for form in (bytes, bytearray, memoryview):
            assert beacon.parse(form(data)) == fields


def check_it_fills_an_advertisement_with_its_service():
    assert 2 + len(beacon.SERVICE_BYTES) + beacon.SIZE == 31
    assert bytes(reversed(beacon.SERVICE_BYTES)).hex() == "12345678123456781234567812345678"


def check_a_beacon_that_is_too_short_is_none_and_a_longer_one_is_of_a_newer_format():
    data = beacon.encode(1, 4, 2, ID, 37, 3)
    for size in range(beacon.SIZE):
        assert beacon.parse(data[:size]) is None
    assert beacon.parse(data + b"more") == beacon.parse(data)


def check_a_load_that_is_no_percentage_is_unknown():
    for load in range(101, 256):
        assert beacon.parse(bytes(11) + bytes((load, 1)))[4] == beacon.UNKNOWN


def check_what_the_format_cannot_carry_is_refused():
    good = (1, 4, 2, ID, 37, 3)
    for at, value in ((0, 256), (1, -1), (2, 300), (3, b"short"), (3, ID + b"9"), (4, 101), (4, -1), (5, 256)):
        fields = list(good)
        fields[at] = value
        try:
            beacon.encode(*fields)
        except ValueError:
            continue
        raise AssertionError(fields)


CHECKS = [name for name in globals() if name.startswith("check_")]
CHECKS.sort()
