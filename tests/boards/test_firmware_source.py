"""Firmware from a file, the cache and the network: nothing is taken that is not what its board file names."""

import errno
import hashlib
import http.server
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from bitrelay.boards import firmware_source
from bitrelay.boards.catalog import BoardModel, named_board
from bitrelay.boards.firmware_source import FirmwareSource, own_file
from bitrelay.errors import BadData, DiskFull, FirmwareMismatch, NoFirmware

CONTENT = bytes(range(256)) * 1000


@dataclass
class Web:
    """A web server with one file, which counts how often it was asked."""

    url: str
    content: bytes = CONTENT
    status: int = 200
    cut_after: int | None = None
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown.asked.append(self.path)
            self.send_response(shown.status)
            self.send_header("Content-Length", str(len(shown.content)))
            self.end_headers()
            self.wfile.write(shown.content[: shown.cut_after])

        def log_message(self, format: str, *args: object) -> None:
            pass

    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        shown = Web(f"http://127.0.0.1:{server.server_port}/X-20260824-v1.29.0.bin")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield shown
        server.shutdown()
        thread.join()


@pytest.fixture
def board(web: Web) -> BoardModel:
    return pinned(web.url, CONTENT)


def pinned(url: str, content: bytes, size: int | None = len(CONTENT)) -> BoardModel:
    board = named_board("esp32_generic")
    return replace(
        board, firmware=replace(board.firmware, url=url, size=size, sha256=hashlib.sha256(content).hexdigest())
    )


def test_what_was_downloaded_once_comes_from_the_cache_then(web: Web, board: BoardModel, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    source = FirmwareSource(tmp_path / "cache")
    assert source.pinned(board, lambda done, total: told.append((done, total))) == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT)) and len(told) > 1
    assert source.pinned(board) == CONTENT
    assert len(web.asked) == 1
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["X-20260824-v1.29.0.bin"]


def test_the_size_may_be_unknown(web: Web, tmp_path: Path) -> None:
    assert FirmwareSource(tmp_path).pinned(pinned(web.url, CONTENT, None)) == CONTENT


@pytest.mark.parametrize(
    "content, says",
    [
        (CONTENT[:-1] + b"x", "has the SHA-256 [0-9a-f]{16}..., not [0-9a-f]{16}..."),
        (CONTENT[:1000], "has 1,000 bytes, not 256,000"),
        (CONTENT * 2, "has more than 256,000 bytes, not 256,000"),
    ],
)
def test_a_download_that_is_something_else_is_refused_and_not_kept(
    web: Web, board: BoardModel, tmp_path: Path, content: bytes, says: str
) -> None:
    web.content = content
    with pytest.raises(FirmwareMismatch, match=says) as error:
        FirmwareSource(tmp_path).pinned(board)
    assert "esp32_generic.toml names the file" in str(error.value) and "on the word of" in str(error.value)
    assert list(tmp_path.iterdir()) == []
    web.content = CONTENT
    assert FirmwareSource(tmp_path).pinned(board) == CONTENT


def test_a_download_that_breaks_off_is_no_firmware(web: Web, board: BoardModel, tmp_path: Path) -> None:
    web.cut_after = 100_000
    with pytest.raises(NoFirmware, match="broke off after 100,000 of 256,000 bytes"):
        FirmwareSource(tmp_path).pinned(board)


@pytest.mark.parametrize("status, says", [(404, "the server answers 404"), (503, "the server answers 503")])
def test_a_server_that_refuses_is_told(web: Web, board: BoardModel, tmp_path: Path, status: int, says: str) -> None:
    web.status = status
    with pytest.raises(NoFirmware, match=says):
        FirmwareSource(tmp_path).pinned(board)


def test_without_network_and_cache_it_says_what_to_do(tmp_path: Path) -> None:
    board = pinned("http://127.0.0.1:9/X-v1.29.0.bin", CONTENT)
    with pytest.raises(NoFirmware, match="not in the cache and cannot be downloaded: Connection refused") as error:
        FirmwareSource(tmp_path).pinned(board)
    for told in ("--firmware FILE", board.firmware.url, str(tmp_path)):
        assert told in str(error.value)


def test_a_damaged_copy_in_the_cache_is_replaced(web: Web, board: BoardModel, tmp_path: Path) -> None:
    (tmp_path / board.firmware.file_name).write_bytes(b"damaged")
    assert FirmwareSource(tmp_path).pinned(board) == CONTENT
    assert (tmp_path / board.firmware.file_name).read_bytes() == CONTENT


def test_a_damaged_copy_in_the_cache_is_refused_without_network(tmp_path: Path) -> None:
    board = pinned("http://127.0.0.1:9/X-v1.29.0.bin", CONTENT)
    (tmp_path / "X-v1.29.0.bin").write_bytes(CONTENT[:-1])
    with pytest.raises(FirmwareMismatch, match="has 255,999 bytes, not 256,000, and it cannot be downloaded again"):
        FirmwareSource(tmp_path).pinned(board)


def test_a_full_disk_is_told_with_the_way_out(
    web: Web, board: BoardModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull, match="No space left.*XDG_CACHE_HOME"):
        FirmwareSource(tmp_path).pinned(board)
    assert list(tmp_path.iterdir()) == []


def test_stopped_it_ends(web: Web, board: BoardModel, tmp_path: Path) -> None:
    source = FirmwareSource(tmp_path)
    source.stop()
    with pytest.raises(NoFirmware, match="stopped"):
        source.pinned(board)


def test_the_cache_is_where_the_system_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert firmware_source.cache_dir() == Path("/caches/bitrelay/firmware")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert firmware_source.cache_dir() == Path("/home/somebody/.cache/bitrelay/firmware")


def test_a_file_of_the_users_own_is_told_from_the_pinned_one(board: BoardModel, tmp_path: Path) -> None:
    same, other = tmp_path / "any name.bin", tmp_path / "other.bin"
    same.write_bytes(CONTENT)
    other.write_bytes(CONTENT[:-1] + b"x")
    assert own_file(same, board) == (CONTENT, True)
    assert own_file(other, board)[1] is False


def test_a_file_that_bears_the_pinned_ones_name_must_be_it(board: BoardModel, tmp_path: Path) -> None:
    file = tmp_path / board.firmware.file_name
    file.write_bytes(CONTENT[:-1])
    with pytest.raises(FirmwareMismatch, match="give it under another name"):
        own_file(file, board)


def test_a_file_that_cannot_be_read_is_told(board: BoardModel, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.bin"):
        with pytest.raises(BadData, match="cannot read"):
            own_file(path, board)
