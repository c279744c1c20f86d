"""TOML with lines: the tables that boards' files have. Arrays of tables are tests/lab/test_scenario.py's."""

from pathlib import Path

import pytest

from bitrelay.toml_source import BadValue, Rule, Source, TomlError


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


def test_a_file_can_have_arrays_and_sections(tmp_path: Path) -> None:
    mixed = source(tmp_path, "title = 'x'\n[[mesh]]\nname = 'a'\n[[mesh]]\nname = 'b'\n[dht]\nlan = true\n")
    assert mixed.mistakes(["mesh"], ["dht", "store"]) == []
    assert [table.read({"name": Rule(text)}) for table in mixed.array("mesh")] == [{"name": "a"}, {"name": "b"}]
    assert mixed.section("dht").values == {"lan": True}
    assert mixed.section("store").values == {} and mixed.array("dht") == []
    assert [mistake.line for mistake in mixed.mistakes(["dht"], ["mesh"])] == [2, 6]


def test_all_mistakes_of_a_table_can_be_had_at_once(tmp_path: Path) -> None:
    table = source(tmp_path, "led = 3\nbuton = 'x'\nname = 'y'\n").root()
    values, wrong = table.read_all({"led": Rule(text), "button": Rule(text, required=True), "name": Rule(text)})
    assert values == {"name": "y"}
    assert [(mistake.line, mistake.what.partition(": ")[2]) for mistake in wrong] == [
        (2, "unknown key 'buton'"),
        (1, "'button' is missing"),
        (1, "led must be text, not 3"),
    ]


def test_a_rule_can_say_itself_what_is_wrong(tmp_path: Path) -> None:
    def secret(value: object) -> str:
        raise BadValue("this is a secret", "Put it into a file")

    with pytest.raises(TomlError, match=r"f.toml:2: led in \[pins\]: this is a secret. Put it into a file") as told:
        source(tmp_path, "[pins]\nled = 'sesame'\n").section("pins").read({"led": Rule(secret)})
    assert "sesame" not in str(told.value)


@pytest.mark.parametrize(("content", "line"), [("a = 1\nb = ", 2), ("a = [\n1,\n", 2), ("a = 1\na = 2\n", 2)])
def test_what_is_wrong_at_the_end_has_a_line(tmp_path: Path, content: str, line: int) -> None:
    with pytest.raises(TomlError, match=rf"f.toml:{line}: "):
        source(tmp_path, content)
