"""What was backed up comes back byte for byte, onto a board that was erased."""

from pathlib import Path
from typing import Any

from bench import Bench, asked, bitrelay

from bitrelay.backup import read_backup
from bitrelay.known_settings import Setting, known_settings
from bitrelay.settings_file import render_settings


def test_backup_then_restore_onto_an_erased_board(relay: dict[str, Any], bench: Bench, tmp_path: Path) -> None:
    port = ("--port", bench.port)
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse battery staple")
    sealed = ("--identity", "--passphrase-file", str(passphrase))
    everything = tmp_path / "everything.toml"
    everything.write_text(render_settings({key: _another(setting) for key, setting in known_settings().items()}))
    asked("config", "import", str(everything), *port, "--confirm")
    assert {s["value"] == s["default"] for s in asked("config", "get", *port)["settings"]} == {False}
    asked("backup", str(tmp_path / "first.json"), *sealed, *port)
    asked(*bench.flash_args(), "--erase")
    assert asked("info", *port)["name"] != "Dachboden Süd"
    asked("restore", str(tmp_path / "first.json"), *sealed, *port)
    assert asked("info", *port)["name"] == "Dachboden Süd"
    asked("backup", str(tmp_path / "second.json"), *sealed, *port)
    first, second = (read_backup(tmp_path / name, passphrase.read_text) for name in ("first.json", "second.json"))
    assert second.settings == first.settings and b"watchdog_s" in first.settings
    assert asked("backup", str(tmp_path / "third.json"), *port)["identity"] is False
    assert first.identity is not None and second.identity == first.identity
    asked(*bench.flash_args(), "--erase", "--name", "bench")


def _another(setting: Setting) -> str | int:
    """A value that is not the default."""
    if isinstance(setting.default, str):
        return "Dachboden Süd"
    if setting.key == "led_pin":
        return 2  # an output on every chip that neither flash nor console use
    assert setting.highest is not None
    return setting.default + 1 if setting.default < setting.highest else setting.default - 1


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
