"""What a name in one module of a program means, across imports."""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .program_modules import Module, Modules, Target
from .scopes import Scope, Use

_OUTSIDE = "import "


@dataclass(frozen=True)
class Symbol:
    """A global of a module. What all modules import alike from outside of the program is one symbol: "import time"."""

    module: str
    name: str

    @property
    def is_outside(self) -> bool:
        """It is none of the program's."""
        return self.module.startswith(_OUTSIDE)


@dataclass(frozen=True)
class Mention:
    """Where a symbol is meant, by a name, by an attribute of a module, or where it is bound."""

    symbol: Symbol
    scope: Scope
    node: ast.AST


class Symbols:
    """The globals of those modules that are linked to one."""

    def __init__(self, modules: Modules, linked: Sequence[str]) -> None:
        self._modules = modules
        self._linked = frozenset(linked)

    def globals_of(self, module: Module) -> Iterator[tuple[str, Symbol]]:
        """The module's names and what they mean, but for the names of other modules and what these have."""
        for name in module.globals:
            meaning = self._meaning(module.name, name)
            if isinstance(meaning, Symbol) and (meaning.is_outside or meaning.module == module.name):
                yield name, meaning

    def global_of(self, module: Module, name: str) -> Symbol:
        """What a global of the module is that no module of the program is the origin of."""
        meaning = self._meaning(module.name, name)
        assert isinstance(meaning, Symbol)
        return meaning

    def target(self, module: Module, use: Use) -> Target | None:
        """What is linked and an import's name stands for, if it does."""
        if not isinstance(use.node, ast.alias):
            return None
        target = self._modules.target(module, use, use.node)
        return target if target is not None and target.module in self._linked else None

    def mentions(self, module: Module) -> Iterator[Mention]:
        """Every place in a module where a symbol is meant, but imports. Raises BadData for a module used as a value."""
        for use in module.names.uses:
            if isinstance(use.node, ast.alias):
                continue
            meaning = self._meaning_of(module, use)
            if isinstance(meaning, Symbol):
                if meaning.module != module.name:
                    self.check_import(module, use.statement, meaning)
                yield Mention(meaning, use.scope, use.node)
            elif meaning is not None:
                yield self.attribute(module, use, meaning)

    def attribute(self, module: Module, use: Use, target: Target) -> Mention:
        """What is meant by an attribute of a module, of which `use` is the name."""
        node: ast.expr | None = use.node if isinstance(use.node, ast.expr) else None
        meaning: Symbol | Target = target
        while isinstance(meaning, Target):
            attribute = module.names.attribute_of.get(node) if node is not None else None
            if attribute is None:
                raise module.problem(use.statement, f"{use.name} is a module: it cannot be a value here")
            if not isinstance(attribute.ctx, ast.Load):
                raise module.problem(
                    attribute, f"{meaning.module} is another module: {attribute.attr} is its own to set"
                )
            meaning = self.resolve(module, use.statement, Target(meaning.module, attribute.attr))
            node = attribute
        assert node is not None
        return Mention(meaning, use.scope, node)

    def resolve(self, module: Module, statement: ast.stmt, target: Target) -> "Symbol | Target":
        """What an import stands for in the end. Raises BadData if there is no such thing."""
        if target.name is None:
            return target
        whole = f"{target.module}.{target.name}"
        if whole in self._linked:
            return Target(whole)
        meaning = self._meaning(target.module, target.name)
        if meaning is None:
            raise module.problem(statement, f"{target.module} has no {target.name}")
        return meaning

    def check_import(self, module: Module, statement: ast.stmt, symbol: Symbol) -> None:
        """Raises BadData for a name that its own module sets later: an import takes the value of its time."""
        if symbol.is_outside:
            return
        own = self._modules[symbol.module]
        if any(use.scope is not own.names.module for use in own.globals[symbol.name]):
            raise module.problem(statement, f"{symbol.name} is set later in {symbol.module}: use it as its attribute")

    # None: built in, local, or of a module that is not linked.
    def _meaning_of(self, module: Module, use: Use) -> "Symbol | Target | None":
        home = use.home
        if home is module.names.module:
            return self._meaning(module.name, use.name)
        bindings = home.bound[use.name]
        targets = [target for target in (self.target(module, binding) for binding in bindings) if target is not None]
        if not targets:
            if home.is_class and not use.binds:
                self._check_class(module, use, bindings)
            return None
        if len(bindings) > 1 or home.is_class:
            raise module.problem(use.statement, f"{use.name} is imported, and something else as well")
        return self.resolve(module, use.statement, targets[0])

    # In a class, a name that is not bound yet is the module's.
    def _check_class(self, module: Module, use: Use, bindings: Sequence[Use]) -> None:
        first = min(binding.statement.lineno for binding in bindings)
        if use.statement.lineno <= first and use.name in module.globals:
            raise module.problem(use.statement, f"{use.name} is a name of the class and one of the module")

    def _meaning(self, name: str, wanted: str) -> "Symbol | Target | None":
        module = self._modules[name]
        bindings = module.globals.get(wanted)
        if bindings is None:
            return None
        for binding in bindings:
            target = self.target(module, binding)
            if target is not None:
                if len(bindings) > 1 or not binding.certain:
                    raise module.problem(binding.statement, f"{wanted} is imported, and something else as well")
                return self.resolve(module, binding.statement, target)
        only = bindings[0]
        if len(bindings) == 1 and only.certain and isinstance(only.node, ast.alias):
            outside = _outside(only.statement, only.node)
            if outside is not None:
                return outside
        return Symbol(name, wanted)


def _outside(statement: ast.stmt, alias: ast.alias) -> Symbol | None:
    if isinstance(statement, ast.ImportFrom):
        return Symbol(f"{_OUTSIDE}{statement.module}", alias.name)
    if alias.asname is None and "." in alias.name:
        return None
    return Symbol(f"{_OUTSIDE}{alias.name}", "")
