"""The modules of a program, and which of them are loaded together."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from bitrelay.errors import BadData

from .scopes import ModuleNames, Use


@dataclass(frozen=True)
class Target:
    """What an import binds a name to: a module of the program, or a name in it."""

    module: str
    name: str | None = None


class Module:
    """A module of the program by its dotted name. Raises BadData if it does not parse."""

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.source = source
        try:
            self.tree = ast.parse(source)
        except SyntaxError as error:
            raise BadData(f"{name} does not compile: {error}") from None
        self.names = ModuleNames(self.tree)

    @cached_property
    def globals(self) -> dict[str, list[Use]]:
        """Where each global of the module is bound, in functions as well."""
        found: dict[str, list[Use]] = {}
        for use in self.names.of_module():
            if use.binds:
                found.setdefault(use.name, []).append(use)
        return found

    @property
    def is_empty(self) -> bool:
        """It has nothing but a docstring, if that."""
        return all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in self.tree.body)

    @property
    def first_code(self) -> int:
        """The line of the first statement that is no import."""
        for node in self.tree.body:
            docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            if not docstring and not isinstance(node, ast.Import | ast.ImportFrom):
                return node.lineno
        return len(self.source)

    def imports(self) -> Iterator[tuple[Use, ast.alias]]:
        """Each name that an import binds, but what only annotations name."""
        used = {use.name for use in self.names.uses if not isinstance(use.node, ast.alias)}
        for use in self.names.uses:
            if isinstance(use.node, ast.alias):
                if use.name in self.names.annotations and use.name not in used:
                    continue
                yield use, use.node

    def import_statements(self) -> Iterator[tuple[ast.Import | ast.ImportFrom, list[tuple[Use, ast.alias]]]]:
        """Every import, with the names of it that are used."""
        found: dict[ast.stmt, list[tuple[Use, ast.alias]]] = {}
        for use, alias in self.imports():
            found.setdefault(use.statement, []).append((use, alias))
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield node, found.get(node, [])

    def problem(self, node: ast.stmt | ast.expr, what: str) -> BadData:
        """An error that names file and line."""
        return BadData(f"{self.name.replace('.', '/')}.py, line {node.lineno}: {what}")


class Modules:
    """All modules by dotted name; a package is the module of its __init__."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self.by_name = {name: Module(name, source) for name, source in sources.items()}
        self._tops = {name.split(".")[0] for name in sources}

    def __getitem__(self, name: str) -> Module:
        return self.by_name[name]

    def target(self, module: Module, use: Use, alias: ast.alias) -> Target | None:
        """What an import of a module binds a name to, None if that is none of the program's. Raises BadData for what
        cannot be linked."""
        statement = use.statement
        if use.scope.is_class:
            raise module.problem(statement, "an import in a class cannot be linked")
        if isinstance(statement, ast.ImportFrom):
            source = statement.module
            if source is None or statement.level or alias.name == "*":
                raise module.problem(statement, "this kind of import cannot be linked")
            if f"{source}.{alias.name}" in self.by_name:
                return Target(f"{source}.{alias.name}")
            if source in self.by_name:
                return Target(source, alias.name)
            ours = source.split(".")[0] in self._tops
        else:
            if alias.asname and alias.name in self.by_name:
                return Target(alias.name)
            ours = alias.name.split(".")[0] in self._tops
        if ours:
            raise module.problem(statement, f"{ast.unparse(statement)}: no such module, or no name for it")
        return None

    def together(self, entry: str) -> list[str]:
        """The modules that are loaded once `entry` is, in the order in which Python runs them. Raises BadData if they
        import one another in a circle."""
        order: list[str] = []
        self._load(entry, [], order)
        return order

    def apart(self, roots: list[str], linked: list[str]) -> list[str]:
        """The modules that are loaded when needed, by those that are loaded together and by `roots`."""
        found: list[str] = []
        waiting = [*roots]
        for name in linked:
            waiting.extend(self._needs(self[name], late=True))
        while waiting:
            name = waiting.pop(0)
            if name in linked or name in found:
                continue
            if name not in self.by_name:
                raise BadData(f"{name}: no such module")
            found.append(name)
            waiting.extend(
                [*self._packages(name), *self._needs(self[name], late=False), *self._needs(self[name], late=True)]
            )
        return sorted(name for name in found if not self[name].is_empty)

    def _load(self, name: str, path: list[str], order: list[str]) -> None:
        if name in path:
            raise BadData(f"modules import one another in a circle: {' -> '.join([*path[path.index(name) :], name])}")
        if name in order:
            return
        module = self[name]
        for package in self._packages(name):
            self._load(package, [*path, name], order)
        for use, alias in module.imports():
            target = self.target(module, use, alias)
            if target is None or use.scope is not module.names.module:
                continue
            if use.statement.lineno > module.first_code and target.module not in order and target.module not in path:
                raise module.problem(use.statement, f"{target.module} would run before what stands above")
            self._load(target.module, [*path, name], order)
        if not self[name].is_empty:
            order.append(name)

    def _packages(self, name: str) -> Iterator[str]:
        parts = name.split(".")
        for size in range(1, len(parts)):
            package = ".".join(parts[:size])
            if package in self.by_name:
                yield package

    # The modules that a module imports when it is loaded, or late: in its functions.
    def _needs(self, module: Module, late: bool) -> Iterator[str]:
        for use, alias in module.imports():
            target = self.target(module, use, alias)
            if target is not None and late != (use.scope is module.names.module):
                yield target.module
