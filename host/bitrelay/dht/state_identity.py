"""The identities of a state directory: our own, made if there is none, and those of peers that were verified."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..errors import BadData, DamagedIdentity, NoIdentity, PortBusy, PortError
from ..identity.events import IdentityEvent
from ..identity.generate import generate
from ..identity.local import LocalIdentity, load_identity
from ..identity.mining import MiningProgress
from ..identity.peer_cache import PeerCache
from ..identity.pending import pending_path
from ..identity.service import Obtain
from .state_directory import StateDirectory


def kept_identity(
    directory: StateDirectory,
    path: Path,
    difficulty: int,
    *,
    on_progress: Callable[[MiningProgress], None],
    clock: Callable[[], float],
) -> Obtain:
    """The identity in this file, never replaced; made, with a proof of that difficulty, if there is none.

    Raises, when called, BadData for one with less work, and what `load_identity` and `generate` raise.
    """

    async def obtain(tell: Callable[[IdentityEvent], None]) -> LocalIdentity:
        try:
            local = load_identity(path)
        except NoIdentity:
            return await made(tell)
        if local.proof.difficulty < difficulty:
            raise BadData(
                f"the identity in {path} has a proof of work of {local.proof.difficulty} bits, not {difficulty}",
                hint="Ask for a lower difficulty, or give another folder for the state",
            )
        return local

    async def made(tell: Callable[[IdentityEvent], None]) -> LocalIdentity:
        work = partial(generate, path, difficulty, on_event=tell, on_progress=on_progress, clock=clock)
        try:
            return (await work()).local
        except DamagedIdentity:
            # It is not an identity yet: what is lost is work.
            directory.put_aside(pending_path(path))
            return (await work()).local

    return obtain


def opened_cache(directory: StateDirectory, clock: Callable[[], float]) -> PeerCache:
    """The peers that this directory remembers; what is damaged is set aside. Raises PortBusy, DiskFull, PortError."""
    path = directory.peers
    try:
        return _usable_cache(path, clock)
    except (BadData, PortError) as error:
        if isinstance(error, PortBusy):
            raise
        # Another program's, or a newer release's, it can only be by damage: the directory is a node's own.
        directory.put_database_aside(path)
        return _usable_cache(path, clock)


def _usable_cache(path: Path, clock: Callable[[], float]) -> PeerCache:
    cache = PeerCache(path, clock=clock)
    try:
        cache.prune(clock())  # a flipped bit can make it one that is only read
    except BaseException:
        cache.close()
        raise
    return cache
