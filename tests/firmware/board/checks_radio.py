from firmware.radio import SERVICE_BYTES, lists_service


def check_the_service_is_found_among_other_structures():
    other = b"\x03\x03\xaa\xfe"
    assert lists_service(other + b"\x11\x06" + SERVICE_BYTES)
    assert lists_service(b"\x21\x07" + b"\x01" * 16 + SERVICE_BYTES)


def check_other_advertisements_are_not_ours():
    assert not lists_service(b"")
    assert not lists_service(b"\x02\x01\x06")
    assert not lists_service(b"\x11\x07" + b"\x01" * 16)
    assert not lists_service(b"\x11\x21" + SERVICE_BYTES)


def check_hostile_advertisements_end():
    for data in (
        b"\x00",
        b"\xff",
        b"\x00\x07",
        b"\x01",
        b"\x11\x07" + SERVICE_BYTES[:15],
        b"\x01\x07" * 15,
        b"\xff\x07" * 15,
    ):
        assert not lists_service(data), data
    for size in range(32):
        for kind in range(256):
            lists_service(bytes((size, kind)) * 15)
