"""Changes to a source by exact positions. Every line stays where it is, since tracebacks on a board name lines."""

import ast
import re
from collections.abc import Iterable

# First and last position (line from 1, column in bytes of UTF-8), and what comes in its place.
Edit = tuple[int, int, int, int, str]

_DEFINES = re.compile(rb"(async\s+)?(def|class)\s+")


def place(node: ast.stmt | ast.expr, text: str) -> Edit:
    """`text` in place of a node."""
    assert node.end_lineno is not None and node.end_col_offset is not None
    return node.lineno, node.col_offset, node.end_lineno, node.end_col_offset, text


def rename(lines: list[bytes], node: ast.AST, old: str, new: str) -> Edit | None:
    """Another name in what uses or binds one: a name, an attribute, a parameter, a function, a class.

    lines: of the source. None if it cannot be told where the name stands.
    """
    match node:
        case ast.Name() | ast.arg():
            line, start = node.lineno, node.col_offset
        case ast.Attribute(end_lineno=int(line), end_col_offset=int(end)):
            start = end - len(old.encode())
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            line = node.lineno
            found = _DEFINES.match(lines[line - 1], node.col_offset)
            start = found.end() if found else 0
        case _:
            return None
    end = start + len(old.encode())
    return (line, start, line, end, new) if lines[line - 1][start:end] == old.encode() else None


def apply(source: str, edits: Iterable[Edit]) -> str:
    """The source with these edits, none of which lies within another, in as many lines as before."""
    lines = source.encode().splitlines(keepends=True)
    for first, start, last, end, text in sorted(edits, reverse=True):
        tail = lines[last - 1][end:]
        lines[first - 1] = lines[first - 1][:start] + text.encode() + tail
        for number in range(first, last):
            lines[number] = b"\n"
    return b"".join(lines).decode()
