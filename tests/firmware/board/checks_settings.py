import json

import storage
from storage import SETTINGS, is_there, read, remove_all, start, write

from firmware import stored


def _set(settings, key, text, minutes=None):
    return stored.change(settings, key, text, minutes, 0)


def check_without_a_file_defaults_are_in_force():
    remove_all()
    settings = start()
    assert settings["max_links"] == 4 and settings["name"] == "bitrelay"
    assert not settings.trouble and not settings.waits and settings.trial_ends_s is None


def check_what_was_set_is_there_after_a_restart():
    remove_all()
    settings = start()
    assert _set(settings, "name", "attic") == "attic"
    assert _set(settings, "watchdog_s", "60") == 60
    settings = start()
    assert settings["name"] == "attic" and settings["watchdog_s"] == 60 and settings["max_links"] == 4


def check_what_needs_a_restart_waits_for_it_and_the_rest_does_not():
    remove_all()
    settings = start()
    _set(settings, "name", "attic")
    _set(settings, "log_level", "4")
    assert settings["name"] == "attic" and settings["log_level"] == 4 and not settings.waits
    _set(settings, "watchdog_s", "60")
    assert settings["watchdog_s"] == 30 and stored.coming(settings)["watchdog_s"] == 60 and settings.waits
    _set(settings, "watchdog_s", "30")
    assert not settings.waits


def check_no_value_gives_the_default_back():
    remove_all()
    settings = start()
    _set(settings, "name", "attic")
    assert _set(settings, "name", None) == "bitrelay"
    assert settings["name"] == "bitrelay" and read() == b"{}"


def check_a_bad_value_is_refused_with_the_range_and_changes_nothing():
    remove_all()
    settings = start()
    for key, text, words in (
        ("max_links", "10", "from 1 to 9"),
        ("max_links", "many", "whole number"),
        ("name", "", "1 to 29 bytes"),
        ("name", "x" * 30, "1 to 29 bytes"),
        ("colour", "red", "no such setting"),
        ("colour", None, "no such setting"),
    ):
        try:
            _set(settings, key, text)
        except ValueError as error:
            assert words in str(error), error
        else:
            raise AssertionError(key)
    assert stored.coming(settings)["max_links"] == 4
    assert not is_there(SETTINGS)


def check_a_power_cut_at_any_moment_leaves_the_old_settings_or_the_new():
    seen = set()
    at = 0
    while True:
        remove_all()
        _set(start(), "name", "attic")
        settings = start()
        with storage.Power(at) as power:
            _set(settings, "name", "cellar")
        name = start()["name"]
        seen.add(name)
        assert not start().trouble
        _set(start(), "name", "garden")
        assert start()["name"] == "garden"
        if power.done == at:
            break
        at += 1
    assert at == 3 and seen == {"attic", "cellar"}


def check_a_damaged_file_gives_defaults_and_says_so():
    for text in (b'{"name": "\xff\xfe"}', "{", "[1]", "null", '"x"', "\x00" * 100, "x" * 5000):
        remove_all()
        write(text)
        settings = start()
        assert settings["max_links"] == 4 and settings.trouble, text


def check_single_bad_entries_do_not_take_the_others_along():
    remove_all()
    write(json.dumps({"name": "attic", "max_links": 99, "led_pin": "x", "frame_slots": True, "future": 1}))
    settings = start()
    assert settings["name"] == "attic" and settings["max_links"] == 4 and settings["led_pin"] == -1
    assert len(settings.trouble) == 3


def check_only_what_was_set_is_stored_and_unknown_settings_are_kept():
    remove_all()
    write(json.dumps({"future": [1, 2], "max_links": 99}))
    _set(start(), "name", "attic")
    assert json.loads(read()) == {"future": [1, 2], "name": "attic"}


def check_more_than_the_file_holds_is_refused():
    remove_all()
    write(json.dumps({"future": "x" * 2030}))
    try:
        _set(start(), "name", "a" * 29)
    except ValueError as error:
        assert "2048" in str(error)
    else:
        raise AssertionError
    assert start()["name"] == "bitrelay"


# Fails to read the settings file, as a flash that wears out does.
def _unreadable(path, most):
    raise OSError(5)


def check_a_file_that_cannot_be_read_is_not_taken_for_an_empty_one():
    remove_all()
    _set(start(), "name", "attic")
    settings = start()
    read_file = storage.files.read
    storage.files.read = _unreadable
    try:
        _set(settings, "log_level", "4")
    except OSError:
        pass
    else:
        raise AssertionError("it was replaced")
    finally:
        storage.files.read = read_file
    assert json.loads(read()) == {"name": "attic"}
    storage.files.read = _unreadable
    try:
        assert "cannot be read" in start().trouble[0]
    finally:
        storage.files.read = read_file


def check_what_a_power_cut_left_half_written_is_removed():
    remove_all()
    for path in (SETTINGS, storage.TRIAL, storage.IDENTITY):
        write(b"half", path + ".new")
    start()
    assert not [path for path in (SETTINGS, storage.TRIAL, storage.IDENTITY) if is_there(path + ".new")]
