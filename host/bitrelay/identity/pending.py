"""A proof of work that is being looked for, in a file: another run goes on where this one was stopped."""

from dataclasses import dataclass
from pathlib import Path

from bitrelay.errors import DamagedIdentity

from .challenge import Challenge
from .keys import IdentityKeys
from .local import challenge_from, challenge_values, keys_from, whole
from .private_file import damaged, read_private, write_private

_KIND = "bitrelay_mining"
_HINT = "Nothing depends on it: remove it"


@dataclass(frozen=True)
class PendingMining:
    """The keys that the work is for, what is to be solved, and the first nonce that was not tried yet."""

    keys: IdentityKeys
    challenge: Challenge
    next_nonce: int = 0

    def good_for(self, difficulty: int, now: int) -> bool:
        """Whether it leads to a proof of that difficulty, and there is time left for it."""
        return self.challenge.difficulty == difficulty and not self.challenge.expired(now)


def pending_path(identity: Path) -> Path:
    """Where the work for the identity at this path is kept."""
    return identity.with_suffix(".mining")


def pending_refresh_path(identity: Path) -> Path:
    """Where the work to refresh the identity at this path is kept."""
    return identity.with_suffix(".refreshing")


def save_pending(path: Path, pending: PendingMining) -> None:
    """Keep it, in place of what was kept. Raises NotPrivate, DiskFull, PortError."""
    values = {
        "signing_seed": pending.keys.signing_seed.hex(),
        "noise_secret": pending.keys.noise_secret.hex(),
        "challenge": challenge_values(pending.challenge),
        "next_nonce": pending.next_nonce,
    }
    write_private(path, _KIND, values, replace=True)


def load_pending(path: Path) -> PendingMining | None:
    """What was kept, None if nothing was. Raises DamagedIdentity, NotPrivate, TooNew, PortError."""
    try:
        values = read_private(path, _KIND)
        try:
            nonce = whole(values["next_nonce"])
            if not 0 <= nonce < 1 << 64:
                raise ValueError
            return PendingMining(keys_from(values), challenge_from(values["challenge"]), nonce)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise damaged(path) from None
    except FileNotFoundError:
        return None
    except DamagedIdentity as error:
        error.hint = _HINT
        raise
