"""Backups: what went in comes out byte for byte, and nothing that was altered, damaged or is too new is used."""

import base64
import json
import os
import stat
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrelay import sealed, whole_file
from bitrelay.backup import FORMAT, BackupContents, _digest, back_up, check_identity, read_backup, restore, write_backup
from bitrelay.console import Console
from bitrelay.errors import BadData, DeviceError, DiskFull, PortError, RequestRefused, TooNew, WrongPassphrase
from shared_protocol import console as messages
from tests.host.fake_relay import PtyRelay, SettingsRelay, Values

SETTINGS = b'{"name": "hill", "max_links": 3}'
IDENTITY = b"BRI1" + bytes(range(64, 128))
IDENTITY += zlib.crc32(IDENTITY).to_bytes(4, "big")
WORDS = "correct horse"


@pytest.fixture(autouse=True)
def cheap_sealing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Argon2id as cheap as it goes: what it costs is one test's business."""
    cheap = {"operations": 1, "memory_bytes": 8192}
    monkeypatch.setattr(sealed.seal, "__kwdefaults__", cheap)


@pytest.fixture
def relay() -> SettingsRelay:
    return SettingsRelay()


def written(tmp_path: Path, identity: bytes | None = IDENTITY) -> Path:
    path = tmp_path / "relay.backup"
    write_backup(path, BackupContents(SETTINGS, identity, made="now", relay={"name": "hill"}), WORDS)
    return path


# The file


@given(settings=st.sampled_from([b"", b"{}", SETTINGS, b'{ "later": [1, 2] }\n']), has_identity=st.booleans())
def test_what_was_written_is_read_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory, settings: bytes, has_identity: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.backup"
    contents = BackupContents(settings, IDENTITY if has_identity else None, has_identity, "now", {"name": "hill"})
    write_backup(path, contents, WORDS, replace=True)
    assert read_backup(path, lambda: WORDS) == contents


def test_without_a_passphrase_the_identity_stays_sealed(tmp_path: Path) -> None:
    contents = read_backup(written(tmp_path))
    assert (contents.settings, contents.identity, contents.has_identity) == (SETTINGS, None, True)


def test_nobody_is_asked_for_the_passphrase_of_a_backup_without_identity(tmp_path: Path) -> None:
    assert read_backup(written(tmp_path, identity=None), lambda: pytest.fail("asked")).identity is None


def test_a_file_shows_nothing_of_the_identity(tmp_path: Path) -> None:
    raw = written(tmp_path).read_bytes()
    for part in (IDENTITY, IDENTITY[4:36], IDENTITY[36:68]):
        for form in (part, base64.b64encode(part)[2:-4], part.hex().encode()):
            assert form not in raw


def test_a_file_with_an_identity_is_its_owners_alone_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[int] = []
    fsync = os.fsync

    def look(descriptor: int) -> None:
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    before = os.umask(0)
    try:
        path = written(tmp_path)
    finally:
        os.umask(before)
    assert modes == [0o600]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("words", ["", "correct horsf", "Correct horse", "correct horse "])
def test_a_wrong_passphrase_is_told_as_such(tmp_path: Path, words: str) -> None:
    path = written(tmp_path)
    with pytest.raises(WrongPassphrase, match=str(path)):
        read_backup(path, lambda: words)


def test_an_identity_is_never_written_without_a_passphrase(tmp_path: Path) -> None:
    path = tmp_path / "relay.backup"
    with pytest.raises(ValueError, match="empty"):
        write_backup(path, BackupContents(SETTINGS, IDENTITY), None)
    assert list(tmp_path.iterdir()) == []


def changed(path: Path, fix: bool, **values: Any) -> None:
    """Change values of a backup, ... takes one out; fix: as somebody would who knows how its SHA-256 is made."""
    contents = {key: value for key, value in (json.loads(path.read_text()) | values).items() if value is not ...}
    if fix:
        contents.pop("sha256", None)
        contents["sha256"] = _digest(contents)
    path.write_text(json.dumps(contents))


@pytest.mark.parametrize(
    "values",
    [
        {"settings": base64.b64encode(b'{"max_links": 4}').decode()},
        {"identity": None},
        {"made": "later"},
        {"relay": {"name": "valley"}},
        {"more": 1},
        {"sha256": "0" * 64},
        {"sha256": ...},
    ],
)
def test_any_change_is_noticed(tmp_path: Path, values: Values) -> None:
    path = written(tmp_path)
    changed(path, fix=False, **values)
    with pytest.raises(BadData, match="altered or damaged"):
        read_backup(path, lambda: WORDS)


def test_a_file_that_ends_early_is_damaged(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 3, 7):
        path.write_bytes(whole[:length])
        with pytest.raises(BadData):
            read_backup(path)


def test_a_byte_that_differs_is_noticed_or_makes_no_difference(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    for at in range(0, len(whole), 3):
        path.write_bytes(whole[:at] + bytes((whole[at] ^ 1,)) + whole[at + 1 :])
        try:
            contents = read_backup(path)
        except BadData:
            continue
        assert (contents.settings, contents.has_identity) == (SETTINGS, True)


@pytest.mark.parametrize(
    "values",
    [
        {"settings": base64.b64encode(b'{"max_links": 99}').decode()},
        {"settings": base64.b64encode(b"{").decode()},
        {"settings": "?"},
        {"settings": ...},
        {"relay": 3},
        {"identity": {}},
        {"identity": {"kdf": "argon2id"}},
        {"bitrelay_backup": 0},
        {"bitrelay_backup": "1"},
        {"bitrelay_backup": ...},
    ],
)
def test_contents_that_make_no_sense_are_not_used(tmp_path: Path, values: Values) -> None:
    path = written(tmp_path)
    changed(path, fix=True, **values)
    with pytest.raises(BadData, match=str(path)):
        read_backup(path, lambda: WORDS)


@pytest.mark.parametrize(
    "costs",
    [{"memory_bytes": 1 << 40}, {"operations": 1 << 30}, {"memory_bytes": 0}, {"memory_bytes": True}, {"salt": ""}],
)
def test_what_opening_costs_is_bounded_before_it_is_paid(tmp_path: Path, costs: Values) -> None:
    path = written(tmp_path)
    identity = json.loads(path.read_text())["identity"]
    changed(path, fix=True, identity=identity | costs)
    with pytest.raises(BadData, match="damaged, or sealed in a way"):
        read_backup(path, lambda: WORDS)


def test_a_newer_format_is_refused_with_words(tmp_path: Path) -> None:
    path = written(tmp_path)
    changed(path, fix=True, bitrelay_backup=FORMAT + 1, settings=["something", "else"])
    with pytest.raises(TooNew, match=f"a newer release of bitrelay made this backup .format {FORMAT + 1}.*Update"):
        read_backup(path)


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"{}", b"\xff\xfe", b"[" * 50_000, b"x" * (1 << 20)])
def test_other_files_are_no_backups(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(BadData, match="not a backup"):
        read_backup(path)


def test_a_file_that_cannot_be_read_is_told_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="No such file"):
        read_backup(tmp_path / "none")
    with pytest.raises(BadData, match="directory"):
        read_backup(tmp_path)


def test_identities_that_are_no_good() -> None:
    check_identity(IDENTITY)
    for data in (b"", IDENTITY[:-1], IDENTITY + b"\0", IDENTITY[:10] + b"\xff" + IDENTITY[11:], bytes(72)):
        with pytest.raises(BadData, match="damaged"):
            check_identity(data)
    with pytest.raises(TooNew):
        check_identity(b"BRI2" + IDENTITY[4:])


# Sealing


def test_sealing_takes_a_passphrase_however_its_letters_are_composed() -> None:
    assert sealed.unseal(sealed.seal(b"secret", "Gr\u00fc\u00dfe"), "Gru\u0308\u00dfe") == b"secret"


def test_sealing_the_same_twice_gives_different_boxes() -> None:
    one, other = sealed.seal(b"secret", WORDS), sealed.seal(b"secret", WORDS)
    assert one["salt"] != other["salt"]
    assert one["box"] != other["box"]


def test_what_it_costs_by_default_is_libsodiums_moderate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    box = sealed.seal(b"secret", WORDS)
    assert (box["operations"], box["memory_bytes"]) == (3, 256 << 20)
    assert sealed.unseal(box, WORDS) == b"secret"


# Writing


def test_a_file_that_exists_is_not_replaced_unless_told_so(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    with pytest.raises(BadData, match="exists already. --force replaces it"):
        whole_file.write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    whole_file.write_whole(path, b"new", replace=True)
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (path.write_bytes(b"theirs"), fsync(descriptor)))
    with pytest.raises(BadData, match="exists already"):
        whole_file.write_whole(path, b"ours")
    assert path.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_system_without_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*args: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    whole_file.write_whole(tmp_path / "f", b"new")
    assert (tmp_path / "f").read_bytes() == b"new"
    with pytest.raises(BadData):
        whole_file.write_whole(tmp_path / "f", b"newer")


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull, match="No space left"):
        whole_file.write_whole(path, b"new", replace=True)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(PortError, match="No such file"):
        whole_file.write_whole(tmp_path / "no" / "f", b"new")


# From and to a relay


async def test_a_backup_has_what_the_relay_has(relay: SettingsRelay, pty_relay: PtyRelay) -> None:
    relay.files["settings"] = SETTINGS
    async with await Console.open(pty_relay.port) as console:
        contents = await back_up(console, identity=True)
        assert (await back_up(console, identity=False)).identity is None
    assert (contents.settings, contents.identity) == (SETTINGS, relay.files["identity"])
    assert contents.relay["name"] == "relay-1"
    assert contents.relay["unique_id"] == "010203040506"
    assert contents.made.endswith("Z")


@pytest.mark.parametrize(("what", "data"), [("settings", b"{"), ("identity", b"BRI1"), ("identity", b"")])
async def test_what_could_not_be_restored_is_not_backed_up(
    relay: SettingsRelay, pty_relay: PtyRelay, what: str, data: bytes
) -> None:
    relay.files[what] = data
    async with await Console.open(pty_relay.port) as console:
        with pytest.raises(DeviceError, match="damaged"):
            await back_up(console, identity=True)


@pytest.mark.parametrize("settings", [b"", b"{}", SETTINGS, b'{"later": 1}'])
@pytest.mark.parametrize("identity", [False, True])
async def test_a_restored_relay_has_the_same_bytes_and_they_stay(
    relay: SettingsRelay, pty_relay: PtyRelay, settings: bytes, identity: bool
) -> None:
    relay.files["settings"] = b'{"max_links": 9}'
    before = relay.files["identity"]
    contents = BackupContents(settings, IDENTITY, has_identity=True)
    async with await restore(await Console.open(pty_relay.port), contents, identity=identity) as console:
        assert console.info["uptime_s"] == 0
    assert relay.files["settings"] == settings
    assert relay.files["identity"] == (IDENTITY if identity else before)
    assert relay.trial_min is None
    assert relay.starts == 1


async def test_settings_that_the_relay_refuses_change_nothing(relay: SettingsRelay, pty_relay: PtyRelay) -> None:
    before = dict(relay.files)
    contents = BackupContents(b'{"max_links": 99}', IDENTITY, has_identity=True)
    async with await Console.open(pty_relay.port) as console:
        with pytest.raises(RequestRefused):
            await restore(console, contents, identity=True)
    assert relay.files == before
    assert relay.starts == 0


async def test_a_relay_that_went_back_by_itself_is_not_restored(relay: SettingsRelay, pty_relay: PtyRelay) -> None:
    relay.on_restart = relay.revert
    with pytest.raises(DeviceError, match="the relay's settings differ from the backup's"):
        await restore(await Console.open(pty_relay.port), BackupContents(SETTINGS), identity=False)
    assert all(kind != messages.CONFIRM for kind, _, _ in relay.requests)
