"""Leaves out the functions of shared modules that nothing on a board calls: those that only the host needs."""

import ast
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from .source_edits import Edit, apply

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def without_unused(sources: Mapping[str, str], starts: Iterable[str], extra: Iterable[str] = ()) -> dict[str, str]:
    """The same sources, by dotted name, without functions at the top of a module whose name stands nowhere else.

    A name counts wherever it stands: as a name, an attribute, an import or a string. What is in the modules `starts` is
    called from outside and stays. The modules `extra` stay as they are and have no say.
    """
    others = frozenset(extra)
    kept = others.union(starts)
    left = dict(sources)
    while True:
        trees = {name: ast.parse(source) for name, source in left.items()}
        mentions = Counter(word for name, tree in trees.items() if name not in others for word in _words(tree))
        edits = {
            name: [_without(statement) for statement in tree.body if _is_unused(statement, mentions)]
            for name, tree in trees.items()
            if name not in kept
        }
        if not any(edits.values()):
            return left
        left |= {name: apply(left[name], changes) for name, changes in edits.items() if changes}


def _is_unused(statement: ast.stmt, mentions: Mapping[str, int]) -> bool:
    if not isinstance(statement, _Function):
        return False
    own = sum(word == statement.name for word in _words(statement))
    return mentions[statement.name] == own


def _words(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=word) | ast.Attribute(attr=word) | ast.alias(name=word) | ast.keyword(arg=str(word)):
                yield word
            case ast.Constant(value=str(word)):
                yield word


def _without(statement: ast.stmt) -> Edit:
    assert isinstance(statement, _Function)
    first = min([statement.lineno, *(decorator.lineno for decorator in statement.decorator_list)])
    assert statement.end_lineno is not None and statement.end_col_offset is not None
    return first, 0, statement.end_lineno, statement.end_col_offset, ""
