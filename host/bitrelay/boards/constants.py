"""Puts the values of constants where their names are used, across modules, before a board's sources are compiled.

MicroPython folds `const(...)` within a module only. A name that another module uses costs a board memory in both, and a
search in a dictionary at each use. So `NAME = const(value)` at the top of a module goes, and NAME becomes the value
everywhere: in the module, where it was imported from, and as an attribute of an imported module. Lines stay where they
are, since tracebacks on a board name them.
"""

import ast
from collections.abc import Iterator, Mapping

from bitrelay.errors import BadData

from .source_edits import Edit, apply, place


def inline_constants(sources: Mapping[str, str]) -> dict[str, str]:
    """The same sources, by dotted name of the module, without constants. Raises BadData for one that does not parse."""
    trees = {name: _parse(name, source) for name, source in sources.items()}
    constants: dict[str, dict[str, int]] = {}
    for name in sources:
        _constants_of(name, trees, constants)
    return {name: apply(source, _edits(name, trees[name], constants)) for name, source in sources.items()}


def _parse(name: str, source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError as error:
        raise BadData(f"{name} does not compile: {error}") from None


# What a module defines as constants. Those of others may be part of their values.
def _constants_of(name: str, trees: Mapping[str, ast.Module], known: dict[str, dict[str, int]]) -> dict[str, int]:
    if name in known:
        return known[name]
    found = known[name] = {}
    seen: dict[str, int] = {}
    for statement in trees[name].body:
        if isinstance(statement, ast.ImportFrom) and statement.module is not None and statement.module in trees:
            theirs = _constants_of(statement.module, trees, known)
            seen.update(
                {alias.asname or alias.name: theirs[alias.name] for alias in statement.names if alias.name in theirs}
            )
        defined = _definition(statement)
        if defined is not None:
            target, value = defined
            try:
                found[target] = seen[target] = _value(value, seen)
            except (ValueError, KeyError):
                pass  # not a number: it stays as it is
    stored = [
        node.id for node in ast.walk(trees[name]) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    ]
    for target in [target for target in found if stored.count(target) != 1]:
        del found[target]
    return found


# (name, value) of `NAME = const(value)`.
def _definition(statement: ast.stmt) -> tuple[str, ast.expr] | None:
    if (
        isinstance(statement, ast.Assign)
        and len(statement.targets) == 1
        and isinstance(statement.targets[0], ast.Name)
        and isinstance(statement.value, ast.Call)
        and isinstance(statement.value.func, ast.Name)
        and statement.value.func.id == "const"
        and len(statement.value.args) == 1
    ):
        return statement.targets[0].id, statement.value.args[0]
    return None


def _value(expression: ast.expr, known: Mapping[str, int]) -> int:
    match expression:
        case ast.Constant(value=bool()):
            raise ValueError
        case ast.Constant(value=int() as number):
            return number
        case ast.Name(id=name):
            return known[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, known)
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _value(left, known), _value(right, known)
            match op:
                case ast.Add():
                    return a + b
                case ast.Sub():
                    return a - b
                case ast.Mult():
                    return a * b
                case ast.LShift():
                    return a << b
                case ast.RShift():
                    return a >> b
                case ast.BitOr():
                    return a | b
                case ast.BitAnd():
                    return a & b
    raise ValueError


def _edits(name: str, tree: ast.Module, constants: Mapping[str, Mapping[str, int]]) -> Iterator[Edit]:
    own = constants[name]
    values = dict(own)
    modules: dict[str, str] = {}  # by the name they have here
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                if whole in constants:
                    modules[alias.asname or alias.name] = whole
                elif alias.name in constants.get(node.module, {}):
                    values[alias.asname or alias.name] = constants[node.module][alias.name]
    _demand_one_meaning(name, tree, own, {*values, *modules})
    needed: set[str] = set()  # names that are still used once the constants are gone
    skipped: set[ast.AST] = set()
    for statement in tree.body:
        defined = _definition(statement)
        if defined is not None:
            skipped.update(ast.walk(statement))
            if defined[0] in own:
                yield place(statement, "")
            else:
                needed.update(node.id for node in ast.walk(defined[1]) if isinstance(node, ast.Name))
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            skipped.add(node.value)
            value = constants[modules[node.value.id]].get(node.attr)
            if value is None:
                needed.add(node.value.id)
            else:
                yield place(node, _literal(value))
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            if node.id in values:
                yield place(node, _literal(values[node.id]))
            else:
                needed.add(node.id)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from _import_edits(node, values, modules, needed)


# Names are looked for without regard to scopes: one that is put in its place must not be something else anywhere.
def _demand_one_meaning(name: str, tree: ast.Module, own: Mapping[str, int], inlined: set[str]) -> None:
    meanings: dict[str, object] = dict.fromkeys(own, "its own constant")
    for node in ast.walk(tree):
        bound: list[tuple[str, object]] = []
        if isinstance(node, ast.ImportFrom):
            bound = [(alias.asname or alias.name, (node.module, alias.name)) for alias in node.names]
        elif isinstance(node, ast.Import):
            bound = [(alias.asname or alias.name.split(".")[0], alias.name) for alias in node.names]
        elif isinstance(node, ast.arg):
            bound = [(node.arg, node)]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.ExceptHandler) and node.name:
            bound = [(node.name, node)]
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            bound = [(node.id, "its own constant" if node.id in own else node)]
        for target, meaning in bound:
            if target in inlined and meanings.setdefault(target, meaning) != meaning:
                line = getattr(node, "lineno", 0)
                raise BadData(f"{name}, line {line}: {target} is a constant, and something else elsewhere")


# An import without what is not needed any more: constants, modules of which nothing but constants was used, and `const`
# itself, which MicroPython's compiler knows without.
def _import_edits(
    node: ast.ImportFrom, values: Mapping[str, int], modules: Mapping[str, str], needed: set[str]
) -> Iterator[Edit]:
    kept = []
    for alias in node.names:
        here = alias.asname or alias.name
        if here in values or (here in modules or here == "const") and here not in needed:
            continue
        kept.append(f"{alias.name} as {alias.asname}" if alias.asname else alias.name)
    if len(kept) < len(node.names):
        yield place(node, f"from {node.module} import {', '.join(kept)}" if kept else "pass" if node.col_offset else "")


# In parentheses, for a sign before it and an attribute behind it.
def _literal(value: int) -> str:
    return f"({value})"
