"""The file of this computer's identity: private, checked to the last byte, and never replaced unasked."""

import errno
import json
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bitrelay.errors import BadData, DamagedIdentity, NoIdentity, NotPrivate, PortError, TooNew
from bitrelay.identity.challenge import Challenge
from bitrelay.identity.keys import IdentityKeys
from bitrelay.identity.local import (
    KIND,
    LocalIdentity,
    identity_path,
    load_identity,
    save_identity,
    to_values,
    update_identity,
)
from bitrelay.identity.pending import PendingMining, load_pending, pending_path, save_pending
from bitrelay.identity.private_file import decode, encode
from bitrelay.identity.proof import PowIdentity
from tests.identity.conftest import NOW


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_read_as_it_was_written_by_its_owner_alone(path: Path, local: LocalIdentity) -> None:
    assert save_identity(path, local) is None
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)
    assert load_identity(path) == local
    assert os.listdir(path.parent) == [path.name]


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("BITRELAY_HOME", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/ada")
    assert identity_path() == Path("/home/ada/.local/share/bitrelay/identity/own.identity")
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert identity_path() == Path("/home/ada/.local/share/bitrelay/identity/own.identity")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert identity_path() == Path("/data/bitrelay/identity/own.identity")
    monkeypatch.setenv("BITRELAY_HOME", str(tmp_path))
    assert identity_path() == tmp_path / "identity" / "own.identity"


def test_without_a_home_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("BITRELAY_HOME", "XDG_DATA_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)

    def nobody(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", nobody)
    with pytest.raises(PortError) as caught:
        identity_path()
    assert caught.value.hint is not None
    assert "Set BITRELAY_HOME" in caught.value.hint
    monkeypatch.setenv("BITRELAY_HOME", str(tmp_path))
    assert identity_path() == tmp_path / "identity" / "own.identity"


def test_without_one_it_says_how_to_make_one(path: Path) -> None:
    with pytest.raises(NoIdentity, match="bitrelay identity new"):
        load_identity(path)


def damages(raw: bytes) -> list[bytes]:
    """The bytes with each one changed, in one bit, in all, and in the one that makes a letter large or small."""
    changed = [
        raw[:at] + bytes((raw[at] ^ bits,)) + raw[at + 1 :] for at in range(len(raw)) for bits in (1, 0x20, 0xFF)
    ]
    return changed + [raw[:size] for size in range(len(raw))] + [raw + b"\n", raw + raw, b" " + raw, raw * 40]


def test_no_byte_can_change_unnoticed(local: LocalIdentity) -> None:
    raw = encode(KIND, to_values(local))
    for changed in damages(raw):
        with pytest.raises(DamagedIdentity):
            decode(KIND, changed, Path("own.identity"))


def test_damage_of_any_byte_is_told_and_nothing_is_replaced(path: Path, local: LocalIdentity) -> None:
    save_identity(path, local)
    whole = path.read_bytes()
    for at in range(len(whole)):
        raw = whole[:at] + bytes((whole[at] ^ 1 << at % 8,)) + whole[at + 1 :]
        path.write_bytes(raw)
        with pytest.raises(DamagedIdentity) as caught:
            load_identity(path)
        assert str(path) in caught.value.what
        assert caught.value.hint
        assert path.read_bytes() == raw
    with pytest.raises(BadData, match="has an identity"):
        save_identity(path, local)
    assert path.read_bytes() == raw


def test_what_is_replaced_is_kept_beside_it_whatever_its_state(path: Path, local: LocalIdentity) -> None:
    save_identity(path, local)
    first = path.read_bytes()
    for number, damaged in enumerate((first, b"", b"x" * 100), 1):
        path.write_bytes(damaged)
        kept = save_identity(path, local, replace=True)
        assert kept == path.with_name(f"own.identity.old-{number}")
        assert kept.read_bytes() == damaged
        assert mode(kept) == 0o600
        assert load_identity(path) == local
    kept.write_bytes(b"mine")
    assert save_identity(path, local, replace=True) == path.with_name("own.identity.old-4")
    assert kept.read_bytes() == b"mine"


def test_it_is_kept_where_there_are_no_links_as_well(
    path: Path, local: LocalIdentity, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*args: Any, **options: Any) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    save_identity(path, local)
    monkeypatch.setattr(os, "link", link)
    kept = save_identity(path, local, replace=True)
    assert kept == path.with_name("own.identity.old-1")
    assert load_identity(kept) == load_identity(path) == local


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601])
def test_a_file_that_is_open_to_others_is_refused(path: Path, local: LocalIdentity, bits: int) -> None:
    save_identity(path, local)
    path.chmod(bits)
    with pytest.raises(NotPrivate, match=f"chmod 600 {path}"):
        load_identity(path)


@pytest.mark.parametrize("bits", [0o750, 0o705, 0o770, 0o707])
def test_so_is_a_folder(path: Path, local: LocalIdentity, bits: int) -> None:
    save_identity(path, local)
    path.parent.chmod(bits)
    with pytest.raises(NotPrivate, match=f"chmod 700 {path.parent}"):
        load_identity(path)
    with pytest.raises(NotPrivate):
        save_identity(path, local, replace=True)
    assert os.listdir(path.parent) == [path.name]


def test_so_is_what_belongs_to_somebody_else(path: Path, local: LocalIdentity, monkeypatch: pytest.MonkeyPatch) -> None:
    save_identity(path, local)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(NotPrivate, match="somebody else"):
        load_identity(path)


def test_so_is_a_link_and_what_is_no_file(path: Path, local: LocalIdentity) -> None:
    save_identity(path, local)
    elsewhere = path.with_name("elsewhere")
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    with pytest.raises(PortError):
        load_identity(path)
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(NotPrivate, match="not a regular file"):
        load_identity(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v | {"nonce": v["nonce"] + 1},
        lambda v: v | {"peer_id": "00" * 32},
        lambda v: v | {"signature": "00" * 64},
        lambda v: v | {"signature": "00" * 63},
        lambda v: v | {"identity_score": 0.0},
        lambda v: v | {"identity_score": 10**400},
        lambda v: v | {"identity_score": float("nan")},
        lambda v: v | {"identity_score": str(v["identity_score"])},
        lambda v: v | {"nonce": 10**400},
        lambda v: v | {"refresh_count": 10**400},
        lambda v: v | {"expires_at": v["expires_at"] + 1},
        lambda v: v | {"challenge": v["challenge"] | {"difficulty": 7}},
        lambda v: v | {"challenge": []},
        lambda v: v | {"challenge": v["challenge"] | {"timestamp": -1}},
        lambda v: v | {"noise_secret": "00"},
        lambda v: v | {"signing_seed": "zz" * 32},
        lambda v: v | {"signing_seed": 7},
        lambda v: v | {"created_at": True},
        lambda v: {name: value for name, value in v.items() if name != "refresh_count"},
    ],
)
def test_a_file_that_was_written_to_lie_is_refused(
    path: Path, local: LocalIdentity, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    save_identity(path, local)
    path.write_bytes(encode(KIND, change(to_values(local))))
    with pytest.raises(DamagedIdentity):
        load_identity(path)


def test_files_of_other_kinds_and_newer_ones_are_told_apart(path: Path, local: LocalIdentity) -> None:
    save_identity(path, local)
    path.write_bytes(encode("other", to_values(local)))
    with pytest.raises(DamagedIdentity, match="another kind"):
        load_identity(path)
    for marker in (True, 0, -5, 1.0, "1", None):
        path.write_bytes(encode(KIND, to_values(local) | {KIND: marker}))
        with pytest.raises(DamagedIdentity, match="another kind"):
            load_identity(path)
    path.write_bytes(encode(KIND, {KIND: 2}))
    with pytest.raises(TooNew):
        load_identity(path)


def test_an_expired_identity_can_still_be_read(path: Path, local: LocalIdentity) -> None:
    save_identity(path, local)
    assert load_identity(path).proof.expired(NOW + 700_000)


def test_a_refresh_takes_the_place_of_the_same_identity_alone(
    path: Path, local: LocalIdentity, identity: PowIdentity
) -> None:
    save_identity(path, local)
    refreshed = LocalIdentity(local.keys, PowIdentity.made(local.keys, identity.pow_solution, 4))
    update_identity(path, refreshed)
    assert load_identity(path) == refreshed
    assert os.listdir(path.parent) == [path.name]
    other = IdentityKeys(b"o" * 32, b"n" * 32)
    theirs = replace(identity, public_key=other.signing_key, noise_key=other.noise_key)
    with pytest.raises(BadData, match="another identity by now"):
        update_identity(path, LocalIdentity(other, theirs))
    assert load_identity(path) == refreshed
    with pytest.raises(ValueError):
        LocalIdentity(other, identity)


def test_unfinished_work_is_kept_as_well(path: Path, keys: IdentityKeys) -> None:
    unfinished = pending_path(path)
    assert load_pending(unfinished) is None
    pending = PendingMining(keys, Challenge.fresh(20, NOW), (1 << 64) - 256)
    save_pending(unfinished, pending)
    assert mode(unfinished) == 0o600
    assert load_pending(unfinished) == pending
    raw = unfinished.read_bytes()
    for changed in (b"", raw[:-1], raw + b"\n", b"x" + raw[1:]):
        unfinished.write_bytes(changed)
        with pytest.raises(DamagedIdentity, match="remove it"):
            load_pending(unfinished)
    values = json.loads(raw.splitlines()[0])
    for bad in ({"next_nonce": 1 << 64}, {"next_nonce": -1}, {"challenge": 1}, {"noise_secret": ""}):
        unfinished.write_bytes(encode("bitrelay_mining", values | bad))
        with pytest.raises(DamagedIdentity):
            load_pending(unfinished)
