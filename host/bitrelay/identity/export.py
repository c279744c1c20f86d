"""An identity in a file for another computer, sealed with a passphrase."""

from collections.abc import Callable
from pathlib import Path

from bitrelay.errors import BadData
from bitrelay.sealed import check_sealed, seal, unseal
from bitrelay.whole_file import write_whole

from .local import KIND, LocalIdentity, from_values, to_values
from .private_file import decode, encode

_EXPORT_KIND = "bitrelay_identity_export"
_MAX_FILE = 1 << 14


def export_identity(path: Path, local: LocalIdentity, passphrase: str, *, replace: bool = False) -> None:
    """Write an identity that only the passphrase opens. Raises what `write_whole` raises."""
    values = {
        "peer_id": local.proof.peer_id.hex(),
        "on_air_id": local.proof.on_air_id.hex(),
        "identity": seal(encode(KIND, to_values(local)), passphrase),
    }
    write_whole(path, encode(_EXPORT_KIND, values), private=True, replace=replace)


def import_identity(path: Path, passphrase: Callable[[], str]) -> LocalIdentity:
    """What `export_identity` wrote; passphrase is called once the file is known to be whole.

    Raises DamagedIdentity, TooNew, WrongPassphrase, BadData if there is no such file.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise BadData(f"{path}: {error.strerror}") from None
    sealed = decode(_EXPORT_KIND, raw, path).get("identity")
    try:
        check_sealed(sealed)
        inner = unseal(sealed, passphrase())
    except BadData as error:
        error.what = f"{path}: {error.what}"
        raise
    return from_values(decode(KIND, inner, path), path)
