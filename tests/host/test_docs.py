"""What the documents say about codes, requirements and files is so."""

import re
from pathlib import Path

import pytest

from bitrelay.errors import EXIT_MEANING

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_MARK = re.compile(r"mark\.requirement\(([^)]*)\)")
_LINK = re.compile(r"\]\(([^)#]+)(#[^)]*)?\)")


def table(document: str) -> list[list[str]]:
    """The cells of a document's tables, without headings."""
    rows = [line for line in (ROOT / document).read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def marks() -> dict[str, set[str]]:
    """The test files that are marked with each requirement."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        for arguments in _MARK.findall(path.read_text()):
            for name in re.findall(r'"([^"]+)"', arguments):
                found.setdefault(name, set()).add(str(path.relative_to(ROOT)))
    return found


def test_exit_codes_are_documented() -> None:
    assert table("docs/exit-codes.md")[1:] == [[str(code.value), meaning] for code, meaning in EXIT_MEANING.items()]


def test_each_requirement_has_a_test_and_each_mark_a_row() -> None:
    rows = {row[0]: row for row in table("docs/requirements.md")[1:]}
    marked = marks()
    assert rows.keys() == marked.keys()
    for name, (_, _, modules, tests) in rows.items():
        assert set(re.findall(r"`([^`]+)`", tests)) == marked[name], name
        for module in re.findall(r"`([^`]+)`", modules):
            assert (ROOT / module).exists(), name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for target, _ in _LINK.findall(document.read_text()):
        assert "://" in target or (document.parent / target).exists(), target
