"""The files of a board, kept while it is written."""

import stat
from pathlib import Path

import pytest

from bitrelay.boards.rescue import drop_rescue, load_rescue, rescue_path, save_rescue
from bitrelay.errors import BadData

MAC = "240ac4c0ffee"
FILES = {"/settings.json": b"{}", "/identity.bin": bytes(range(72)), "/empty": b""}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


def test_what_was_kept_comes_back_until_it_is_dropped() -> None:
    assert load_rescue(MAC) is None
    save_rescue(MAC, {"/old": b"o"})
    save_rescue(MAC, FILES)
    assert load_rescue(MAC) == FILES
    assert load_rescue("240ac4c0ffef") is None
    drop_rescue(MAC)
    drop_rescue(MAC)
    assert load_rescue(MAC) is None


def test_nobody_else_can_read_it(state: Path) -> None:
    path = save_rescue(MAC, FILES)
    assert path == state / "bitrelay" / "rescue" / f"{MAC}.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"bitrelay_rescue": 2}',
        b'{"bitrelay_rescue": 1, "mac": "other", "files": {}}',
        b'{"bitrelay_rescue": 1, "mac": "240ac4c0ffee", "files": {"/x": "no base64!"}}',
    ],
)
def test_one_that_nobody_understands_is_not_passed_over(content: bytes) -> None:
    path = rescue_path(MAC)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(BadData, match="cannot be understood.*remove it"):
        load_rescue(MAC)
