import json
import os

from firmware.settings import TABLE, Settings, problem

# In the working directory, which the test makes.
PATH = "settings.json"
NEW = "settings.new"


def _write(text, path=PATH):
    with open(path, "w") as f:
        f.write(text)


def _remove():
    for path in (PATH, NEW):
        try:
            os.remove(path)
        except OSError:
            pass


def _settings():
    return Settings(PATH, NEW)


def check_without_a_file_defaults_are_in_force():
    _remove()
    settings = _settings()
    assert settings["max_links"] == 4 and settings["name"] == "bitrelay" and not settings.trouble


def check_what_was_set_is_there_after_a_restart():
    _remove()
    _settings().set("name", "attic")
    _settings().set("dial_max", "1")
    settings = _settings()
    assert settings["name"] == "attic" and settings["dial_max"] == 1 and settings["max_links"] == 4
    _remove()


def check_a_bad_value_is_refused_with_the_range_and_changes_nothing():
    _remove()
    settings = _settings()
    for key, text, words in (
        ("max_links", "10", "from 1 to 9"),
        ("max_links", "many", "whole number"),
        ("name", "", "1 to 29 bytes"),
        ("name", "x" * 30, "1 to 29 bytes"),
        ("colour", "red", "no such setting"),
    ):
        try:
            settings.set(key, text)
        except ValueError as error:
            assert words in str(error), error
        else:
            raise AssertionError(key)
    assert settings["max_links"] == 4
    try:
        os.stat(PATH)
    except OSError:
        return
    raise AssertionError("a file was written")


def check_a_power_cut_while_storing_leaves_the_old_settings():
    _remove()
    _settings().set("name", "attic")
    _write('{"name": "cel', NEW)
    assert _settings()["name"] == "attic"
    _settings().set("name", "cellar")
    assert _settings()["name"] == "cellar"
    _remove()


def check_a_damaged_file_gives_defaults_and_says_so():
    with open(PATH, "wb") as f:
        f.write(b'{"name": "\xff\xfe"}')
    assert _settings().trouble
    for text in ("", "{", "[1]", "null", '"x"', "\x00" * 100, "x" * 5000):
        _write(text)
        settings = _settings()
        assert settings["max_links"] == 4 and settings.trouble, text
    _remove()


def check_single_bad_entries_do_not_take_the_others_along():
    _write(json.dumps({"name": "attic", "max_links": 99, "led_pin": "x", "frame_slots": True, "future": 1}))
    settings = _settings()
    assert settings["name"] == "attic" and settings["max_links"] == 4 and settings["led_pin"] == -1
    assert len(settings.trouble) == 4
    _remove()


def check_only_what_was_set_is_stored_and_unknown_settings_are_kept():
    _write(json.dumps({"future": [1, 2], "max_links": 99}))
    _settings().set("name", "attic")
    with open(PATH) as f:
        assert json.load(f) == {"future": [1, 2], "name": "attic"}
    _remove()


def check_every_default_is_valid():
    for key, rule in TABLE.items():
        assert problem(key, rule[0]) is None, key
