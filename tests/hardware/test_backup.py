"""What was backed up comes back byte for byte, onto a board that was erased."""

from pathlib import Path
from typing import Any

from bench import Bench, asked, bitrelay

from bitrelay.backup import read_backup


def test_backup_then_restore_onto_an_erased_board(relay: dict[str, Any], bench: Bench, tmp_path: Path) -> None:
    port = ("--port", bench.port)
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse battery staple")
    sealed = ("--identity", "--passphrase-file", str(passphrase))
    for key, value in {"name": "Dachboden Süd", "watchdog_s": "60", "log_level": "4"}.items():
        asked("config", "set", key, value, *port)
    asked("backup", str(tmp_path / "first.json"), *sealed, *port)
    asked(*bench.flash_args(), "--erase")
    assert asked("info", *port)["name"] != "Dachboden Süd"
    asked("restore", str(tmp_path / "first.json"), *sealed, *port)
    assert asked("info", *port)["name"] == "Dachboden Süd"
    asked("backup", str(tmp_path / "second.json"), *sealed, *port)
    first, second = (read_backup(tmp_path / name, passphrase.read_text) for name in ("first.json", "second.json"))
    assert second.settings == first.settings and b"watchdog_s" in first.settings
    assert first.identity is not None and second.identity == first.identity
    asked("config", "set", "name", "bench", *port)


def test_a_wrong_passphrase_restores_nothing(relay: dict[str, Any], bench: Bench, tmp_path: Path) -> None:
    port = ("--port", bench.port)
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("one\n")
    wrong.write_text("two\n")
    file = str(tmp_path / "backup.json")
    asked("backup", file, "--identity", "--passphrase-file", str(right), *port)
    asked("config", "set", "name", "after", *port)
    done = bitrelay("restore", file, "--identity", "--passphrase-file", str(wrong), *port)
    assert done.returncode == 91, done.stderr
    assert asked("info", *port)["name"] == "after"
    asked("config", "set", "name", "bench", *port)
