"""Which names of a module are its globals, and where they stand: the scoping rules of Python, without annotations.

MicroPython drops annotations but those of machine code (a function with decorators), so they use no name.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
_WORD = re.compile(r"[^\W\d]\w*")


@dataclass(eq=False)
class Scope:
    """Where names are bound: a module, a class, or a function, which a lambda and a comprehension are, too."""

    parent: "Scope | None"
    node: ast.AST
    bound: "dict[str, list[Use]]" = field(default_factory=dict)
    declared: set[str] = field(default_factory=set)  # `global`
    outer: set[str] = field(default_factory=set)  # `nonlocal`

    def home(self, name: str) -> "Scope":
        """The scope whose name it is, if it is used in this one. A name nobody binds is the module's."""
        scope = self
        while scope.parent is not None:
            if scope is self or not scope.is_class:
                if name in scope.declared:
                    break
                if name in scope.bound and name not in scope.outer:
                    return scope
            scope = scope.parent
        return self.root

    @property
    def is_class(self) -> bool:
        """Functions within do not see its names."""
        return isinstance(self.node, ast.ClassDef)

    @property
    def root(self) -> "Scope":
        """The module."""
        scope = self
        while scope.parent is not None:
            scope = scope.parent
        return scope


@dataclass(eq=False, frozen=True)
class Use:
    """A name in a scope. node is an ast.Name, or what binds the name: a def, a class, an import's alias, ..."""

    name: str
    node: ast.AST
    scope: Scope
    statement: ast.stmt
    binds: bool = False
    certain: bool = True  # the statement stands by itself in the module's body

    @property
    def home(self) -> Scope:
        """The scope whose name it is."""
        return self.scope.home(self.name)


class ModuleNames(ast.NodeVisitor):
    """Every use of a name in a module, in `uses`, and the names in its annotations."""

    def __init__(self, tree: ast.Module) -> None:
        self.module = self._scope = Scope(None, tree)
        self.scopes = [self.module]  # outer ones first
        self.uses: list[Use] = []
        self.annotations: set[str] = set()
        # By an attribute's value.
        self.attribute_of: dict[ast.expr, ast.Attribute] = {}
        self._top = True
        for statement in tree.body:
            self._statement: ast.stmt = statement
            self.visit(statement)

    def of_module(self) -> Iterator[Use]:
        """The uses of names that are the module's, or built in."""
        return (use for use in self.uses if use.home is self.module)

    def words(self) -> set[str]:
        """Every name in the module, of whatever scope."""
        return {use.name for use in self.uses}

    def visit(self, node: ast.AST) -> None:
        """Note what a node uses."""
        if isinstance(node, ast.stmt):
            before, self._statement = self._statement, node
            super().visit(node)
            self._statement = before
        else:
            super().visit(node)

    def generic_visit(self, node: ast.AST) -> None:
        """Statements within a statement do not stand in the module's body."""
        top, self._top = self._top, False
        super().generic_visit(node)
        self._top = top

    def visit_Name(self, node: ast.Name) -> None:
        self._use(node.id, node, not isinstance(node.ctx, ast.Load))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.attribute_of[node.value] = node
        self.generic_visit(node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        scope = inner = self._scope
        while isinstance(scope.node, _Comprehension) and scope.parent is not None:
            scope = scope.parent
        self._scope = scope
        self.visit(node.target)
        self._scope = inner

    def visit_Global(self, node: ast.Global) -> None:
        for name in node.names:
            self._scope.declared.add(name)
            self._use(name, node, False)

    def visit_Nonlocal(self, node: ast.Nonlocal) -> None:
        self._scope.outer.update(node.names)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._use(alias.asname or alias.name.split(".")[0], alias, True)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            self._use(alias.asname or alias.name, alias, True)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name is not None:
            self._use(node.name, node, True)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._annotation(node.annotation)
        self.visit(node.target)
        if node.value is not None:
            self.visit(node.value)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._use(node.name, node, True)
        for outside in (*node.decorator_list, *node.bases, *node.keywords):
            self.visit(outside)
        self._within(self._new(node), node.body)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._use(node.name, node, True)
        for decorator in node.decorator_list:
            self.visit(decorator)
        for annotation in (node.returns, *(argument.annotation for argument in _arguments(node))):
            if annotation is not None and node.decorator_list:
                self.visit(annotation)
            elif annotation is not None:
                self._annotation(annotation)
        self._function(node, node.body)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._function(node, [node.body])

    def visit_ListComp(self, node: _Comprehension) -> None:
        self.visit(node.generators[0].iter)
        scope = self._new(node)
        for number, generator in enumerate(node.generators):
            parts: list[ast.AST] = [generator.target, *generator.ifs]
            self._within(scope, parts if number == 0 else [generator.iter, *parts])
        self._within(scope, [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt])

    visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_ListComp

    def _function(self, node: _Function, body: "list[ast.stmt] | list[ast.expr]") -> None:
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self.visit(default)
        scope = self._new(node)
        for argument in _arguments(node):
            scope.bound.setdefault(argument.arg, []).append(Use(argument.arg, argument, scope, self._statement, True))
        self._within(scope, body)

    def _new(self, node: ast.AST) -> Scope:
        self.scopes.append(Scope(self._scope, node))
        return self.scopes[-1]

    def _within(self, scope: Scope, nodes: "list[ast.stmt] | list[ast.expr] | list[ast.AST]") -> None:
        outer, self._scope = self._scope, scope
        top, self._top = self._top, False
        for node in nodes:
            self.visit(node)
        self._scope, self._top = outer, top

    def _use(self, name: str, node: ast.AST, binds: bool) -> None:
        use = Use(name, node, self._scope, self._statement, binds, self._top)
        self.uses.append(use)
        if binds:
            self._scope.bound.setdefault(name, []).append(use)

    # With those in strings.
    def _annotation(self, annotation: ast.expr) -> None:
        for node in ast.walk(annotation):
            if isinstance(node, ast.Name):
                self.annotations.add(node.id)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                self.annotations.update(_WORD.findall(node.value))


def _arguments(node: _Function) -> list[ast.arg]:
    spread = [argument for argument in (node.args.vararg, node.args.kwarg) if argument is not None]
    return [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, *spread]
