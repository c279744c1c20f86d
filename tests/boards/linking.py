"""Small programs, run as modules, linked, and linked with short names."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from bitrelay.boards.link import Program, link
from bitrelay.boards.name_order import arrange_names
from bitrelay.boards.short_names import shorten

MICROPYTHON = Path(sys.executable).with_name("micropython")


def program_of(sources: Mapping[str, str], extra: tuple[str, ...] = ()) -> Program:
    """Links a program whose entry is p.app."""
    return link(sources, "p.app", extra)


def run(sources: Mapping[str, str], folder: Path, on_board: bool, start: str = "p.app") -> str:
    """What a program prints, on MicroPython or CPython, and how it ends."""
    packages = {name.rpartition(".")[0] for name in sources}
    for name, source in sources.items():
        file = folder / (
            f"{name.replace('.', '/')}/__init__.py" if name in packages else f"{name.replace('.', '/')}.py"
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
    if on_board:
        command = [str(MICROPYTHON), "-c", f"import {start}"]
    else:
        command = [sys.executable, "-S", "-B", "-c", f"import sys; sys.path.insert(0, ''); import {start}"]
    environment = {"MICROPYPATH": f"{folder}:.frozen", "PATH": os.environ["PATH"]}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout + done.stderr


def versions(sources: Mapping[str, str], extra: tuple[str, ...] = ()) -> dict[str, Mapping[str, str]]:
    """The sources as they are, linked, and with short names."""
    linked = program_of(sources, extra)
    return {"modules": sources, "linked": linked.sources, "short": arrange_names(shorten(linked, extra)).sources}
