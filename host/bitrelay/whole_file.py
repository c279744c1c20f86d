"""Writes files that are there as a whole or not at all, and that nobody else could read in between."""

import errno
import os
import secrets
from pathlib import Path

from .errors import BadData, DiskFull, PortError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_whole(path: Path, data: bytes, *, private: bool = False, replace: bool = False) -> None:
    """Write a file under a name of its own beside `path`, then give it that name in one step.

    private: nobody but its owner can read it, from the first byte on (mode 0600). Raises BadData if there is such a
    file already and not replace, DiskFull, PortError if it cannot be written; whatever fails, `path` is as it was.
    """
    if not replace:
        demand_absent(path)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        try:
            _write(fresh, data, 0o600 if private else 0o666)
            _publish(fresh, path, replace)
        finally:
            fresh.unlink(missing_ok=True)
    except FileExistsError:
        demand_absent(path)
        raise
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFull(f"cannot write {path}: {error.strerror}", hint="Make room, then run it again") from None
        raise PortError(f"cannot write {path}: {error.strerror}") from None


def demand_absent(path: Path) -> None:
    """Raise BadData if there is a file of this name."""
    if os.path.lexists(path):
        raise BadData(f"{path} exists already", hint="--force replaces it")


def _write(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        # Else a power cut after the renaming can leave the name with nothing behind it.
        os.fsync(descriptor)


def _publish(fresh: Path, path: Path, replace: bool) -> None:
    if not replace:
        try:
            # Unlike renaming, linking fails if somebody made such a file meanwhile.
            os.link(fresh, path)
            return
        except OSError as error:
            if isinstance(error, FileExistsError):
                raise
            # The file system of a USB stick has no links.
            demand_absent(path)
    fresh.replace(path)
