from binascii import crc32

from storage import IDENTITY, Power, is_there, read, remove_all, write

from firmware import identity
from firmware.log import Log
from shared_protocol import console as messages


def _keep():
    told = []
    log = Log(messages.LOG_ERROR)
    log.uptime_ms = lambda: 0
    log.emit = lambda kind, values: told.append(values["text"])
    secrets, state = identity.keep("", log)
    if state == identity.OK:
        assert not told and secrets == read(IDENTITY)[4:68]
    else:
        assert secrets is None
    return told


def check_it_is_made_once_and_kept():
    remove_all()
    assert _keep() == []
    made = read(IDENTITY)
    assert len(made) == 72 and made[:4] == b"BRI1" and crc32(made[:68]) == int.from_bytes(made[68:], "big")
    assert made[4:36] != made[36:68] and made[4:68] != bytes(64)
    assert _keep() == [] and read(IDENTITY) == made
    remove_all()
    _keep()
    assert read(IDENTITY) != made


def check_damage_at_any_byte_is_told_and_nothing_is_replaced():
    remove_all()
    _keep()
    made = read(IDENTITY)
    bad = [made[:at] + bytes((made[at] ^ 1 << at % 8,)) + made[at + 1 :] for at in range(len(made))]
    bad += [made[:size] for size in range(len(made))] + [made + b"x", b"BRI2" + made[4:]]
    for data in bad:
        write(data, IDENTITY)
        for _ in range(2):
            (told,) = _keep()
            assert "damaged" in told and IDENTITY in told
            assert read(IDENTITY) == data
    write(made, IDENTITY)
    assert _keep() == []


def check_a_power_cut_while_it_is_made_leaves_none_or_a_whole_one():
    at = 0
    while True:
        remove_all()
        with Power(at) as power:
            _keep()
        assert not is_there(IDENTITY) or identity.valid(read(IDENTITY))
        if power.done == at:
            break
        at += 1
    assert at == 3
