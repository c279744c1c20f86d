"""`bitrelay backup` and `restore` as somebody at a terminal, or a script, sees them."""

import json
import os
import pty
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bitrelay.backup import read_backup
from bitrelay.errors import ExitCode
from shared_protocol import console as messages
from tests.host.command import DEADLINE_S, ask, run
from tests.host.fake_relay import PtyRelay, SettingsRelay

WORDS = "correct horse"


@pytest.fixture
def relay() -> SettingsRelay:
    relay = SettingsRelay()
    relay.files["settings"] = b'{"max_links": 6, "later": [1]}'
    return relay


@pytest.fixture
def passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITRELAY_PASSPHRASE", WORDS)


def blank(relay: SettingsRelay) -> None:
    """What a relay has that was flashed anew."""
    relay.files |= {"settings": b"", "identity": bytes(72)}
    relay.start()
    relay.starts = 0


def test_a_backup_restores_byte_for_byte(
    relay: SettingsRelay, pty_relay: PtyRelay, tmp_path: Path, passphrase: None
) -> None:
    file = str(tmp_path / "hill.backup")
    before = dict(relay.files)
    saved = ask("backup", file, "--identity", "--port", pty_relay.port)
    assert (saved["file"], saved["identity"], saved["settings_bytes"]) == (file, True, len(before["settings"]))
    assert saved["relay"]["unique_id"] == "010203040506"
    blank(relay)
    restored = ask("restore", file, "--identity", "--port", pty_relay.port)
    assert (restored["restored"], restored["verified"]) == (["settings", "identity"], True)
    assert relay.files == before
    assert (relay.starts, relay.trial_min) == (1, None)


def test_without_identity_neither_command_needs_a_passphrase(
    relay: SettingsRelay, pty_relay: PtyRelay, tmp_path: Path
) -> None:
    file = str(tmp_path / "hill.backup")
    done = run("backup", file, "--port", pty_relay.port)
    assert done.stdout == f"Saved the settings of relay-1 in {file}. With --identity it would have its identity, too.\n"
    settings = relay.files["settings"]
    blank(relay)
    done = run("restore", file, "--port", pty_relay.port)
    assert done.stdout == "Restored the settings to relay-1; compared byte for byte after its restart.\n"
    assert relay.files == {"settings": settings, "identity": bytes(72)}


def test_the_identity_stays_in_the_file_unless_asked_for(
    relay: SettingsRelay, pty_relay: PtyRelay, tmp_path: Path, passphrase: None
) -> None:
    file = tmp_path / "hill.backup"
    run("backup", str(file), "--identity", "--port", pty_relay.port)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    blank(relay)
    done = run("restore", str(file), "--port", pty_relay.port)
    assert "The identity stays in the file; --identity restores it, too." in done.stdout
    assert relay.files["identity"] == bytes(72)


def test_the_passphrase_may_be_in_a_file(relay: SettingsRelay, pty_relay: PtyRelay, tmp_path: Path) -> None:
    words = tmp_path / "words"
    words.write_text(WORDS + "\n")
    file = tmp_path / "hill.backup"
    args = ["--identity", "--passphrase-file", str(words), "--port", pty_relay.port]
    assert run("backup", str(file), *args).returncode == 0
    assert read_backup(file, lambda: WORDS).identity == relay.files["identity"]
    assert run("restore", str(file), *args).returncode == 0


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"x" * 5000])
def test_a_passphrase_file_that_is_no_good(
    relay: SettingsRelay, pty_relay: PtyRelay, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "words").write_bytes(content)
    args = ["--identity", "--passphrase-file", str(tmp_path / "words"), "--port", pty_relay.port]
    done = run("backup", str(tmp_path / "f"), *args)
    assert done.returncode == ExitCode.BAD_DATA
    assert relay.requests == []
    assert not (tmp_path / "f").exists()


def test_with_nobody_to_ask_the_variable_is_named(relay: SettingsRelay, pty_relay: PtyRelay, tmp_path: Path) -> None:
    done = run("backup", str(tmp_path / "f"), "--identity", "--port", pty_relay.port)
    assert done.returncode == ExitCode.BAD_DATA
    assert "BITRELAY_PASSPHRASE" in done.stderr


def test_an_empty_variable_is_no_passphrase(
    pty_relay: PtyRelay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BITRELAY_PASSPHRASE", "")
    done = run("backup", str(tmp_path / "f"), "--identity", "--port", pty_relay.port)
    assert done.returncode == ExitCode.BAD_DATA
    assert "empty" in done.stderr


def typing(typed: list[str], *args: str) -> tuple[int, str]:
    """Run a command on a terminal of its own and type a line at each prompt; exit code, what is on the terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "bitrelay", *args],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    left = list(typed)
    while True:
        try:
            shown += os.read(ours, 1024)
        except OSError:  # EIO: the last end was closed
            break
        if left and shown.endswith(b": "):
            os.write(ours, left.pop(0).encode() + b"\n")
    os.close(ours)
    return process.wait(DEADLINE_S), shown.decode()


def test_somebody_who_types_does_so_twice_and_it_is_not_shown(
    relay: SettingsRelay, pty_relay: PtyRelay, tmp_path: Path
) -> None:
    file = tmp_path / "f"
    code, shown = typing([WORDS, WORDS], "backup", str(file), "--identity", "--port", pty_relay.port)
    assert code == 0, shown
    assert WORDS not in shown
    assert read_backup(file, lambda: WORDS).identity == relay.files["identity"]
    code, shown = typing([WORDS], "restore", str(file), "--identity", "--port", pty_relay.port)
    assert code == 0, shown
    assert "Restored the settings and the identity" in shown


@pytest.mark.parametrize(("typed", "says"), [([WORDS, "other"], "the two passphrases differ"), ([""], "empty")])
def test_what_is_typed_wrongly_writes_nothing(
    relay: SettingsRelay, pty_relay: PtyRelay, tmp_path: Path, typed: list[str], says: str
) -> None:
    code, shown = typing(typed, "backup", str(tmp_path / "f"), "--identity", "--port", pty_relay.port)
    assert code == ExitCode.BAD_DATA
    assert says in shown
    assert not (tmp_path / "f").exists()


# What goes wrong


def failed(args: list[str], code: ExitCode) -> dict[str, Any]:
    done = run(*args, "--json")
    assert done.returncode == code, done.stderr
    failure: dict[str, Any] = json.loads(done.stdout)
    return failure


def test_an_existing_file_is_left_alone(relay: SettingsRelay, pty_relay: PtyRelay, tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("mine")
    failure = failed(["backup", str(file), "--port", pty_relay.port], ExitCode.BAD_DATA)
    assert failure["hint"] == "--force replaces it"
    assert relay.requests == []
    assert run("backup", str(file), "--force", "--port", pty_relay.port).returncode == 0
    assert read_backup(file).settings == relay.files["settings"]


def test_a_wrong_passphrase_is_91_and_the_relay_hears_nothing(
    relay: SettingsRelay, pty_relay: PtyRelay, tmp_path: Path, passphrase: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = str(tmp_path / "f")
    run("backup", file, "--identity", "--port", pty_relay.port)
    relay.requests.clear()
    monkeypatch.setenv("BITRELAY_PASSPHRASE", "wrong horse")
    failed(["restore", file, "--identity", "--port", pty_relay.port], ExitCode.WRONG_PASSPHRASE)
    assert relay.requests == []


def test_a_damaged_or_newer_file_changes_nothing(relay: SettingsRelay, pty_relay: PtyRelay, tmp_path: Path) -> None:
    file = tmp_path / "f"
    run("backup", str(file), "--port", pty_relay.port)
    values = json.loads(file.read_text())
    relay.requests.clear()
    file.write_text(json.dumps(values | {"made": "yesterday"}))
    failed(["restore", str(file), "--port", pty_relay.port], ExitCode.BAD_DATA)
    file.write_text(json.dumps(values | {"bitrelay_backup": 2}))
    failure = failed(["restore", str(file), "--port", pty_relay.port], ExitCode.TOO_NEW)
    assert "newer release" in failure["error"]
    assert relay.requests == []


def test_a_backup_without_identity_cannot_give_one(
    relay: SettingsRelay, pty_relay: PtyRelay, tmp_path: Path, passphrase: None
) -> None:
    file = str(tmp_path / "f")
    run("backup", file, "--port", pty_relay.port)
    relay.requests.clear()
    failure = failed(["restore", file, "--identity", "--port", pty_relay.port], ExitCode.BAD_DATA)
    assert "the backup has no identity" in failure["error"]
    assert relay.requests == []


def test_a_passphrase_without_identity_is_wrong_usage(pty_relay: PtyRelay, tmp_path: Path) -> None:
    for command in ("backup", "restore"):
        done = run(command, str(tmp_path / "f"), "--passphrase-file", "words", "--port", pty_relay.port)
        assert done.returncode == ExitCode.USAGE


@pytest.mark.parametrize(
    ("noise", "code"),
    [(b"", ExitCode.TIMEOUT), (b"invalid header: 0xffffffff\r\n", ExitCode.DEVICE_FAILED)],
    ids=["silent", "boot loop"],
)
def test_a_blank_board_is_told_how_to_get_the_backup(
    relay: SettingsRelay, pty_relay: PtyRelay, tmp_path: Path, noise: bytes, code: ExitCode
) -> None:
    file = tmp_path / "f"
    run("backup", str(file), "--port", pty_relay.port)
    relay.answers[messages.INFO] = lambda relay, i, values: relay.send(noise)
    failure = failed(["restore", str(file), "--port", pty_relay.port, "--timeout", "0.5"], code)
    assert failure["hint"].startswith(f"If the board is blank, run `bitrelay flash --restore {file}`.")


def test_a_relay_that_is_not_as_the_backup_afterwards_is_an_error(
    relay: SettingsRelay, pty_relay: PtyRelay, tmp_path: Path
) -> None:
    file = tmp_path / "f"
    run("backup", str(file), "--port", pty_relay.port)
    blank(relay)
    relay.on_restart = relay.revert
    failure = failed(["restore", str(file), "--port", pty_relay.port], ExitCode.DEVICE_FAILED)
    assert "differ from the backup's" in failure["error"]
