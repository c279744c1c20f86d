# The table of settings and what it takes, on either interpreter.
import json

from shared_protocol import settings

FLAGS = settings.RESTART + settings.TRIAL


def refused(call, *arguments):
    try:
        call(*arguments)
    except ValueError as error:
        return str(error)
    raise AssertionError(arguments)


def check_the_table_is_sound():
    for key, rule in settings.TABLE.items():
        assert len(rule) in (4, 5), key
        default, flags, unit = rule[0], rule[-2], rule[-1]
        assert isinstance(default, str) == (len(rule) == 4), key
        assert settings.problem(key, default) is None, key
        assert settings.parse(key, str(default)) == default, key
        assert all(flag in FLAGS for flag in flags) and isinstance(unit, str), key
        # What can end the way to the relay must not do so at once.
        assert settings.RESTART in flags or settings.TRIAL not in flags, key


def check_numbers():
    for key, rule in settings.TABLE.items():
        if len(rule) == 5:
            for value in (rule[1], rule[2]):
                assert settings.problem(key, value) is None
                assert settings.parse(key, str(value)) == value
            told = f"must be a whole number from {rule[1]} to {rule[2]}"
            for value in (rule[1] - 1, rule[2] + 1, 10**30, True, False, None, 1.0, "1", [1], {}):
                assert settings.problem(key, value) == told, (key, value)
            for text in (
                "",
                "-",
                "--1",
                "+1",
                " 1",
                "1 ",
                "1\n",
                "1.0",
                "0x1",
                "1_0",
                "1e0",
                "one",
                "\u0661",
                "9" * 5000,
            ):
                assert refused(settings.parse, key, text) == told, (key, text)
    assert settings.parse("led_pin", "-1") == -1 and settings.parse("led_pin", "007") == 7


def check_texts():
    told = "must be text of 1 to 29 bytes"
    for value in ("x", "x" * 29, "Straße", "\u4e2d" * 9, "\U0001f4e1", "a b\t", "7"):
        assert settings.problem("name", value) is None, value
        assert settings.parse("name", value) == value
    for value in ("", "x" * 30, "\u4e2d" * 10, "x" * 5000):
        assert settings.problem("name", value) == told, value
        assert refused(settings.parse, "name", value) == told
    # Half of a surrogate pair: JSON can spell it, UTF-8 cannot.
    for value in (7, None, True, b"x", ["x"], {}, json.loads('"\\ud800"')):
        assert settings.problem("name", value) == told, value


def check_what_there_is_not():
    for key in ("", "colour", "NAME", "name "):
        assert settings.problem(key, 1) == "no such setting"
        assert refused(settings.parse, key, "1") == "no such setting"


def check_files():
    assert settings.decode_file(b"") == {}
    assert settings.decode_file(b"{}") == {}
    values = {"name": "Straße", "max_links": 3, "future": [1, {"a": None}]}
    assert settings.decode_file(json.dumps(values).encode()) == values
    most = b'{"future":"' + b"x" * (settings.MAX_FILE - 13) + b'"}'
    assert len(most) == settings.MAX_FILE and settings.decode_file(most)
    assert "2048" in refused(settings.decode_file, most + b" ")
    for data in (
        b"{",
        b"}",
        b"[]",
        b"[1]",
        b"null",
        b"1",
        b'"x"',
        b"x",
        b"\0",
        b'{"name":"x"} x',
        b"{'name':'x'}",
        b'{"name":"\xff"}',
        b"\xff\xfe{\0}\0",
        b"\xef\xbb\xbf{}",
        b"[" * settings.MAX_FILE,
        b'{"a":' * 400,
    ):
        assert refused(settings.decode_file, data) == "not a JSON object", data
    # What a relay could not write again.
    for data in (b'{"a":1e999}', b'{"a":1.5}', b'{"a":[[1.5]]}', b'{"a":' + b"[" * 900 + b"]" * 900 + b"}"):
        assert refused(settings.decode_file, data), data[:20]


def check_all_that_is_wrong_is_told_and_what_is_unknown_is_not():
    assert settings.check_all({}) == []
    assert settings.check_all({"name": "x", "max_links": 9, "colour": "red"}) == []
    assert settings.check_all({"name": "", "max_links": 10, "led_pin": "2", "colour": "red", "dial_max": 1}) == [
        "led_pin: must be a whole number from -1 to 48",
        "max_links: must be a whole number from 1 to 9",
        "name: must be text of 1 to 29 bytes",
    ]


def check_what_is_in_force():
    assert settings.effective({}, "max_links") == 4
    assert settings.effective({"max_links": 3}, "max_links") == 3
    for wrong in (0, 10, "3", None, True):
        assert settings.effective({"max_links": wrong}, "max_links") == 4, wrong


def check_what_can_cut_the_relay_off():
    for before, after, cuts in (
        ({}, {}, False),
        ({}, {"name": "x", "watchdog_s": 5, "log_level": 0, "future": 1}, False),
        ({}, {"max_links": 4}, False),
        ({"max_links": 99}, {}, False),
        ({}, {"max_links": 3}, True),
        ({"max_links": 3}, {}, True),
        ({"max_links": 3}, {"max_links": 3, "dial_max": 2}, False),
        ({}, {"dial_max": 1}, True),
        ({}, {"phone_slots": 1}, True),
        ({}, {"frame_slots": 21}, True),
        ({}, {"led_pin": 2}, True),
    ):
        assert settings.cuts(before, after) == cuts, (before, after)


CHECKS = [name for name in globals() if name.startswith("check_")]
CHECKS.sort()
