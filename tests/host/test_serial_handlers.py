"""esptool and mpremote get our quick client for RFC 2217 without knowing of it."""

import subprocess
import sys

import pytest
import serial

from bitrelay import serial_handlers
from bitrelay.rfc2217 import QuickRfc2217Port


def test_pyserial_finds_our_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serial, "protocol_handler_packages", ["serial.urlhandler"])
    serial_handlers.install()
    serial_handlers.install()
    assert serial.protocol_handler_packages == ["bitrelay.serial_handlers", "serial.urlhandler"]
    port = serial.serial_for_url("rfc2217://127.0.0.1:1", do_not_open=True)
    assert type(port) is QuickRfc2217Port
    assert type(serial.serial_for_url("loop://", do_not_open=True)) is not QuickRfc2217Port


@pytest.mark.parametrize("tool", ["esptool", "mpremote"])
def test_tools_run_as_they_do_on_their_own(tool: str) -> None:
    done = run(tool, "version")
    assert done.returncode == 0
    assert tool in done.stdout


@pytest.mark.parametrize("arguments", [(), ("rm", "-rf")])
def test_nothing_else_is_run(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("usage: python -m bitrelay.serial_handlers esptool|mpremote")


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "bitrelay.serial_handlers", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
