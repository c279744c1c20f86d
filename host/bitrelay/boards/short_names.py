"""Gives what is private in a program names that many share: a board keeps every name it has seen, for good.

Private are globals and attributes that begin with one underscore, and parameters nobody names in a call. Two attributes
share a name if no class has both; a parameter takes one that its function does not mention; a value of the merged
module one that is an attribute somewhere. What is a string as well, or the keyword of a call, stays what it is.
Tracebacks show the new names of functions; Program.locate() tells where they are.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import count

from bitrelay.errors import BadData

from .class_families import families, is_private, set_from_outside
from .link import Program
from .program_modules import Module
from .scopes import Scope
from .source_edits import Edit, apply, place, rename

_Renames = Mapping[str, str]
_Definition = ast.Name | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.arg
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def shorten(program: Program, extra: Iterable[str] = ()) -> Program:
    """The program with short private names, line by line. The modules `extra` have no say in what these are.

    Raises BadData if one of them uses what is private in a way that cannot be followed.
    """
    others = frozenset(extra)
    modules = [Module(name, source) for name, source in sorted(program.sources.items())]
    names = _ShortNames([module for module in modules if module.name not in others], program.entry)
    sources = {}
    for module in modules:
        if module.name in others:
            names.check(module)
        sources[module.name] = apply(module.source, names.edits(module))
        _check_same(module, Module(module.name, sources[module.name]))
    return replace(program, sources=sources)


class _Words:
    """What stands in modules: strings, keywords, attributes, and all of these with names of whatever scope."""

    def __init__(self, modules: Iterable[Module]) -> None:
        self.strings: set[str] = set()
        self.keywords: set[str] = set()
        self.attributes: set[str] = set()
        self.names: set[str] = set()
        for module in modules:
            self.names |= module.names.words()
            for node in ast.walk(module.tree):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    self.strings.add(node.value)
                elif isinstance(node, ast.keyword):
                    self.keywords.add(node.arg or "**")
                elif isinstance(node, ast.Attribute):
                    self.attributes.add(node.attr)
                elif isinstance(node, ast.arg):
                    self.names.add(node.arg)
        self.all = self.strings | self.keywords | self.attributes | self.names


class _ShortNames:
    def __init__(self, modules: list[Module], entry: str) -> None:
        self._entry = entry
        self._words = words = _Words(modules)
        fresh = (name for name in _short() if name not in words.all)
        # More than enough: what is not used costs nothing.
        self._pool = [next(fresh) for _ in range(len(words.all))]
        self._globals = {module.name: self._of_globals(module) for module in modules}
        self._attributes = self._of_attributes(modules)
        public = {name for module in modules for name in _public(module)}
        kept = words.strings | words.keywords | public | (words.attributes - self._attributes.keys())
        self._parameters: dict[str, dict[Scope, dict[str, str]]] = {}
        # What a dictionary passes on may have any name.
        if "**" not in words.keywords:
            self._parameters = {module.name: self._of_parameters(module, kept) for module in modules}

    def edits(self, module: Module) -> Iterator[Edit]:
        """The changes of one module."""
        lines = module.source.encode().splitlines()
        own = self._globals.get(module.name, {})
        local = self._parameters.get(module.name, {})
        for use in module.names.uses:
            home = use.home
            renames: _Renames = local.get(home, {})
            if home is module.names.module:
                renames = own
            elif home.is_class:
                renames = self._attributes
            if use.name in renames and not isinstance(use.node, ast.alias):
                yield _edit(module, lines, use.node, use.name, renames[use.name])
        for scope, renames in local.items():
            for name in renames:
                for use in scope.bound[name]:
                    if isinstance(use.node, ast.arg):
                        yield _edit(module, lines, use.node, name, renames[name])
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute) and node.attr in self._attributes:
                yield _edit(module, lines, node, node.attr, self._attributes[node.attr])
            elif isinstance(node, ast.ImportFrom) and node.module in self._globals:
                theirs = self._globals[node.module]
                if any(alias.name in theirs for alias in node.names):
                    found = ((theirs.get(alias.name, alias.name), alias.asname or alias.name) for alias in node.names)
                    kept = ", ".join(name if name == here else f"{name} as {here}" for name, here in found)
                    yield place(node, f"from {node.module} import {kept}")

    def check(self, module: Module) -> None:
        """Raises BadData if a module that has no say would not mean the same with these names."""
        words = _Words([module])
        parameters = {name for scopes in self._parameters.values() for names in scopes.values() for name in names}
        lost = (words.keywords & (parameters | {"**"})) | (words.strings & self._attributes.keys())
        lost |= words.attributes & set(self._pool)
        for family in families([module]):
            short = [self._attributes.get(name, name) for name in family.names]
            lost |= {name for name in short if short.count(name) > 1}
        if lost:
            raise BadData(f"{module.name}: the program has other names for {', '.join(sorted(lost))}")

    def _of_globals(self, module: Module) -> dict[str, str]:
        words = self._words
        barred = set(words.strings)
        if module.name != self._entry:
            # It may be the attribute of a module that is loaded when needed.
            barred |= words.attributes
        barred |= {
            use.name for use in module.names.of_module() if use.scope.is_class or isinstance(use.node, ast.Global)
        }
        private = iter(self._pool)
        known = iter(
            sorted(word for word in words.attributes - words.names - words.keywords if not word.startswith("_"))
        )
        found: dict[str, str] = {}
        for name, bindings in module.globals.items():
            if (
                name in barred
                or name.startswith("__")
                or not all(isinstance(use.node, _Definition) for use in bindings)
            ):
                continue
            short = None
            if module.name == self._entry and all(isinstance(use.node, ast.Name) for use in bindings):
                # Nobody else names what is linked: a value can have the name of an attribute, which is there anyway.
                short = next(known, None)
            if short is None and is_private(name):
                short = next(private)
            if short is not None:
                found[name] = short
        return found

    def _of_attributes(self, modules: list[Module]) -> dict[str, str]:
        barred = self._words.strings | self._words.keywords
        groups = families(modules)
        for module in modules:
            barred |= set_from_outside(module)
            barred |= {use.name for use in module.names.uses if use.home.is_class and not use.binds}
            if module.name != self._entry:
                barred |= module.globals.keys()
        for family in groups:
            if not family.is_known:
                barred |= family.names
        names = {name for family in groups for name in family.names} - barred
        # Who has most to be told from comes first.
        beside = {
            name: {other for family in groups if name in family.names for other in family.names} for name in names
        }
        chosen: dict[str, str] = {}
        for name in sorted(names, key=lambda name: (-len(beside[name]), name)):
            taken = {chosen[other] for other in beside[name] if other in chosen}
            chosen[name] = next(short for short in self._pool if short not in taken)
        return chosen

    def _of_parameters(self, module: Module, kept: set[str]) -> dict[Scope, dict[str, str]]:
        own = self._globals[module.name]
        within: dict[Scope, set[str]] = {scope: set(scope.bound) for scope in module.names.scopes}
        barred = {name for scope in module.names.scopes for name in scope.outer} | kept | {"self"}
        for use in module.names.uses:
            name = own.get(use.name, use.name) if use.home is module.names.module else use.name
            scope: Scope | None = use.scope
            while scope is not None:
                within[scope].add(name)
                scope = scope.parent
        found: dict[Scope, dict[str, str]] = {}
        for scope in module.names.scopes:
            taken = set(within[scope])
            outer = scope.parent
            while outer is not None:
                taken |= set(found.get(outer, {}).values())
                outer = outer.parent
            for name in _positional(scope.node):
                if name not in barred and all(isinstance(use.node, _Definition) for use in scope.bound[name]):
                    short = next(short for short in self._pool if short not in taken)
                    taken.add(short)
                    found.setdefault(scope, {})[name] = short
        return found


def _short() -> Iterator[str]:
    for number in count():
        name = ""
        while True:
            number, letter = divmod(number, len(_LETTERS))
            name = _LETTERS[letter] + name
            if number == 0:
                break
            number -= 1
        yield f"_{name}"


# Names of classes and modules that stay, whoever else has them.
def _public(module: Module) -> Iterator[str]:
    for use in module.names.uses:
        if use.binds and not is_private(use.name) and (use.home is module.names.module or use.home.is_class):
            yield use.name


# The parameters that a call need not name. With a default, in what is public, they are made to be named.
def _positional(node: ast.AST) -> list[str]:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return []
    names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
    if not isinstance(node, ast.Lambda) and not is_private(node.name) and node.args.defaults:
        names = names[: -len(node.args.defaults)]
    return names


def _edit(module: Module, lines: list[bytes], node: ast.AST, old: str, new: str) -> Edit:
    edit = rename(lines, node, old, new)
    if edit is None:
        raise BadData(f"{module.name}: it cannot be told where {old} stands")
    return edit


# Every name must mean what it did: of the same scope, and the same as all others of it that were the same.
def _check_same(before: Module, after: Module) -> None:
    new_names: dict[tuple[Scope, str], str] = {}
    old_names: dict[tuple[Scope, str], str] = {}
    scopes = dict(zip(before.names.scopes, after.names.scopes, strict=True))
    for old, new in zip(before.names.uses, after.names.uses, strict=True):
        home = old.home
        is_same = scopes[home] is new.home
        is_same &= new_names.setdefault((home, old.name), new.name) == new.name
        is_same &= old_names.setdefault((home, new.name), old.name) == old.name
        is_same &= old.name == new.name or not (home is before.names.module and old.name not in before.globals)
        if not is_same:
            raise BadData(f"{before.name}: {old.name} is not {new.name}")
