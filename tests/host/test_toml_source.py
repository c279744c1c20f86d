"""TOML with lines: the tables that boards' files have. Arrays of tables are tests/lab/test_scenario.py's."""

from pathlib import Path

import pytest

from bitrelay.toml_source import Rule, Source, TomlError


def source(tmp_path: Path, text: str) -> Source:
    path = tmp_path / "f.toml"
    path.write_text(text)
    return Source(path)


def text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("text")
    return value


def test_sections_that_are_not_there_are_empty(tmp_path: Path) -> None:
    sections = source(tmp_path, "[pins]\nled = 'a'\n").sections(("pins", "limits"))
    assert sections["pins"].read({"led": Rule(text)}) == {"led": "a"}
    assert sections["limits"].read({"links": Rule(text)}) == {}


def test_a_mistake_in_a_section_is_told_with_line_and_header(tmp_path: Path) -> None:
    pins = source(tmp_path, "title = 'x'\n\n[pins]\nled = 3\n").sections(("pins",))["pins"]
    with pytest.raises(TomlError, match=r"f.toml:4: led must be text, not 3 in \[pins\]"):
        pins.read({"led": Rule(text)})
    with pytest.raises(TomlError, match=r"f.toml:4: unknown key 'led' in \[pins\]. Did you mean 'leds'"):
        pins.read({"leds": Rule(text)})
    with pytest.raises(TomlError, match=r"f.toml:3: 'button' is missing in \[pins\]"):
        pins.read({"led": Rule(lambda value: value), "button": Rule(text, required=True)})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[pnis]\n", r":1: unknown table \[pnis\]. Known: pins"),
        ("[[pins]]\n", r":1: pins must be written as \[pins\]"),
        ("\npins = 3\n", r":2: pins must be written as \[pins\]"),
    ],
)
def test_other_tables_are_told(tmp_path: Path, content: str, says: str) -> None:
    with pytest.raises(TomlError, match=says):
        source(tmp_path, content).sections(("pins",))


def test_where_no_table_is_known_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(TomlError, match="There are none here"):
        source(tmp_path, "[pins]\n").sections(())
