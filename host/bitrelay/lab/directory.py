"""Directories of running labs, and what labs left that were killed."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "bitrelay-lab-"
# The running lab holds a lock on it, which ends with its process; the number in it is for people.
_CLAIM = "lab.pid"


@contextmanager
def claimed_directory(parent: Path | None = None) -> Iterator[Path]:
    """A new directory, under `parent` or where temporary files go, that is removed afterwards.

    If this process is killed before, the next lab there removes it.
    """
    parent = parent or Path(tempfile.gettempdir())
    remove_abandoned(parent)
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    try:
        # Locked before it has its name: nobody ever sees a claim without an owner.
        unnamed = directory / f"{_CLAIM}.new"
        with unnamed.open("w") as claim:
            claim.write(f"{os.getpid()}\n")
            claim.flush()
            fcntl.flock(claim, fcntl.LOCK_EX)
            unnamed.rename(directory / _CLAIM)
            yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def remove_abandoned(parent: Path) -> None:
    """Remove the directories of this user's labs whose process is gone."""
    for directory in parent.glob(f"{_PREFIX}*"):
        try:
            if directory.is_symlink() or directory.stat().st_uid != os.getuid():
                continue
            claim = os.open(directory / _CLAIM, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(directory, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(claim)
