"""The board files, and what is said about mistakes in one."""

from pathlib import Path

import pytest

from bitrelay.boards.catalog import find_board, load_boards, named_board, read_board
from bitrelay.boards.chips import CHIPS
from bitrelay.errors import BadData, ExitCode, WrongChip
from bitrelay.toml_source import TomlError

GOOD = """\
title = "a board"
chip = "esp32s3"

[micropython]
board = "ESP32_GENERIC_S3"
version = "1.29.0"
url = "https://example.org/ESP32_GENERIC_S3-20260824-v1.29.0.bin"
size = 1_783_296
sha256 = "1dd9dcd27ba2d6a1cb7f7b49a063f46d3d807d68b0151161233920228285e300"
source = "nobody"
flash_offset = 0x0

[flash]
min_size = "8MB"
baud = 460_800

[pins]
led = 2
button = 0
battery = 1
battery_divider = 2

[limits]
links = 4

[serial]
kind = "native-usb"
adapters = []
manual = "hold BOOT"
"""


def write(directory: Path, text: str) -> Path:
    path = directory / "mine.toml"
    path.write_text(text)
    return path


def test_every_chip_has_one_generic_board_and_its_file_is_in_order() -> None:
    boards = load_boards()
    assert sorted(board.chip.name for board in boards if board.generic) == sorted(CHIPS)
    for board in boards:
        assert board.firmware.file_name.startswith(f"{board.firmware.board}-")
        assert board.manual[0].islower() and not board.manual.endswith(".")
        assert "second-hand" in board.file.read_text().lower()


def test_everything_in_a_file_is_read(tmp_path: Path) -> None:
    board = read_board(write(tmp_path, GOOD))
    assert (board.name, board.chip, board.generic) == ("mine", CHIPS["esp32s3"], False)
    assert board.firmware.file_name == "ESP32_GENERIC_S3-20260824-v1.29.0.bin"
    assert (board.firmware.size, board.min_flash, board.baud) == (1_783_296, 8 << 20, 460_800)
    assert (board.led, board.button, board.battery_pin, board.battery_divider) == (2, 0, 1, 2.0)


def test_size_and_pins_may_be_unknown(tmp_path: Path) -> None:
    text = GOOD.replace("size = 1_783_296\n", "").replace("led = 2\n", "")
    board = read_board(write(tmp_path, text.replace("battery = 1\nbattery_divider = 2\n", "")))
    assert (board.firmware.size, board.led, board.battery_pin, board.battery_divider) == (None, None, None, None)


@pytest.mark.parametrize(
    "before, after, line, says",
    [
        ('title = "a board"', 'titel = "a board"', 1, "unknown key 'titel'.*Did you mean 'title'"),
        ('chip = "esp32s3"', 'chip = "esp8266"', 2, "chip must be one of esp32, esp32c3, esp32s3, esp32c6"),
        ('chip = "esp32s3"', "chip = 3", 2, "chip must be one of"),
        ('chip = "esp32s3"', "chip = []", 2, "chip must be one of"),
        ('chip = "esp32s3"', 'chip = "esp32"', 11, "an ESP32 boots from 0x1000"),
        ('version = "1.29.0"', 'version = "latest"', 6, 'three numbers as in "1.29.0"'),
        ('version = "1.29.0"', 'version = "1.28.0"', 7, "not the file of version 1.28.0"),
        ('url = "https:', 'url = "http:', 7, "url must be the https:// address of a .bin file"),
        ("size = 1_783_296", "size = 0", 8, "size must be a whole number from 1 to"),
        ("size = 1_783_296", "size = true", 8, "size must be a whole number"),
        ('sha256 = "1dd9', 'sha256 = "1DD9', 9, "64 hex digits in lower case"),
        ("flash_offset = 0x0\n", "", 4, "'flash_offset' is missing"),
        ('min_size = "8MB"', "min_size = 8", 14, "min_size must be one of 2MB, 4MB"),
        ("baud = 460_800", "baud = 460_801", 15, "baud must be one of 115200"),
        ("led = 2", "led = 99", 18, "led must be a whole number from 0 to 48"),
        ("battery_divider = 2", "battery_divider = 0.5", 21, "from 1 to 100"),
        ("battery_divider = 2\n", "", 20, "battery and battery_divider go together"),
        ("[pins]", "[pin]", 17, r"unknown table \[pin\]"),
        ("links = 4", "links = 12", 24, "links must be a whole number from 1 to 9"),
        ('kind = "native-usb"', 'kind = "usb"', 27, "kind must be one of uart-bridge"),
        ("adapters = []", "adapters = [1]", 28, "a list of names"),
        ('manual = "hold BOOT"', 'manual = ""', 29, "manual must be text"),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path: Path, before: str, after: str, line: int, says: str) -> None:
    assert GOOD.count(before) == 1
    path = write(tmp_path, GOOD.replace(before, after))
    with pytest.raises(TomlError, match=says) as error:
        read_board(path)
    assert str(error.value).startswith(f"{path}:{line}: ")
    assert error.value.exit_code is ExitCode.BAD_DATA


@pytest.mark.parametrize("section", ["micropython", "flash", "limits", "serial"])
def test_a_table_that_is_missing_is_told(tmp_path: Path, section: str) -> None:
    parts = GOOD.split("\n[")
    text = "\n[".join(part for part in parts if not part.startswith(section))
    with pytest.raises(TomlError, match="is missing"):
        read_board(write(tmp_path, text))


def test_the_generic_board_is_taken_unless_another_is_named(tmp_path: Path) -> None:
    assert find_board(CHIPS["esp32c3"]).name == "esp32_generic_c3"
    assert find_board(CHIPS["esp32s3"], "esp32_generic_s3").name == "esp32_generic_s3"
    assert find_board(CHIPS["esp32s3"], str(write(tmp_path, GOOD))).name == "mine"


def test_a_board_of_another_chip_is_refused() -> None:
    with pytest.raises(WrongChip, match="a board with an ESP32, and this one has an ESP32-C3") as error:
        find_board(CHIPS["esp32c3"], "esp32_generic")
    assert "esp32_generic_c3" in str(error.value)


def test_an_unknown_name_is_told_with_the_known_ones() -> None:
    with pytest.raises(BadData, match="esp32_generic_c3"):
        named_board("devkit")
