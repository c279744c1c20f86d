from firmware.dialer import CANDIDATES, Dialer

OWN = b"\x05" * 6
HIGHER = bytearray(b"\x09" * 6)
LOWER = bytearray(b"\x01" * 6)
PHONE = bytearray(b"\xc1" * 6)


def _nobody(address):
    return None


def _choose(dialer, now, places=2, relay_places=2, linked=_nobody):
    one = dialer.choose(places, relay_places, linked, now)
    return None if one is None else bytes(one.address)


def check_the_higher_address_dials_at_once():
    dialer = Dialer(OWN, lambda low, high: high)
    dialer.heard(0, LOWER, -60, 0)
    assert _choose(dialer, 0) == bytes(LOWER)


def check_the_lower_address_waits_to_be_dialled():
    dialer = Dialer(OWN, lambda low, high: high)
    dialer.heard(0, HIGHER, -60, 0)
    assert _choose(dialer, 10) is None
    assert _choose(dialer, 40) == bytes(HIGHER)


def check_a_phone_has_time_to_dial_us():
    dialer = Dialer(OWN, lambda low, high: high)
    dialer.heard(1, PHONE, -40, 0)
    assert _choose(dialer, 30) is None
    assert _choose(dialer, 60) == bytes(PHONE)


def check_relays_come_before_phones_and_keep_the_last_place():
    dialer = Dialer(OWN, lambda low, high: high)
    dialer.heard(1, PHONE, -40, 0)
    dialer.heard(0, LOWER, -80, 0)
    assert _choose(dialer, 90) == bytes(LOWER)
    assert _choose(dialer, 90, places=1, relay_places=0) is None
    assert _choose(dialer, 90, places=2, relay_places=0) == bytes(PHONE)


def check_nobody_is_dialled_who_has_a_link_or_when_there_is_no_place():
    dialer = Dialer(OWN, lambda low, high: high)
    dialer.heard(0, LOWER, -60, 0)
    assert _choose(dialer, 0, linked=lambda address: address == LOWER or None) is None
    assert _choose(dialer, 0, places=0) is None


def check_failures_wait_longer_each_time():
    dialer = Dialer(OWN, lambda low, high: high)
    dialer.heard(0, LOWER, -60, 0)
    now = 0
    for wait in (20, 40, 80, 160, 320, 320):
        dialer.failed(LOWER, now)
        dialer.heard(0, LOWER, -60, now + wait)
        assert _choose(dialer, now + wait - 1) is None, wait
        assert _choose(dialer, now + wait) == bytes(LOWER), wait
        now += wait
    dialer.lost(LOWER, True, now)
    assert _choose(dialer, now) == bytes(LOWER)


def check_who_is_not_heard_any_more_is_not_dialled():
    dialer = Dialer(OWN, lambda low, high: high)
    dialer.heard(0, LOWER, -60, 0)
    assert _choose(dialer, 301) is None


def check_addresses_are_copied_not_kept():
    dialer = Dialer(OWN, lambda low, high: high)
    reused = bytearray(LOWER)
    dialer.heard(0, reused, -60, 0)
    reused[:] = b"\x02" * 6
    assert _choose(dialer, 0) == bytes(LOWER)


def check_a_crowd_stays_within_the_table_and_the_strongest_stay():
    dialer = Dialer(OWN, lambda low, high: high)
    for i in range(100):
        dialer.heard(1, bytes((0xC0, 0, 0, 0, 0, i)), -90 + i // 2, 0)
    assert len(dialer.table) == CANDIDATES
    assert min(one.rssi for one in dialer.table) > -60
