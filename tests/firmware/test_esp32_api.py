"""The board's files name no module and nothing in a module that MicroPython for ESP32 lacks.

mypy checks them against micropython-esp32-stubs and the reduced standard library that comes with it, and against
nothing else: no typeshed, no site-packages. What the stubs leave open is the methods of built-in types (those are
CPython's there), `os`, and `vfs`, which has names from the documentation there: the names of both are listed here.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

from bitrelay.tree import firmware_dir, shared_dir

# A call with arguments that the board's function does not take is as wrong as a name it does not have.
COUNTED = {"attr-defined", "call-arg", "import-not-found", "import-untyped", "name-defined", "syntax"}

# os: extmod/modos.c of MicroPython 1.29 with the options of the ESP32. vfs: what micropython-stubs found on boards with
# the published builds of 1.28 and 1.29; they are made without ROMFS, so there is no VfsRom and no rom_ioctl.
NAMES = {
    "os": {
        "VfsFat", "VfsLfs2", "chdir", "dupterm", "dupterm_notify", "getcwd", "ilistdir", "listdir", "mkdir", "mount",
        "remove", "rename", "rmdir", "stat", "statvfs", "sync", "umount", "uname", "unlink", "urandom",
    },
    "vfs": {"VfsFat", "VfsLfs2", "mount", "umount"},
}  # fmt: skip

_REPORT = re.compile(r"^(?P<path>[^:\n]+):(?P<line>\d+): error: (?P<text>.*)  \[(?P<code>[a-z-]+)\]$", re.MULTILINE)


class Stubs:
    """A copy of the stubs alone: where they are installed, everything else is found, too."""

    def __init__(self, folder: Path) -> None:
        self.board = folder / "board"
        self.typeshed = folder / "typeshed"
        self.cache = folder / "cache"
        for name, target in (("micropython-esp32-stubs", self.board), ("micropython-stdlib-stubs", self.typeshed)):
            for file in distribution(name).files or []:
                if file.suffix == ".pyi" or file.name == "VERSIONS":
                    (target / file).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(str(file.locate()), target / file)

    def check(self, root: Path, *what: str) -> list[str]:
        """What mypy says about these files or folders of root and concerns names: ["file:line: text", ...]."""
        command = [sys.executable, "-m", "mypy", "--config-file", os.devnull, "--no-site-packages"]
        command += ["--custom-typeshed-dir", str(self.typeshed), "--cache-dir", str(self.cache)]
        command += ["--check-untyped-defs", "--explicit-package-bases", "--no-error-summary", "--hide-error-context"]
        environment = os.environ | {"MYPYPATH": f"{self.board}{os.pathsep}{self.typeshed}"}
        done = subprocess.run([*command, *what], cwd=root, env=environment, capture_output=True, text=True, timeout=110)
        assert done.returncode in (0, 1), done.stdout + done.stderr
        reports = [found for found in _REPORT.finditer(done.stdout) if found["code"] in COUNTED]
        return [f"{r['path']}:{r['line']}: {r['text']}" for r in reports if not Path(r["path"]).is_absolute()]


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Stubs:
    return Stubs(tmp_path_factory.mktemp("stubs"))


def strange_names(source: str) -> list[str]:
    """What a source takes from `os` and `vfs` that the board's do not have."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            names += [(node.module, alias.name) for alias in node.names]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names.append((node.value.id, node.attr))
    return [f"{module}.{name}" for module, name in names if module in NAMES and name not in NAMES[module]]


def test_firmware_and_shared_protocol_fit_the_board(stubs: Stubs) -> None:
    root = firmware_dir().parent
    assert shared_dir().parent == root
    assert stubs.check(root, "firmware", "shared_protocol") == []


def test_os_and_vfs_are_used_as_the_board_has_them() -> None:
    for folder in (firmware_dir(), shared_dir()):
        for path in folder.rglob("*.py"):
            assert strange_names(path.read_text()) == [], path


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("import ffi", '"ffi"'),
        ("import dataclasses", '"dataclasses"'),
        ("import machine\nmachine.no_such", '"no_such"'),
        ("import machine\ndef f():\n    machine.no_such()", '"no_such"'),
        ("import bluetooth\nbluetooth.BLE().gap_nothing()", '"gap_nothing"'),
        ("import bluetooth\nbluetooth.BLE().gap_scan(1, 2, 3, 4, 5)", "Too many arguments"),
        ("from time import perf_counter", '"perf_counter"'),
        ("import time\ntime.monotonic()", '"monotonic"'),
        ("import serial", '"serial"'),
        ("print(nosuch)", '"nosuch"'),
    ],
)
def test_the_check_finds_what_the_board_lacks(stubs: Stubs, tmp_path: Path, source: str, complaint: str) -> None:
    # Each with a name of its own: mypy's cache goes by it.
    file = tmp_path / f"{tmp_path.name}.py"
    file.write_text(source + "\n")
    complaints = stubs.check(tmp_path, file.name)
    assert len(complaints) == 1
    assert complaint in complaints[0]


def test_the_check_lets_through_what_the_board_has(stubs: Stubs, tmp_path: Path) -> None:
    (tmp_path / "right.py").write_text(
        "import asyncio, bluetooth, esp32, gc, machine, micropython, os, select, sys, time\n"
        "from micropython import const\n"
        "machine.WDT(timeout=8000).feed()\n"
        "bluetooth.BLE().gap_scan(0, 30000, 30000, True)\n"
        "esp32.idf_heap_info(esp32.HEAP_DATA)\n"
        "print(gc.mem_free(), machine.unique_id(), time.ticks_ms(), const(3), os.listdir(), sys.implementation)\n"
    )
    assert stubs.check(tmp_path, "right.py") == []


def test_the_check_of_names_finds_what_the_board_lacks() -> None:
    assert strange_names("import os\nos.fork()\nos.rename('a', 'b')\nfrom os import getpid") == ["os.getpid", "os.fork"]
    assert strange_names("import vfs\nvfs.mount(vfs.VfsRom(vfs.rom_ioctl(2)), '/rom')") == [
        "vfs.VfsRom",
        "vfs.rom_ioctl",
    ]
