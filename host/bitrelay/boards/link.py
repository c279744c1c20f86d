"""Merges the modules of a program that are always loaded into one.

A module costs a board memory even if it is empty, an import costs an entry in a dictionary and code, and a name of
another module a search in two dictionaries. So what is loaded together becomes one source, in the order in which Python
would run it, and what one module uses of another one is a global like any other. Modules that are loaded when somebody
needs them stay, and import from the merged one what they imported from its parts.

A name stays what it is unless two modules have it, or a function has a local one where the global is meant. What cannot
be said without the module is an error: the module as a value, names in it set from outside, `import *`, and an import
behind other code.
"""

import ast
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bitrelay.errors import BadData

from .program_modules import Module, Modules
from .source_edits import Edit, apply, place, rename
from .symbols import Mention, Symbol, Symbols

# They see the names of a module at run time, when those are not what they were.
_SEES_NAMES = frozenset(("globals", "locals", "vars", "exec", "eval", "__import__", "__name__", "__file__"))
# MicroPython's compiler knows them by name.
_COMPILER = frozenset(("micropython", "const"))


@dataclass(frozen=True)
class Program:
    """A linked program: sources by dotted name, the merged one under that of `entry`."""

    entry: str
    sources: Mapping[str, str]
    parts: tuple[tuple[int, str], ...]  # the line after which each module begins in the merged source, and its name

    def locate(self, line: int) -> tuple[str, int]:
        """Module and line there of a line of the merged source, as a traceback on a board names it, from 1."""
        after, module = self.parts[max(0, bisect_right([after for after, _ in self.parts], line - 1) - 1)]
        return module, line - after


def link(sources: Mapping[str, str], entry: str, roots: tuple[str, ...] = ()) -> Program:
    """Link the program that begins with the module `entry`.

    sources: by dotted name; a package has that of its __init__. roots: other modules that somebody imports. Those that
    nobody imports are left out. Raises BadData, with file and line, for what cannot be linked.
    """
    modules = Modules(sources)
    linked = modules.together(entry)
    return _Linker(modules, entry, linked).program(modules.apart(list(roots), linked))


class _Linker:
    def __init__(self, modules: Modules, entry: str, linked: Sequence[str]) -> None:
        self._entry = entry
        self._modules = modules
        self._linked = [modules[name] for name in linked]
        self._symbols = Symbols(modules, linked)
        self._names: dict[Symbol, str] = {}
        self._built_in: set[str] = set()
        self._imported: set[Symbol] = set()

    def program(self, apart: Sequence[str]) -> Program:
        mentions = {module.name: list(self._symbols.mentions(module)) for module in self._linked}
        self._choose_names(mentions)
        merged: list[str] = []
        parts = []
        for module in self._linked:
            parts.append((len(merged), module.name))
            edits = [*_renames(module, mentions[module.name], self._names), *self._import_edits(module)]
            merged += apply(module.source, edits).splitlines()
        source = "\n".join(merged) + "\n"
        self._check(source)
        sources = {name: self._apart_source(self._modules[name]) for name in apart}
        return Program(self._entry, sources | {self._entry: source}, tuple(parts))

    # --- the names ---

    def _choose_names(self, mentions: Mapping[str, Sequence[Mention]]) -> None:
        words: set[str] = set()
        for module in self._linked:
            words |= module.names.words()
            self._built_in |= {use.name for use in module.names.of_module() if use.name not in module.globals}
            for use in module.names.of_module():
                if use.name in _SEES_NAMES and use.name not in module.globals:
                    raise module.problem(use.statement, f"{use.name} sees the names of a module that will be linked")
        by_symbol: dict[Symbol, list[Mention]] = {}
        for module in self._linked:
            self._forget_imports(module)
            for mention in mentions[module.name]:
                by_symbol.setdefault(mention.symbol, []).append(mention)
        taken = set(self._built_in)
        # The entry's names are what others know it by.
        for module in sorted(self._linked, key=lambda module: module.name != self._entry):
            for name, symbol in self._symbols.globals_of(module):
                if symbol in self._names:
                    continue
                places = by_symbol.get(symbol, [])
                chosen = name
                number = 1
                while chosen in taken or not all(_is_global(chosen, mention) for mention in places):
                    tail = module.name.rpartition(".")[2]
                    chosen = f"{tail}_{name.lstrip('_')}{number if number > 1 else ''}"
                    if chosen in words:
                        taken.add(chosen)
                    number += 1
                known = module.name == self._entry and not symbol.is_outside and name[0] != "_"
                if chosen != name and (known or name in _COMPILER):
                    raise BadData(f"{module.name}: {name} would need another name")
                self._names[symbol] = chosen
                taken.add(chosen)

    # Imports within functions bind nothing any more.
    def _forget_imports(self, module: Module) -> None:
        for use in module.names.uses:
            if use.scope is not module.names.module and self._symbols.target(module, use) is not None:
                use.scope.bound.pop(use.name, None)

    # --- the merged source ---

    def _import_edits(self, module: Module) -> Iterator[Edit]:
        for statement, uses in module.import_statements():
            kept: list[str] = []
            for use, alias in uses:
                if self._symbols.target(module, use) is not None:
                    continue
                name = use.name
                if use.home is module.names.module:
                    symbol = self._symbols.global_of(module, name)
                    if symbol.is_outside and symbol in self._imported:
                        continue
                    self._imported.add(symbol)
                    name = self._names[symbol]
                    if "." in alias.name and alias.asname is None and isinstance(statement, ast.Import):
                        raise module.problem(statement, "import it with a name of its own (as)")
                kept.append(_as(alias.name, name))
            yield from _import_edit(statement, [_text(statement, kept)] if kept else [])

    # Every name must be bound, or built in as it was before.
    def _check(self, source: str) -> None:
        merged = Module(self._entry, source)
        unbound = {use.name for use in merged.names.of_module()} - merged.globals.keys()
        if unbound != self._built_in:
            raise BadData(f"{self._entry}: linking went wrong for {', '.join(sorted(unbound ^ self._built_in))}")

    # --- the modules that stay ---

    def _apart_source(self, module: Module) -> str:
        edits: list[Edit] = []
        words = module.names.words()
        for statement, uses in module.import_statements():
            kept: list[str] = []
            moved: list[str] = []
            for use, alias in uses:
                target = self._symbols.target(module, use)
                if target is None:
                    kept.append(_as(alias.name, alias.asname or alias.name))
                    continue
                meaning = self._symbols.resolve(module, statement, target)
                if isinstance(meaning, Symbol):
                    self._symbols.check_import(module, statement, meaning)
                    moved.append(_as(self._names[meaning], use.name))
                    continue
                own: dict[Symbol, str] = {}
                for other in module.names.uses:
                    if other.name == use.name and other.home is use.home and other is not use:
                        mention = self._symbols.attribute(module, other, meaning)
                        self._symbols.check_import(module, other.statement, mention.symbol)
                        if mention.symbol not in own:
                            own[mention.symbol] = _free(mention.symbol.name, use.name, words)
                            moved.append(_as(self._names[mention.symbol], own[mention.symbol]))
                        assert isinstance(mention.node, ast.expr)
                        edits.append(place(mention.node, own[mention.symbol]))
            texts = [f"from {self._entry} import {', '.join(moved)}"] if moved else []
            if kept:
                texts.append(_text(statement, kept))
            edits.extend(_import_edit(statement, texts))
        return apply(module.source, edits)


# A name for what was an attribute of a module, in a module that has these words.
def _free(attribute: str, module: str, words: set[str]) -> str:
    name = attribute
    number = 1
    while name in words:
        name = f"{module}_{attribute}{number if number > 1 else ''}"
        number += 1
    words.add(name)
    return name


def _is_global(name: str, mention: Mention) -> bool:
    return mention.scope.home(name) is mention.scope.root


def _renames(module: Module, mentions: Sequence[Mention], names: Mapping[Symbol, str]) -> Iterator[Edit]:
    lines = module.source.encode().splitlines()
    declared: dict[ast.Global, list[str]] = {}
    for mention in mentions:
        node = mention.node
        name = names[mention.symbol]
        match node:
            case ast.Attribute():
                yield place(node, name)
            case ast.Name(id=old) | ast.FunctionDef(name=old) | ast.AsyncFunctionDef(name=old) | ast.ClassDef(name=old):
                edit = rename(lines, node, old, name) if old != name else None
                if edit is not None:
                    yield edit
                elif old != name:
                    raise module.problem(node, f"it cannot be told where {old} stands")
            case ast.Global():
                declared.setdefault(node, []).append(name)
            case ast.ExceptHandler(name=old) if old != name:
                raise module.problem(node.body[0], f"{old} is a name of another module, too: take another one")
    for statement, kept in declared.items():
        if kept != statement.names:
            yield place(statement, f"global {', '.join(kept)}")


def _as(name: str, own: str) -> str:
    return name if name == own else f"{name} as {own}"


def _text(statement: ast.Import | ast.ImportFrom, names: Sequence[str]) -> str:
    start = f"from {statement.module} " if isinstance(statement, ast.ImportFrom) else ""
    return f"{start}import {', '.join(names)}"


def _import_edit(statement: ast.Import | ast.ImportFrom, texts: Sequence[str]) -> Iterator[Edit]:
    text = "; ".join(texts) or ("pass" if statement.col_offset else "")
    if text != ast.unparse(statement):
        yield place(statement, text)
