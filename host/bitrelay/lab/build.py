"""The interpreter of virtual boards, and the modules that make it look like an ESP32.

It is asked which .mpy it takes, so that native code fits it (MicroPython's documentation, "MicroPython .mpy files").
"""

import functools
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bitrelay.boards.compile import compile_mpy, sources
from bitrelay.errors import BadData, BrokenInstallation

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


def build_shim(dest: Path, interpreter: Interpreter) -> None:
    """Fill `dest` with the compiled modules that make an interpreter look like an ESP32 (see shim/boot.py)."""
    dest.mkdir(parents=True, exist_ok=True)
    for source in sources(_SHIM):
        compiled = compile_mpy(source.read_bytes(), f"{dest.name}/{source.name}", interpreter.arch)
        if compiled is not None:
            (dest / source.relative_to(_SHIM)).with_suffix(".mpy").write_bytes(compiled)


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
