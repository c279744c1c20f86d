"""Where MicroPython finds the names of a merged module, which has more of them than code and tables are made for.

A .mpy numbers names in the order of their first use, and a number of 128 and more takes two bytes wherever it is used.
So the first line mentions those that are used most, in a loop over nothing.

A table of globals grows when it is full: almost full, it takes several looks to find a name. So the last lines make it
grow once more than it has to, unless there is room.
"""

import ast
from collections import Counter
from dataclasses import replace

from .link import Program
from .program_modules import Module

# Of 128, the file's name has one, and `_`.
_SHORT = 126
# Of the globals: as many places are to be free.
_ROOM = 4


def arrange_names(program: Program) -> Program:
    """The program with one more line at the beginning of its merged module, and some at its end."""
    module = Module(program.entry, program.sources[program.entry])
    # Local names have no number.
    uses = Counter(use.name for use in module.names.of_module())
    attributes = Counter(node.attr for node in ast.walk(module.tree) if isinstance(node, ast.Attribute))
    words = _by_use(uses + attributes)[:_SHORT]
    first = f"for _ in (): _.{'.'.join(words)}" if words else ""
    spare = [name for name in _by_use(attributes) if name not in uses][: len(module.globals) // _ROOM]
    last = f"{' = '.join(spare)} = 0\ndel {', '.join(spare)}\n" if spare else ""
    sources = {**program.sources, program.entry: f"{first}\n{module.source}{last}"}
    return replace(program, sources=sources, parts=tuple((after + 1, name) for after, name in program.parts))


def _by_use(uses: Counter[str]) -> list[str]:
    return sorted(uses, key=lambda name: (-uses[name], name))
