"""What is decided when a program is built: imports for type checkers go, and so does the way a module does without
another one, if that other one is on the board; else its import goes.
"""

import ast
from collections.abc import Callable, Iterator

from bitrelay.errors import BadData

from .source_edits import Edit, apply, place

_CHECKING = "TYPE_CHECKING"


def decide(name: str, source: str, is_there: Callable[[str], bool | None]) -> str:
    """The source of module `name` without what is decided.

    is_there tells of a module by its dotted name whether it is part of the program, None for what is none of ours.
    Raises BadData if the module does not parse, or leaves a choice of another form than
    `try: from a import x`, `except ImportError: from b import x`.
    """
    return apply(source, _edits(name, _parse(name, source), is_there))


def without_native(name: str, source: str) -> str:
    """The source for a board whose machine code is not known: what is marked as native is bytecode there."""
    return apply(source, (_removed(decorator) for decorator in _native(_parse(name, source))))


def _parse(name: str, source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError as error:
        raise BadData(f"{name} does not compile: {error}") from None


def _native(tree: ast.Module) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            yield from (mark for mark in node.decorator_list if ast.unparse(mark) == "micropython.native")


# With the @ before it.
def _removed(decorator: ast.expr) -> Edit:
    first, start, last, end, _ = place(decorator, "")
    return first, start - 1, last, end, ""


def _edits(name: str, tree: ast.Module, is_there: Callable[[str], bool | None]) -> Iterator[Edit]:
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == _CHECKING:
            if node.orelse:
                raise BadData(f"{name}, line {node.lineno}: what is in the else of TYPE_CHECKING belongs behind it")
            yield place(node, "pass" if node.col_offset else "")
        elif isinstance(node, ast.Assign) and any(_is_checking(target) for target in node.targets):
            yield place(node, "pass" if node.col_offset else "")
        elif isinstance(node, ast.Try):
            wanted = _modules(node.body)
            known = [there for there in map(is_there, wanted) if there is not None]
            if not known or not any(_catches_missing(handler) for handler in node.handlers):
                continue
            chosen = node.body if all(known) else node.handlers[0].body
            plain = all(isinstance(statement, ast.Import | ast.ImportFrom) for statement in (*node.body, *chosen))
            if len(node.handlers) != 1 or node.orelse or node.finalbody or not plain:
                raise BadData(f"{name}, line {node.lineno}: it cannot be decided here which modules are imported")
            yield place(node, "; ".join(ast.unparse(statement) for statement in chosen))


def _is_checking(target: ast.expr) -> bool:
    return isinstance(target, ast.Name) and target.id == _CHECKING


def _catches_missing(handler: ast.ExceptHandler) -> bool:
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(isinstance(error, ast.Name) and error.id in ("ImportError", "Exception") for error in caught)


# Those that statements import, by dotted name; what is imported from a package may be a module.
def _modules(body: list[ast.stmt]) -> Iterator[str]:
    for statement in body:
        if isinstance(statement, ast.ImportFrom) and statement.module is not None:
            yield statement.module
            yield from (f"{statement.module}.{alias.name}" for alias in statement.names)
        elif isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
