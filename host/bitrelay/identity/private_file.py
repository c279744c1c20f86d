"""Files with secrets: below a folder of their owner's alone, checked before they are believed.

A file is a line of JSON and a line `sha256 HEX` over the first one with its end, so that no byte of it can change
unnoticed.
"""

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

from bitrelay.errors import BadData, DamagedIdentity, NotPrivate, PortError, TooNew
from bitrelay.whole_file import write_whole

FORMAT = 1

_MAX_FILE = 1 << 14
_SUM = b"sha256 %s\n"
_SUM_BYTES = len(_SUM) - 2 + 64
_OTHERS = stat.S_IRWXG | stat.S_IRWXO

Values = dict[str, Any]


def data_home() -> Path:
    """Where bitrelay keeps what is this computer's own: BITRELAY_HOME, or bitrelay in XDG_DATA_HOME or ~/.local/share.

    Relative values of the XDG variable are ignored, as its specification has it. Raises PortError if there is no home.
    """
    own = os.environ.get("BITRELAY_HOME")
    if own:
        return Path(own).absolute()
    shared = os.environ.get("XDG_DATA_HOME", "")
    if os.path.isabs(shared):
        return Path(shared) / "bitrelay"
    try:
        return Path.home() / ".local" / "share" / "bitrelay"
    except RuntimeError:
        raise PortError("this user has no home directory", hint="Set BITRELAY_HOME to a folder for its files") from None


def write_private(path: Path, kind: str, values: Values, *, replace: bool = False) -> None:
    """Write a file of this kind, as a whole or not at all, readable by its owner alone; its folder is made if need be.

    Raises NotPrivate for a folder that is not its owner's alone, and what `write_whole` raises.
    """
    folder = path.parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise PortError(f"cannot make {folder}: {error.strerror}") from None
    demand_private(folder)
    write_whole(path, encode(kind, values), private=True, replace=replace)


def read_private(path: Path, kind: str) -> Values:
    """What `write_private` wrote. Raises FileNotFoundError, NotPrivate, DamagedIdentity, TooNew, PortError."""
    try:
        demand_private(path.parent)
        # A link could lead to a file of somebody else's; a pipe would let us wait.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            _check_private(path, os.fstat(descriptor), stat.S_IFREG)
            raw = file.read(_MAX_FILE + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise PortError(f"cannot read {path}: {error.strerror}") from None
    return decode(kind, raw, path)


def read_secret(path: Path, most: int) -> bytes:
    """What is in a file of any form, of at most so many bytes. Raises NotPrivate, BadData for more, PortError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            _check_private(path, os.fstat(descriptor), stat.S_IFREG)
            raw = file.read(most + 1)
    except OSError as error:
        raise PortError(f"cannot read {path}: {error.strerror}") from None
    if len(raw) > most:
        raise BadData(f"{path} has more than {most} bytes")
    return raw


def encode(kind: str, values: Values) -> bytes:
    """The bytes of a file."""
    line = json.dumps({kind: FORMAT} | values, separators=(",", ":")).encode() + b"\n"
    return line + _SUM % hashlib.sha256(line).hexdigest().encode()


def decode(kind: str, raw: bytes, path: Path) -> Values:
    """What is in the bytes of a file of this name. Raises DamagedIdentity, TooNew."""
    line = raw[:-_SUM_BYTES]
    if len(raw) > _MAX_FILE or raw[-_SUM_BYTES:] != _SUM % hashlib.sha256(line).hexdigest().encode():
        raise damaged(path)
    try:
        values = json.loads(line)
        form = values[kind]
        if type(form) is not int or form < 1:
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DamagedIdentity(f"{path} is another kind of file") from None
    if form > FORMAT:
        raise TooNew(f"{path} was made by a newer release of bitrelay", hint="Update bitrelay")
    return dict(values)


def damaged(path: Path) -> DamagedIdentity:
    """The error for a file that is not as it was written."""
    return DamagedIdentity(f"{path} is damaged")


def demand_private(folder: Path) -> None:
    """Raise NotPrivate for a folder that is not its owner's alone."""
    _check_private(folder, folder.stat(), stat.S_IFDIR)


def _check_private(path: Path, found: os.stat_result, kind: int) -> None:
    if stat.S_IFMT(found.st_mode) != kind:
        raise NotPrivate(f"{path} is not a {'folder' if kind == stat.S_IFDIR else 'regular file'}")
    if found.st_uid != os.geteuid():
        raise NotPrivate(f"{path} belongs to somebody else", hint="What is secret must be in a place of your own")
    if found.st_mode & _OTHERS:
        mode = "700" if kind == stat.S_IFDIR else "600"
        raise NotPrivate(f"{path} is open to others", hint=f"chmod {mode} {path}")
