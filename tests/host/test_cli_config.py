"""`bitrelay config`: what it shows, what it changes, and what it refuses before a relay hears of it."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from bitrelay.errors import ExitCode
from bitrelay.known_settings import known_settings
from shared_protocol import console as messages
from tests.host.command import ask, finish, run, start
from tests.host.fake_relay import FakeRelay, PtyRelay, Rfc2217Relay, SettingsRelay, Values

Served = PtyRelay | Rfc2217Relay

WRITES = {messages.SET, messages.IMPORT, messages.REBOOT, messages.CONFIRM}


@pytest.fixture
def relay() -> SettingsRelay:
    return SettingsRelay()


def kinds(relay: FakeRelay) -> list[int]:
    return [kind for kind, _, _ in relay.requests if kind != messages.INFO]


def config(port: str, *args: str) -> Any:
    """What `bitrelay config` prints as JSON."""
    return ask("config", *args, "--port", port)


# get


def test_get_shows_every_setting(relay: SettingsRelay, served: Served) -> None:
    relay.files["settings"] = b'{"max_links": 6, "name": "hill"}'
    relay.start()
    shown = config(served.port, "get")
    records = {record["key"]: record for record in shown["settings"]}
    assert list(records) == list(known_settings())
    assert (shown["restart_needed"], shown["trial_s"]) == (False, None)
    links = records["max_links"]
    assert (links["value"], links["default"], links["lowest"], links["highest"]) == (6, 4, 1, 9)
    assert (links["unit"], links["at_restart"], links["on_trial"]) == ("links", True, True)
    assert (records["name"]["value"], records["name"]["longest_bytes"]) == ("hill", 29)


def test_get_for_people_is_a_table_with_range_unit_and_when(relay: SettingsRelay, pty_relay: PtyRelay) -> None:
    lines = run("config", "get", "--port", pty_relay.port).stdout.splitlines()
    assert lines[0].split() == ["key", "value", "default", "range", "unit", "a", "change", "takes", "effect"]
    (links,) = [line for line in lines if line.startswith("max_links")]
    assert " ".join(links.split()) == "max_links 4 4 1 to 9 links at the next start, on trial"
    (name,) = [line for line in lines if line.startswith("name")]
    assert " ".join(name.split()) == "name bitrelay bitrelay 1 to 29 bytes at once"


def test_get_of_one_key_says_what_it_is_for(relay: SettingsRelay, pty_relay: PtyRelay) -> None:
    assert config(pty_relay.port, "get", "watchdog_s")["value"] == 30
    text = run("config", "get", "watchdog_s", "--port", pty_relay.port).stdout
    assert known_settings()["watchdog_s"].meaning in text
    assert "max_links" not in text


def test_get_tells_what_is_pending(relay: SettingsRelay, pty_relay: PtyRelay) -> None:
    run("config", "set", "max_links", "5", "--port", pty_relay.port)
    text = run("config", "get", "--port", pty_relay.port).stdout
    assert "Changed settings wait for the relay's next start." in text
    assert "they revert in 10 min 0 s unless `bitrelay config confirm` comes first" in text


def test_get_of_an_unknown_key_is_65(relay: SettingsRelay, pty_relay: PtyRelay) -> None:
    done = run("config", "get", "max_lynx", "--port", pty_relay.port)
    assert done.returncode == ExitCode.BAD_DATA
    assert "no setting 'max_lynx'. Did you mean 'max_links'?" in done.stderr


def test_get_shows_settings_of_a_newer_relay(relay: SettingsRelay, pty_relay: PtyRelay) -> None:
    relay.files["settings"] = b'{"colour": "red"}'
    assert config(pty_relay.port, "get", "colour") == {"key": "colour", "value": "red"}
    assert "red" in run("config", "get", "colour", "--port", pty_relay.port).stdout


# set and unset


def test_set_of_something_harmless_takes_effect_at_once(relay: SettingsRelay, pty_relay: PtyRelay) -> None:
    relay.in_force = {"name": "hill"}
    answer = config(pty_relay.port, "set", "name", "hill")
    assert answer == {
        "port": pty_relay.port, "key": "name", "value": "hill",
        "restart_needed": False, "restarted": False, "trial_s": None, "confirmed": False,
    }  # fmt: skip
    assert relay.stored == {"name": "hill"}
    assert kinds(relay) == [messages.SET]


def test_set_takes_a_value_that_looks_like_an_option(relay: SettingsRelay, pty_relay: PtyRelay) -> None:
    assert config(pty_relay.port, "set", "led_pin", "-1")["value"] == -1
    assert relay.stored == {"led_pin": -1}


def test_set_says_that_a_setting_is_on_trial_for_how_long_and_what_to_do(
    relay: SettingsRelay, pty_relay: PtyRelay
) -> None:
    lines = run("config", "set", "max_links", "6", "--for", "3", "--port", pty_relay.port).stdout.splitlines()
    assert lines[0] == "max_links = 6"
    assert lines[1] == "It takes effect at the relay's next start."
    assert "in 3 min 0 s it reverts by itself, unless `bitrelay config confirm` comes first" in lines[2]
    assert "`bitrelay config confirm --restart` restarts the relay now" in lines[3]
    assert relay.trial_min == 3


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["max_links", "10"], "max_links must be a whole number from 1 to 9 (links), not '10'"),
        (["max_links", "many"], "max_links must be a whole number from 1 to 9 (links), not 'many'"),
        (["name", ""], "name must be text of 1 to 29 bytes, not ''"),
        (["max_lynx", "4"], "no setting 'max_lynx'. Did you mean 'max_links'?"),
    ],
)
def test_set_refuses_before_the_relay_hears_of_it(
    relay: SettingsRelay, pty_relay: PtyRelay, args: list[str], says: str
) -> None:
    done = run("config", "set", *args, "--port", pty_relay.port)
    assert done.returncode == ExitCode.BAD_DATA
    assert says in done.stderr
    assert relay.requests == []


@pytest.mark.parametrize(
    "args",
    [
        ["set", "name", "hill", "--for", "5"],
        ["set", "max_links", "5", "--for", "0"],
        ["set", "max_links", "5", "--for", "1441"],
        ["set", "max_links", "5", "--confirm", "--no-restart"],
        ["set", "max_links", "5", "--no-such-option"],
        ["set", "max_links"],
    ],
)
def test_contradictions_are_wrong_usage(relay: SettingsRelay, pty_relay: PtyRelay, args: list[str]) -> None:
    assert run("config", *args, "--port", pty_relay.port).returncode == ExitCode.USAGE
    assert relay.requests == []


def test_a_refusal_of_the_relay_names_key_value_and_demand(relay: SettingsRelay, pty_relay: PtyRelay) -> None:
    relay.answers[messages.SET] = lambda relay, i, values: relay.say(
        messages.ERROR, i, {"code": "refused", "text": "not on this board"}
    )
    done = run("config", "set", "led_pin", "12", "--port", pty_relay.port)
    assert done.returncode == ExitCode.DEVICE_FAILED
    assert "led_pin = 12: the relay refused the request: not on this board" in done.stderr
    assert "led_pin takes a whole number from -1 to 48" in done.stderr


def test_unset_puts_the_default_back(relay: SettingsRelay, pty_relay: PtyRelay) -> None:
    relay.files["settings"] = b'{"watchdog_s": 90, "name": "hill"}'
    assert config(pty_relay.port, "unset", "watchdog_s")["value"] == 30
    assert relay.stored == {"name": "hill"}
    assert "name = bitrelay (the default)" in run("config", "unset", "name", "--port", pty_relay.port).stdout


# restart and confirm


def test_set_with_restart_comes_back_over_the_same_port(relay: SettingsRelay, served: Served) -> None:
    answer = config(served.port, "set", "watchdog_s", "60", "--restart")
    assert (answer["restarted"], answer["restart_needed"]) == (True, False)
    assert relay.in_force == {"watchdog_s": 60}


def test_set_with_confirm_restarts_and_confirms_what_answers(relay: SettingsRelay, served: Served) -> None:
    answer = config(served.port, "set", "max_links", "6", "--confirm")
    assert (answer["restarted"], answer["confirmed"], answer["trial_s"]) == (True, True, None)
    assert kinds(relay) == [messages.SET, messages.REBOOT, messages.CONFIRM]
    assert relay.in_force == relay.stored == {"max_links": 6}
    assert relay.trial_min is None


def test_confirm_of_what_is_never_on_trial_restarts_and_confirms_nothing(
    relay: SettingsRelay, pty_relay: PtyRelay
) -> None:
    relay.in_force = {"log_level": 4}
    answer = config(pty_relay.port, "set", "log_level", "4", "--confirm")
    assert (answer["restarted"], answer["confirmed"]) == (False, False)
    assert messages.CONFIRM not in kinds(relay)


def test_a_relay_that_went_back_is_not_confirmed(relay: SettingsRelay, pty_relay: PtyRelay) -> None:
    relay.on_restart = relay.revert
    done = run("config", "set", "max_links", "6", "--confirm", "--port", pty_relay.port)
    assert done.returncode == ExitCode.CHECK_FAILED
    assert "the relay has gone back to the settings it had before" in done.stderr
    assert messages.CONFIRM not in kinds(relay)


def test_confirm_keeps_what_is_on_trial(relay: SettingsRelay, pty_relay: PtyRelay) -> None:
    run("config", "set", "max_links", "6", "--restart", "--port", pty_relay.port)
    assert relay.trial_min == 10
    done = run("config", "confirm", "--port", pty_relay.port)
    assert done.stdout == "Confirmed: it stays.\n"
    assert relay.trial_min is None
    assert run("config", "confirm", "--port", pty_relay.port).stdout == "No settings are on trial.\n"


def test_what_is_not_in_force_yet_is_not_confirmed_blindly(relay: SettingsRelay, pty_relay: PtyRelay) -> None:
    run("config", "set", "max_links", "6", "--port", pty_relay.port)
    done = run("config", "confirm", "--port", pty_relay.port)
    assert done.returncode == ExitCode.CHECK_FAILED
    assert "not in force yet" in done.stderr
    assert relay.trial_min == 10
    answer = config(pty_relay.port, "confirm", "--restart")
    assert (answer["restarted"], answer["confirmed"]) == (True, True)
    assert relay.in_force == {"max_links": 6}


# export and import


def test_export_and_import_carry_the_settings_over(relay: SettingsRelay, served: Served, tmp_path: Path) -> None:
    stored = {"name": "hügel", "max_links": 6, "watchdog_s": 90}
    relay.files["settings"] = json.dumps(stored).encode()
    file = tmp_path / "hill.toml"
    told = config(served.port, "export", str(file))
    assert told == {"port": served.port, "file": str(file), "settings": stored}
    relay.files["settings"] = b'{"frame_slots": 30}'
    answer = config(served.port, "import", str(file))
    assert answer["changed"] == {
        "name": [None, "hügel"], "max_links": [None, 6], "watchdog_s": [None, 90], "frame_slots": [30, None],
    }  # fmt: skip
    assert relay.stored == stored
    assert answer["trial_s"] == 600


def test_export_to_standard_output_is_the_file(relay: SettingsRelay, pty_relay: PtyRelay, tmp_path: Path) -> None:
    relay.files["settings"] = b'{"max_links": 6}'
    file = tmp_path / "relay.toml"
    run("config", "export", str(file), "--port", pty_relay.port)
    assert run("config", "export", "--port", pty_relay.port).stdout == file.read_text()
    assert run("config", "export", "-", "--port", pty_relay.port).stdout == file.read_text()


def test_import_reads_standard_input(relay: SettingsRelay, pty_relay: PtyRelay) -> None:
    done = run("config", "import", "-", "--port", pty_relay.port, given="max_links = 6\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("max_links: default -> 6\n")
    assert relay.stored == {"max_links": 6}


def test_export_replaces_no_file_unless_told_so(relay: SettingsRelay, pty_relay: PtyRelay, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("mine")
    done = run("config", "export", str(file), "--port", pty_relay.port)
    assert done.returncode == ExitCode.BAD_DATA
    assert file.read_text() == "mine"
    assert relay.requests == []
    assert run("config", "export", str(file), "--force", "--port", pty_relay.port).returncode == 0
    assert file.read_text() != "mine"


def test_export_says_what_it_leaves_out(relay: SettingsRelay, pty_relay: PtyRelay) -> None:
    relay.files["settings"] = b'{"colour": "red", "max_links": 99, "name": "hill"}'
    done = run("config", "export", "--port", pty_relay.port, "--json")
    assert json.loads(done.stdout)["settings"] == {"name": "hill"}
    assert "left out colour: this release does not know it" in done.stderr
    assert "left out max_links = 99: it must be a whole number from 1 to 9" in done.stderr


def test_export_of_a_damaged_file_is_an_error(relay: SettingsRelay, pty_relay: PtyRelay) -> None:
    relay.files["settings"] = b"{"
    done = run("config", "export", "--port", pty_relay.port)
    assert done.returncode == ExitCode.DEVICE_FAILED
    assert "damaged" in done.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("max_links = 5\nmax_lynx = 5\n", ":2: unknown key 'max_lynx'"),
        ("name = 'hill'\nmax_links = 99\n", ":2: max_links must be a whole number from 1 to 9 (links), not 99"),
    ],
)
def test_import_is_all_or_nothing_and_checked_first(
    relay: SettingsRelay, pty_relay: PtyRelay, tmp_path: Path, text: str, says: str
) -> None:
    file = tmp_path / "relay.toml"
    file.write_text(text)
    done = run("config", "import", str(file), "--port", pty_relay.port)
    assert done.returncode == ExitCode.BAD_DATA
    assert f"{file}{says}" in done.stderr
    assert relay.requests == []


def test_import_of_what_is_there_already_writes_nothing(
    relay: SettingsRelay, pty_relay: PtyRelay, tmp_path: Path
) -> None:
    relay.files["settings"] = b'{"max_links":6}'
    relay.start()
    file = tmp_path / "relay.toml"
    file.write_text("max_links = 6\n")
    done = run("config", "import", str(file), "--port", pty_relay.port)
    assert done.stdout == "The relay has these settings already.\n"
    assert not WRITES & set(kinds(relay))


def test_import_with_confirm_goes_the_whole_way(relay: SettingsRelay, pty_relay: PtyRelay, tmp_path: Path) -> None:
    file = tmp_path / "relay.toml"
    file.write_text("max_links = 6\n")
    answer = config(pty_relay.port, "import", str(file), "--for", "2", "--confirm")
    assert (answer["restarted"], answer["confirmed"], answer["trial_s"]) == (True, True, None)
    assert relay.in_force == {"max_links": 6}


def test_ctrl_c_while_the_relay_restarts_is_130(relay: SettingsRelay, pty_relay: PtyRelay) -> None:
    reader, writer = os.pipe()

    def deaf(relay: FakeRelay, request_id: int, values: Values) -> None:
        os.write(writer, b"x")

    def go_down() -> None:
        relay.answers[messages.INFO] = deaf

    relay.on_restart = go_down
    process = start("config", "set", "max_links", "6", "--confirm", "--port", pty_relay.port)
    os.read(reader, 1)
    process.send_signal(signal.SIGINT)
    finish(process)
    assert process.returncode == ExitCode.INTERRUPTED
    assert relay.trial_min == 10
    os.close(reader)
    os.close(writer)
