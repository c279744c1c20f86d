import json

import storage
from storage import TRIAL, is_there, read, remove_all, start, write

from firmware import stored


def _set(settings, key, text, minutes=None, now_s=0):
    stored.change(settings, key, text, minutes, now_s)


# What would be in force after a start, without one.
def _stored():
    return json.loads(read())


def check_only_what_can_cut_the_relay_off_is_on_trial():
    remove_all()
    settings = start()
    for key, text in (("name", "attic"), ("log_level", "1"), ("watchdog_s", "60"), ("max_links", "4")):
        _set(settings, key, text)
        assert settings.trial_s(0) is None, key
    for key in ("max_links", "dial_max", "phone_slots", "led_pin", "frame_slots"):
        text = "8"
        remove_all()
        settings = start()
        _set(settings, key, text)
        assert settings.trial_s(0) == 600, key


def check_what_nobody_confirms_goes_back_when_its_minutes_are_over():
    remove_all()
    _set(start(), "name", "attic")
    settings = start()
    _set(settings, "max_links", "3", 2, now_s=5000)
    assert settings.trial_s(5000) == 120 and settings.trial_s(5119) == 1 and settings.trial_s(5120) == 0
    # It starts anew with the relay, which has no clock that outlasts a start.
    settings = start()
    assert settings["max_links"] == 3 and settings.trial_s(0) == 120 and not settings.waits
    assert settings.trial_s(120) == 0 and settings.trial_s(9999) == 0
    stored.revert(settings)
    assert settings.waits and settings.trial_s(120) is None and not is_there(TRIAL)
    settings = start()
    assert settings["max_links"] == 4 and settings["name"] == "attic" and not settings.waits


def check_what_goes_back_before_it_was_in_force_needs_no_restart():
    remove_all()
    settings = start()
    _set(settings, "max_links", "3")
    assert settings.waits
    stored.revert(settings)
    assert not settings.waits and start()["max_links"] == 4


def check_what_was_confirmed_stays():
    remove_all()
    settings = start()
    settings.confirm()
    _set(settings, "max_links", "3")
    settings.confirm()
    assert settings.trial_s(0) is None and not is_there(TRIAL)
    for _ in range(6):
        assert start()["max_links"] == 3


def check_the_fourth_start_without_a_confirmation_goes_back():
    remove_all()
    _set(start(), "max_links", "3")
    for _ in range(3):
        settings = start()
        assert settings["max_links"] == 3 and settings.trial_s(0) == 600
    settings = start()
    assert settings["max_links"] == 4 and settings.trial_s(0) is None and not settings.waits
    assert "not confirmed" in settings.trouble[0]
    assert not is_there(TRIAL) and not start().trouble


def check_a_start_of_the_program_alone_does_not_count():
    remove_all()
    _set(start(), "max_links", "3")
    for _ in range(20):
        assert start(booted=False)["max_links"] == 3


def check_with_several_changes_what_was_before_the_first_comes_back():
    remove_all()
    settings = start()
    _set(settings, "max_links", "3", now_s=100)
    _set(settings, "dial_max", "1", now_s=300)
    assert settings.trial_s(300) == 600
    stored.revert(settings)
    assert start()["max_links"] == 4 and start()["dial_max"] == 2


def check_other_settings_of_that_time_stay():
    remove_all()
    write('{"name":"attic","watchdog_s":60,"future":1}')
    settings = start()
    _set(settings, "max_links", "3", now_s=100)
    _set(settings, "name", "cellar", now_s=300)
    _set(settings, "watchdog_s", None, now_s=300)
    assert settings.trial_s(300) == 400
    stored.revert(settings)
    assert _stored() == {"name": "cellar", "future": 1}


def check_what_was_set_back_by_hand_is_on_trial_no_more():
    remove_all()
    settings = start()
    _set(settings, "max_links", "3")
    _set(settings, "max_links", "4")
    assert settings.trial_s(0) is None and not is_there(TRIAL)


def check_the_minutes_are_within_a_day():
    remove_all()
    settings = start()
    for minutes in (0, 1441):
        try:
            _set(settings, "max_links", "3", minutes)
        except ValueError as error:
            assert "1 to 1440" in str(error)
        else:
            raise AssertionError(minutes)
        assert start()["max_links"] == 4 and not is_there(TRIAL)
    _set(settings, "max_links", "3", 1440)
    assert settings.trial_s(0) == 86400


def check_a_power_cut_at_any_moment_of_a_change_leaves_old_or_new_and_a_trial_only_for_new():
    seen = set()
    at = 0
    while True:
        remove_all()
        settings = start()
        with storage.Power(at) as power:
            _set(settings, "max_links", "3")
        settings = start()
        seen.add((settings["max_links"], settings.trial_s(0)))
        assert not settings.trouble
        if power.done == at:
            break
        at += 1
    assert seen == {(4, None), (3, 600)}


def check_a_power_cut_at_any_moment_of_going_back_leaves_old_or_new():
    seen = set()
    at = 0
    while True:
        remove_all()
        _set(start(), "name", "attic")
        _set(start(), "max_links", "3")
        settings = start()
        with storage.Power(at) as power:
            stored.revert(settings)
        settings = start()
        seen.add((settings["max_links"], settings.trial_s(0)))
        assert settings["name"] == "attic" and not settings.trouble
        if power.done == at:
            break
        at += 1
    assert seen == {(3, 600), (4, None)}


def check_a_power_cut_at_any_moment_of_the_fourth_start_is_harmless():
    at = 0
    while True:
        remove_all()
        _set(start(), "max_links", "3")
        for _ in range(3):
            start()
        with storage.Power(at) as power:
            start()
        assert start()["max_links"] == 4
        assert start()["max_links"] == 4 and not is_there(TRIAL)
        if power.done == at:
            break
        at += 1


def check_a_damaged_file_of_a_trial_keeps_what_is_stored_and_says_so():
    for text in (
        "",
        "{",
        "[]",
        '{"minutes":1}',
        '{"minutes":"1","boots":0,"before":{}}',
        '{"minutes":0,"boots":0,"before":{}}',
        '{"minutes":1,"boots":0,"before":[]}',
        "x" * 5000,
    ):
        remove_all()
        write('{"max_links":3}')
        write(text, TRIAL)
        settings = start()
        assert settings["max_links"] == 3 and settings.trial_s(0) is None and settings.trouble, text
        assert not is_there(TRIAL) and not start().trouble


def check_a_change_that_needs_more_than_the_files_hold_is_refused():
    remove_all()
    full = '{"future":"' + "x" * 2035 + '"}'
    write(full)
    try:
        _set(start(), "max_links", "3")
    except ValueError as error:
        assert "2048" in str(error)
    else:
        raise AssertionError
    assert read() == full.encode() and not is_there(TRIAL)


def check_what_was_before_comes_back_even_if_it_is_long():
    remove_all()
    before = '{"future":"' + "x" * 2000 + '"}'
    write(before)
    _set(start(), "max_links", "3")
    stored.revert(start())
    assert read() == before.encode()


def check_a_trial_whose_file_is_lost_ends_and_settings_can_be_set():
    remove_all()
    settings = start()
    stored.change(settings, "max_links", "3", None, 0)
    write(b"{", TRIAL)
    try:
        stored.revert(settings)
    except ValueError:
        pass
    else:
        raise AssertionError("what was before is not there")
    assert settings.trial_ends_s is None and not is_there(TRIAL)
    settings.confirm()
    assert stored.change(settings, "name", "attic", None, 0) == "attic"
