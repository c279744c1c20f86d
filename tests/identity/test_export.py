"""An identity on its way to another computer."""

import functools
from pathlib import Path

import pytest

from bitrelay import sealed
from bitrelay.errors import BadData, DamagedIdentity, TooNew, WrongPassphrase
from bitrelay.identity import export
from bitrelay.identity.export import export_identity, import_identity
from bitrelay.identity.local import LocalIdentity
from bitrelay.identity.private_file import encode


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least that the key derivation takes."""
    monkeypatch.setattr(export, "seal", functools.partial(sealed.seal, operations=1, memory_bytes=8192))


def never() -> str:
    raise AssertionError("nobody is asked for a passphrase")


def test_the_passphrase_opens_it_and_nothing_else_does(tmp_path: Path, local: LocalIdentity) -> None:
    file = tmp_path / "me.export"
    export_identity(file, local, "correct horse")
    assert import_identity(file, lambda: "correct horse") == local
    with pytest.raises(WrongPassphrase, match=r"me\.export"):
        import_identity(file, lambda: "wrong")
    raw = file.read_bytes()
    assert local.proof.peer_id.hex().encode() in raw
    for secret in (local.keys.signing_seed, local.keys.noise_secret):
        assert secret.hex().encode() not in raw
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(BadData, match="exists already"):
        export_identity(file, local, "correct horse")


def test_damage_of_any_byte_is_told_before_a_passphrase_is_asked_for(tmp_path: Path, local: LocalIdentity) -> None:
    file = tmp_path / "me.export"
    export_identity(file, local, "x")
    raw = file.read_bytes()
    for at in range(len(raw)):
        file.write_bytes(raw[:at] + bytes((raw[at] ^ 0x20,)) + raw[at + 1 :])
        with pytest.raises(DamagedIdentity, match=r"me\.export"):
            import_identity(file, never)


def test_what_is_no_export(tmp_path: Path) -> None:
    file = tmp_path / "f"
    with pytest.raises(BadData, match="No such file"):
        import_identity(file, never)
    for content in (encode("bitrelay_identity", {}), encode("bitrelay_identity_export", {"identity": {"kdf": 1}})):
        file.write_bytes(content)
        with pytest.raises(BadData):
            import_identity(file, never)
    file.write_bytes(encode("bitrelay_identity_export", {"bitrelay_identity_export": 2}))
    with pytest.raises(TooNew):
        import_identity(file, never)
