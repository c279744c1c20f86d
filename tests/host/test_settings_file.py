"""The settings file: what is written can be read, what is wrong is told with its line, key and demand."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrelay.errors import BadData, ExitCode
from bitrelay.known_settings import Setting, find_setting, known_settings
from bitrelay.settings_file import load_settings_file, read_board_file, render_settings, to_board_file
from shared_protocol import settings as table


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "relay.toml"
    path.write_text(text)
    return path


def allowed(setting: Setting) -> st.SearchStrategy[int | str]:
    """Every value that a setting takes."""
    if setting.longest is None:
        return st.integers(setting.lowest, setting.highest)
    longest = setting.longest
    return st.text(min_size=1, max_size=longest).filter(lambda text: len(text.encode(errors="replace")) <= longest)


ANY_SETTINGS = st.fixed_dictionaries({}, optional={key: allowed(s) for key, s in known_settings().items()})


@given(values=ANY_SETTINGS)
def test_what_is_rendered_is_read_back(tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text(render_settings(values), encoding="utf-8")
    assert load_settings_file(path) == values


@given(values=ANY_SETTINGS)
def test_the_boards_file_is_what_a_relay_reads(values: dict[str, Any]) -> None:
    data = to_board_file(values)
    assert table.decode_file(data) == values
    assert read_board_file(data) == values


def test_every_key_has_one_line_with_its_meaning_range_and_unit() -> None:
    text = render_settings({"max_links": 6})
    for key, setting in known_settings().items():
        (line,) = [line for line in text.splitlines() if f"{key} = " in line]
        assert line.startswith("# ") is (key != "max_links")
        assert setting.meaning and setting.meaning in line
        assert setting.takes in line


def test_what_is_explicitly_given_is_kept_though_it_is_the_default() -> None:
    default = known_settings()["max_links"].default
    assert json.loads(to_board_file({"max_links": default})) == {"max_links": default}


def test_no_settings_are_a_file_of_none() -> None:
    assert to_board_file({}) == b"{}"
    assert read_board_file(b"") == {}


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("max_links = 4\nmax_lynx = 5\n", 2, "unknown key 'max_lynx'. Did you mean 'max_links'?"),
        ("\nmax_links = 10\n", 2, "max_links must be a whole number from 1 to 9 .*links.*, not 10"),
        ("max_links = '4'\n", 1, "max_links must be a whole number .* not '4'"),
        ("max_links = true\n", 1, "max_links must be a whole number"),
        ("max_links = 4.0\n", 1, "max_links must be a whole number"),
        ("name = 7\n", 1, "name must be text of 1 to 29 bytes, not 7"),
        ("name = ''\n", 1, "name must be text of 1 to 29 bytes"),
        (f"name = '{'ü' * 15}'\n", 1, "name must be text of 1 to 29 bytes"),
        ("name = 'a'\nname = 'b'\n", 2, "Cannot overwrite a value"),
        ("max_links = 4\n\n[relay]\nname = 'a'\n", 3, r"unknown table \[relay\]"),
        ("max_links\n", 1, "."),
    ],
)
def test_mistakes_are_told_with_line_key_and_demand(tmp_path: Path, text: str, line: int, says: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(BadData, match=says) as error:
        load_settings_file(path)
    assert str(error.value).startswith(f"{path}:{line}: ")
    assert error.value.exit_code is ExitCode.BAD_DATA


@pytest.mark.parametrize("data", [b"{", b"[]", b"\xff", b'{"max_links": 10}', b'{"name": 3}', b" " * 4096])
def test_bytes_that_no_relay_would_store(data: bytes) -> None:
    with pytest.raises(BadData):
        read_board_file(data)


def test_the_boards_file_keeps_what_a_newer_firmware_has_set() -> None:
    assert read_board_file(b'{"color": "red", "max_links": 5}') == {"color": "red", "max_links": 5}


# What is known of a setting


def test_every_setting_has_words_and_its_default_is_allowed() -> None:
    assert known_settings().keys() == table.TABLE.keys()
    for key, setting in known_settings().items():
        assert setting.meaning, key
        assert setting.check(setting.default) == setting.default
        assert setting.parse(str(setting.default)) == setting.default


def test_typed_values_are_refused_with_key_value_range_and_unit() -> None:
    with pytest.raises(BadData, match=r"max_links must be a whole number from 1 to 9 \(links\), not '12'"):
        find_setting("max_links").parse("12")
    with pytest.raises(BadData, match=r"watchdog_s must be a whole number from 5 to 3600 \(s\), not 'soon'"):
        find_setting("watchdog_s").parse("soon")


def test_a_key_nobody_knows_is_refused_with_the_one_that_may_be_meant() -> None:
    with pytest.raises(BadData, match="no setting 'max_lynx'. Did you mean 'max_links'"):
        find_setting("max_lynx")
    with pytest.raises(BadData, match="There are: name, max_links"):
        find_setting("zzz")
