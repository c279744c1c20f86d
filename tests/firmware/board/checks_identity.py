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
    identity.keep("", log)
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


def check_a_damaged_one_is_put_aside_and_told():
    remove_all()
    _keep()
    made = read(IDENTITY)
    for bad in (b"", made[:40], made + b"x", b"BRI2" + made[4:], made[:-1] + bytes((made[-1] ^ 128,))):
        write(bad, IDENTITY)
        (told,) = _keep()
        assert "damaged" in told and "identity.bad" in told
        assert identity.valid(read(IDENTITY)) and read("identity.bad") == bad
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
