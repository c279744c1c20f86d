"""The filesystem of a board, made and read on the host."""

import pytest

from bitrelay.boards.filesystem import BLOCK, UnreadableFilesystem, build, read_files, used_runs
from bitrelay.errors import FlashTooSmall

FILES = {"/main.py": b"print(1)\n", "/firmware/app.mpy": bytes(range(256)) * 40, "/settings.json": b"{}"}
SIZE = 512 * BLOCK


def blocks_of(image: bytes, read: list[int] | None = None):
    def read_block(number: int) -> bytes:
        if read is not None:
            read.append(number)
        return image[number * BLOCK : (number + 1) * BLOCK]

    return read_block


def test_what_was_built_reads_back() -> None:
    image = build(FILES, SIZE)
    assert len(image) == SIZE
    assert read_files(blocks_of(image), SIZE) == FILES


def test_reading_asks_only_for_the_blocks_in_use_and_for_each_once() -> None:
    image = build(FILES, SIZE)
    read: list[int] = []
    read_files(blocks_of(image, read), SIZE)
    assert len(read) == len(set(read)) < 16


def test_the_used_runs_make_the_image_again_on_a_flash_that_was_erased() -> None:
    image = build(FILES, SIZE)
    again = bytearray(b"\xff" * SIZE)
    for offset, data in used_runs(image):
        again[offset : offset + len(data)] = data
    assert again == image


def test_the_used_runs_are_a_filesystem_on_a_flash_full_of_something_else() -> None:
    again = bytearray(b"\x55" * SIZE)
    for offset, data in used_runs(build(FILES, SIZE)):
        again[offset : offset + len(data)] = data
    assert read_files(blocks_of(bytes(again)), SIZE) == FILES


@pytest.mark.parametrize("flash", [b"\xff" * SIZE, b"\x00" * SIZE, b"\x55" * SIZE])
def test_a_flash_without_a_filesystem_is_told(flash: bytes) -> None:
    with pytest.raises(UnreadableFilesystem):
        read_files(blocks_of(flash), SIZE)


def test_a_filesystem_of_another_size_is_not_taken() -> None:
    with pytest.raises(UnreadableFilesystem):
        read_files(blocks_of(build(FILES, SIZE // 2) * 2), SIZE)


def test_a_board_that_goes_away_meanwhile_is_told_as_that() -> None:
    def gone(number: int) -> bytes:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        read_files(gone, SIZE)


def test_files_that_do_not_fit_are_told() -> None:
    with pytest.raises(FlashTooSmall, match="no room"):
        build({"/big": bytes(8 * BLOCK)}, 4 * BLOCK)
