from binascii import crc32

import storage
from storage import IDENTITY, SETTINGS, TRIAL, is_there, read, remove_all, start, write

from firmware import identity, transfer
from firmware.log import Log
from shared_protocol import console as messages

NEW = b'{"name":"attic", "max_links":3, "future":[1, 2]}'


# Sends a file in pieces; returns the last state.
def _send(settings, data, what=messages.SETTINGS, piece=20, crc=None, **more):
    state = None
    offset = 0
    while True:
        part = data[offset : offset + piece]
        values = {"what": what, "size": len(data), "offset": offset, "data": part}
        values["crc"] = crc32(data) if crc is None else crc
        values.update(more)
        state = transfer.take(settings, state, values, 0)
        offset += len(part)
        if offset == len(data):
            return state


def _refuses(words, *arguments, **more):
    try:
        _send(*arguments, **more)
    except ValueError as error:
        assert words in str(error), error
    else:
        raise AssertionError(words)


def _fetch(settings, what):
    data = b""
    while True:
        piece = transfer.export(settings, what, len(data))
        assert piece["offset"] == len(data) and len(piece["data"]) <= messages.PIECE
        data += piece["data"]
        if len(data) == piece["size"]:
            return data


def check_a_file_goes_out_in_pieces_as_it_is():
    remove_all()
    assert _fetch(start(), messages.SETTINGS) == b""
    for size in (1, 511, 512, 513, 2048):
        write(bytes(size))
        assert _fetch(start(), messages.SETTINGS) == bytes(size)
        assert transfer.export(start(), messages.SETTINGS, 1 << 40) == {"size": size, "offset": 1 << 40, "data": b""}


def check_settings_that_came_in_pieces_are_stored_byte_by_byte_and_in_force_after_a_restart():
    for piece in (1, 7, 512):
        remove_all()
        settings = start()
        assert _send(settings, NEW, piece=piece)[2] == len(NEW)
        assert read() == NEW and settings["name"] == "bitrelay" and settings.waits
        assert settings.trial_s(0) == 600
        settings = start()
        assert settings["name"] == "attic" and settings["max_links"] == 3


def check_settings_that_cut_nothing_off_need_no_trial():
    remove_all()
    settings = start()
    _send(settings, b'{"name":"attic"}')
    assert settings.trial_s(0) is None and start()["name"] == "attic"


def check_the_minutes_of_a_trial_can_be_chosen():
    remove_all()
    settings = start()
    _send(settings, NEW, trial_min=3)
    assert settings.trial_s(0) == 180
    remove_all()
    _refuses("1 to 1440", start(), NEW, trial_min=0)
    assert not is_there(SETTINGS) and not is_there(TRIAL)


def check_no_bytes_remove_the_settings():
    remove_all()
    write('{"name":"attic","max_links":3}')
    settings = start()
    _send(settings, b"")
    assert not is_there(SETTINGS) and settings.trial_s(0) == 600
    assert start()["max_links"] == 4
    _send(start(), b"")
    remove_all()
    write("{}")
    _send(start(), b"")
    assert not is_there(SETTINGS)


def check_what_no_relay_takes_is_refused_by_name_and_changes_nothing():
    remove_all()
    write('{"name":"attic"}')
    settings = start()
    for data, words in (
        (b'{"name":"","max_links":99}', "max_links: must be a whole number from 1 to 9; name: must be text"),
        (b'{"led_pin":"2"}', "led_pin"),
        (b"{", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (bytes(2049), "at most 2048 bytes"),
    ):
        _refuses(words, settings, data)
        assert read() == b'{"name":"attic"}' and not settings.waits and settings.trial_s(0) is None
    _refuses("CRC", settings, NEW, crc=1)
    _refuses("no such file", settings, NEW, what="main.py")
    assert read() == b'{"name":"attic"}'


def check_pieces_must_follow_one_another():
    remove_all()
    settings = start()
    first = {"what": messages.SETTINGS, "size": len(NEW), "offset": 0, "data": NEW[:10]}
    state = transfer.take(settings, None, first, 0)
    for wrong in (
        {"offset": 9},
        {"offset": 11},
        {"offset": 10, "size": 99},
        {"offset": 10, "what": messages.IDENTITY, "size": 72},
        {"offset": 10, "data": NEW},
    ):
        values = dict(first, offset=10)
        values.update(wrong)
        try:
            transfer.take(settings, state, values, 0)
        except ValueError as error:
            assert "does not follow" in str(error)
        else:
            raise AssertionError(wrong)
    try:
        transfer.take(settings, None, dict(first, offset=10), 0)
    except ValueError:
        pass
    else:
        raise AssertionError
    # A first piece begins anew.
    _send(settings, NEW)
    assert read() == NEW


def check_a_power_cut_at_any_moment_leaves_the_old_settings_or_the_new():
    seen = set()
    at = 0
    while True:
        remove_all()
        write('{"name":"cellar"}')
        settings = start()
        with storage.Power(at) as power:
            _send(settings, NEW)
        settings = start()
        seen.add((settings["name"], settings["max_links"], settings.trial_s(0)))
        assert not settings.trouble
        if power.done == at:
            break
        at += 1
    assert seen == {("cellar", 4, None), ("attic", 3, 600)}


def check_an_identity_goes_out_and_comes_back():
    remove_all()
    identity.keep("", Log(0))
    kept = _fetch(start(), messages.IDENTITY)
    assert identity.valid(kept)
    remove_all()
    settings = start()
    _send(settings, kept, what=messages.IDENTITY)
    assert read(IDENTITY) == kept and settings.waits
    _send(settings, b"{}")
    assert settings.waits


def check_an_identity_that_is_none_is_refused():
    remove_all()
    identity.keep("", Log(0))
    kept = read(IDENTITY)
    settings = start()
    for bad in (b"", kept[:71], kept[:-1] + bytes((kept[-1] ^ 1,)), bytes(72)):
        _refuses("not an identity", settings, bad, what=messages.IDENTITY)
    _refuses("at most 72 bytes", settings, kept + b"x", what=messages.IDENTITY)
    assert read(IDENTITY) == kept and not settings.waits


def check_a_setting_changed_between_two_pieces_ends_the_import():
    remove_all()
    settings = start()
    data = b" " * 20 + b'{"name":"attic"}'
    values = {"what": messages.SETTINGS, "size": len(data), "offset": 0, "data": data[:20], "crc": crc32(data)}
    state = transfer.take(settings, None, values, 0)
    storage.stored.change(settings, "name", "cellar", None, 0)
    values.update({"offset": 20, "data": data[20:]})
    try:
        transfer.take(settings, state, values, 0)
    except ValueError as error:
        assert "CRC" in str(error)
    else:
        raise AssertionError("it was taken")
    assert start()["name"] == "cellar" and not is_there(SETTINGS + ".new")


def check_an_identity_that_is_refused_leaves_no_bytes_of_it():
    remove_all()
    _refuses("not an identity", start(), b"BRI1" + bytes(68), messages.IDENTITY)
    assert not is_there(IDENTITY + ".new")
