"""A relay's settings and, if wanted, its identity in one file, to put them on the same board again or on another one.

The file is JSON:

    {"bitrelay_backup": 1,                  the format: a release reads its own and older ones
     "made": "2026-11-20T09:30:00Z",
     "relay": {"name", "chip", "unique_id", "version", ...},    what the relay said of itself
     "settings": "eyJ...",                  the bytes of /settings.json in base64
     "identity": {...},                     the bytes of /identity.bin as bitrelay/sealed.py seals them, or null
     "sha256": "..."}                       over all the others, as compact JSON with sorted keys
"""

import base64
import hashlib
import json
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from shared_protocol import console as messages

from .console import Console
from .errors import BadData, DeviceError, TooNew
from .relay_files import IDENTITY, IT_REVERTS, SETTINGS, export_file, import_file, restart
from .settings_file import read_board_file
from .whole_file import write_whole

FORMAT: Final = 1

IDENTITY_MAGIC: Final = b"BRI1"
IDENTITY_BYTES: Final = 72

_FORMAT_KEY = "bitrelay_backup"
_TOLD = ("name", "chip", "unique_id", "version", "micropython", "build")
_MAX_FILE = 1 << 16
_DAMAGED = "Take another copy of it"
_UPDATE = "Update bitrelay"


@dataclass(frozen=True)
class BackupContents:
    """What a backup holds. settings and identity are the raw bytes of the relay's files.

    has_identity: the file has one; `identity` is None all the same if it was read without a passphrase. made: when, in
    UTC; relay: what the relay said of itself, by the names of the console's INFO.
    """

    settings: bytes
    identity: bytes | None = None
    has_identity: bool = False
    made: str = ""
    relay: Mapping[str, str] = field(default_factory=dict)


async def back_up(console: Console, *, identity: bool, timeout_s: float = 5.0) -> BackupContents:
    """Read a relay's settings and, if asked for, its identity. Raises what `export_file` raises.

    DeviceError if the relay has a file that it would not take back.
    """
    settings = await export_file(console, SETTINGS, timeout_s)
    secret = await export_file(console, IDENTITY, timeout_s) if identity else None
    try:
        _check(settings, secret)
    except BadData as error:
        raise DeviceError(
            f"what the relay holds is damaged: {error.what}", device=console.port,
            hint="Any `bitrelay config set` writes its settings anew",
        ) from None  # fmt: skip
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    told = {name: _text(console.info[name]) for name in _TOLD if name in console.info}
    return BackupContents(settings, secret, secret is not None, made, told)


async def restore(console: Console, contents: BackupContents, *, identity: bool, timeout_s: float = 5.0) -> Console:
    """Put a backup on a relay, restart it, and compare byte for byte; a console to the restarted relay.

    identity: also the identity, which `contents` must have. Settings that could cut the link are confirmed once all is
    as in the backup. Raises what the console raises, DeviceError if the relay holds something else than the backup;
    nothing is changed if the relay refuses the settings.
    """
    files = {SETTINGS: contents.settings}
    if identity:
        if contents.identity is None:
            raise ValueError("the backup was read without its identity")
        files[IDENTITY] = contents.identity
    for what, data in files.items():
        await import_file(console, what, data, timeout_s=timeout_s)
    restarted = await restart(console, otherwise=IT_REVERTS)
    try:
        for what, data in files.items():
            if await export_file(restarted, what, timeout_s) != data:
                raise DeviceError(f"the relay's {what} differ from the backup's", device=console.port, hint="Try again")
        await restarted.request(messages.CONFIRM, timeout_s=timeout_s)
    except BaseException:
        await restarted.close()
        raise
    return restarted


def write_backup(path: Path, contents: BackupContents, passphrase: str | None, *, replace: bool = False) -> None:
    """Write a backup as a whole or not at all; with an identity, sealed and readable by its owner alone.

    Raises what `write_whole` raises, ValueError for an identity without a passphrase.
    """
    sealed = None
    if contents.identity is not None:
        from .sealed import seal

        sealed = seal(contents.identity, passphrase or "")
    values = {
        _FORMAT_KEY: FORMAT,
        "made": contents.made,
        "relay": dict(contents.relay),
        "settings": base64.b64encode(contents.settings).decode(),
        "identity": sealed,
    }
    text = json.dumps(values | {"sha256": _digest(values)}, indent=1) + "\n"
    write_whole(path, text.encode(), private=sealed is not None, replace=replace)


def read_backup(path: Path, passphrase: Callable[[], str] | None = None) -> BackupContents:
    """Read and check a backup. passphrase is asked for one if the file has an identity; without it that stays sealed.

    Everything is checked before anything is returned. Raises BadData for a file that is damaged, altered or no backup,
    TooNew if a newer release made it, WrongPassphrase.
    """
    values = _read(path)
    try:
        settings = base64.b64decode(values["settings"], validate=True)
        sealed = values["identity"]
        made, relay = str(values["made"]), {str(name): str(text) for name, text in values["relay"].items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BadData(f"{path}: the backup is damaged", hint=_DAMAGED) from None
    identity = None
    try:
        if sealed is not None:
            from .sealed import check_sealed, unseal

            check_sealed(sealed)
            identity = unseal(sealed, passphrase()) if passphrase else None
        _check(settings, identity)
    except BadData as error:
        error.what = f"{path}: {error.what}"
        raise
    return BackupContents(settings, identity, sealed is not None, made, relay)


def check_identity(data: bytes) -> None:
    """Raise BadData, or TooNew, unless these are the bytes of a relay's identity file."""
    if data[:3] == IDENTITY_MAGIC[:3] and data[3:4].isdigit() and data[:4] > IDENTITY_MAGIC:
        raise TooNew("the identity is of a newer kind than this release knows", hint=_UPDATE)
    whole = len(data) == IDENTITY_BYTES and data.startswith(IDENTITY_MAGIC)
    if not whole or zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "big"):
        raise BadData("the identity is damaged")


def _check(settings: bytes, identity: bytes | None) -> None:
    read_board_file(settings)
    if identity is not None:
        check_identity(identity)


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise BadData(f"{path}: {error.strerror}") from None
    try:
        if len(raw) > _MAX_FILE:
            raise ValueError
        values = json.loads(raw)
        number = values[_FORMAT_KEY]
        if not isinstance(number, int) or number < 1:
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise BadData(f"{path}: not a backup of a relay, or a damaged one", hint=_DAMAGED) from None
    if number > FORMAT:
        raise TooNew(
            f"{path}: a newer release of bitrelay made this backup (format {number}, this release reads {FORMAT})",
            hint=_UPDATE,
        )
    if values.pop("sha256", None) != _digest(values):
        raise BadData(f"{path}: the backup was altered or damaged, its SHA-256 does not fit", hint=_DAMAGED)
    return dict(values)


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _text(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
