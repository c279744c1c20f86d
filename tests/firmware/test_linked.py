"""The relay's program as a board has it: one module that costs less, the same every time it is built."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

from bitrelay.boards.choices import decide
from bitrelay.boards.compile import ENTRY, board_files, compile_mpy, linked_program, program_sources, write_files
from bitrelay.boards.constants import inline_constants
from bitrelay.lab.build import find_interpreter

BOARD = Path(__file__).parent / "board"
# A pool of names is twice as large as the one before, and the one that ends here is full of those of a relay.
NAMES = 620
SAVED = 5_000
LOADS = """
import gc, json, micropython, bluetooth, machine, asyncio
gc.collect()
before = gc.mem_alloc()
from firmware import app
gc.collect()
print(json.dumps(gc.mem_alloc() - before))
from firmware import bitcraps, identity, session, stored, transfer, trial
micropython.qstr_info()
"""


def loaded(files: dict[str, bytes], folder: Path) -> tuple[int, int]:
    """What loading the relay costs in bytes, and how many names there are with all of its modules."""
    write_files(files, folder)
    environment = os.environ | {"MICROPYPATH": f"{folder}:{BOARD}:.frozen"}
    command = [str(find_interpreter().path), "-X", "heapsize=512k", "-c", LOADS]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    size, names = done.stdout.splitlines()
    return json.loads(size), int(names.split("n_qstr=")[1].split(",")[0])


def test_a_linked_relay_costs_less(tmp_path: Path) -> None:
    arch = find_interpreter().arch
    sources = program_sources()
    there = dict.fromkeys(sources, True) | {"micropython": True}
    apart = inline_constants({name: decide(name, source, there.get) for name, source in sources.items()})
    files = {}
    for name, source in apart.items():
        path = f"{name.replace('.', '/')}{'/__init__' if '.' not in name else ''}"
        files[f"/{path}.mpy"] = compile_mpy(source.encode(), f"{path}.py", arch) or b""
    modules, names_before = loaded(files, tmp_path / "modules")
    linked, names = loaded(board_files(arch), tmp_path / "linked")
    print(f"{modules} bytes as modules, {linked} linked; {names_before} names, {names} linked")
    assert linked <= modules - SAVED
    assert names < NAMES


def test_the_program_is_the_same_every_time() -> None:
    script = "from bitrelay.boards.compile import *; print(board_files('x64', {'test': 'import gc'})['/build.txt'])"
    told = {
        subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1, told


def test_every_line_of_the_merged_source_is_known() -> None:
    program = linked_program("x64")
    sources = program_sources()
    found = 0
    for node in ast.walk(ast.parse(program.sources[ENTRY])):
        if isinstance(node, ast.ClassDef):
            module, line = program.locate(node.lineno)
            assert sources[module].splitlines()[line - 1].strip().startswith("class ")
            found += 1
    assert found > 30


def test_more_modules_do_not_change_the_program() -> None:
    program = board_files("x64")
    more = board_files("x64", {"soak": (BOARD / "soak.py").read_text()})
    assert {path: more[path] for path in program if path != "/build.txt"} == {
        path: content for path, content in program.items() if path != "/build.txt"
    }
