"""This computer's own identity and its file."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bitrelay.errors import BadData, BitrelayError, DamagedIdentity, NoIdentity, PortError
from shared_protocol.pow import DIFFICULTY_BASE

from .challenge import Challenge
from .keys import IdentityKeys
from .private_file import Values, damaged, data_home, demand_private, read_private, write_private
from .proof import PowIdentity
from .solution import Solution
from .verify import DEVELOPMENT_BASE, verify

KIND = "bitrelay_identity"

_WHEN_DAMAGED = (
    "Put a copy in its place, or `bitrelay identity import --replace` an export; `bitrelay identity new --replace` "
    "makes another. The damaged one is kept"
)


@dataclass(frozen=True)
class LocalIdentity:
    """Keys with the proof of work that was done for them. Raises ValueError if they do not belong together."""

    keys: IdentityKeys
    proof: PowIdentity

    def __post_init__(self) -> None:
        if (self.keys.signing_key, self.keys.noise_key) != (self.proof.public_key, self.proof.noise_key):
            raise ValueError("the proof of work was done for other keys")

    def renewed(self, solution: Solution) -> "LocalIdentity":
        """The same keys with later work, one refresh further (row POW-32)."""
        return replace(self, proof=PowIdentity.made(self.keys, solution, self.proof.next_refresh_count))

    @property
    def for_development(self) -> bool:
        """Whether its difficulty is below what others accept."""
        return self.proof.difficulty < DIFFICULTY_BASE


def identity_path() -> Path:
    """Where this computer's identity is kept."""
    return data_home() / "identity" / "own.identity"


def load_identity(path: Path) -> LocalIdentity:
    """Read an identity and check all of it; it may have expired.

    Raises NoIdentity if there is none, DamagedIdentity, NotPrivate, TooNew, PortError.
    """
    try:
        values = read_private(path, KIND)
    except FileNotFoundError:
        raise NoIdentity(
            f"this computer has no identity: there is no {path}", hint="Make one with `bitrelay identity new`"
        ) from None
    except DamagedIdentity as error:
        error.hint = _WHEN_DAMAGED
        raise
    return from_values(values, path)


def demand_none(path: Path) -> None:
    """Raise BadData if there is an identity, whatever its state."""
    if not os.path.lexists(path):
        return
    try:
        load_identity(path)
        state = ""
    except BitrelayError as error:
        state = f", which cannot be used ({error.what})"
    raise BadData(
        f"this computer has an identity: {path}{state}",
        hint="--replace puts another in its place and keeps it beside it",
    )


def save_identity(path: Path, local: LocalIdentity, *, replace: bool = False) -> Path | None:
    """Write an identity. replace: one that is there is kept beside it, under the name returned, whatever its state.

    Raises BadData if there is one and not replace, NotPrivate, DiskFull, PortError.
    """
    if not replace:
        demand_none(path)
    kept = keep_beside(path) if replace else None
    write_private(path, KIND, to_values(local), replace=replace)
    return kept


def update_identity(path: Path, local: LocalIdentity) -> None:
    """Write an identity in place of one with the same keys: after a refresh.

    Raises BadData if it is another one by now, and what `load_identity` and `save_identity` raise.
    """
    if load_identity(path).keys != local.keys:
        raise BadData(f"{path} is another identity by now, and stays as it is")
    write_private(path, KIND, to_values(local), replace=True)


def keep_beside(path: Path) -> Path | None:
    """Give what is at this path a second name beside it, one that is free; None if there is nothing.

    Raises NotPrivate for a folder that is not its owner's alone, PortError.
    """
    if not os.path.lexists(path):
        return None
    demand_private(path.parent)
    number = 1
    while os.path.lexists(kept := path.with_name(f"{path.name}.old-{number}")):
        number += 1
    try:
        try:
            os.link(path, kept, follow_symlinks=False)
        except OSError as error:
            if isinstance(error, FileExistsError):
                raise
            # A file system without links: for a moment there is no identity under its own name.
            path.rename(kept)
    except OSError as error:
        raise PortError(f"cannot keep {path} as {kept}: {error.strerror}") from None
    return kept


def to_values(local: LocalIdentity) -> Values:
    """An identity as a file has it."""
    proof, solution = local.proof, local.proof.pow_solution
    challenge = solution.challenge
    return {
        "peer_id": proof.peer_id.hex(),
        "signing_seed": local.keys.signing_seed.hex(),
        "noise_secret": local.keys.noise_secret.hex(),
        "challenge": challenge_values(challenge),
        "nonce": solution.nonce,
        "solution_hash": solution.solution_hash.hex(),
        "signature": solution.signature.hex(),
        "computed_at": solution.computed_at,
        "identity_score": proof.identity_score,
        "created_at": proof.created_at,
        "expires_at": proof.expires_at,
        "refresh_count": proof.refresh_count,
    }


def from_values(values: Values, path: Path) -> LocalIdentity:
    """The identity in the values of the file of this name, verified but for its expiry. Raises DamagedIdentity."""
    try:
        keys = keys_from(values)
        solution = Solution(
            challenge_from(values["challenge"]),
            whole(values["nonce"]),
            bytes.fromhex(values["solution_hash"]),
            keys.signing_key,
            bytes.fromhex(values["signature"]),
            whole(values["computed_at"]),
        )
        proof = PowIdentity(
            bytes.fromhex(values["peer_id"]),
            keys.signing_key,
            keys.noise_key,
            solution,
            _number(values["identity_score"]),
            whole(values["created_at"]),
            whole(values["expires_at"]),
            whole(values["refresh_count"]),
        )
        local = LocalIdentity(keys, proof)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise damaged(path) from None
    refusal = verify(proof, proof.created_at, DEVELOPMENT_BASE)
    if refusal is not None:
        raise DamagedIdentity(f"the identity in {path} is not valid: {refusal.value}")
    return local


def keys_from(values: Values) -> IdentityKeys:
    """The keys in a file's values. Raises KeyError, TypeError, ValueError."""
    return IdentityKeys(bytes.fromhex(values["signing_seed"]), bytes.fromhex(values["noise_secret"]))


def challenge_values(challenge: Challenge) -> Values:
    """A challenge as a file has it."""
    return {
        "difficulty": challenge.difficulty,
        "challenge_data": challenge.challenge_data.hex(),
        "timestamp": challenge.timestamp,
        "expires_at": challenge.expires_at,
    }


def challenge_from(values: Values) -> Challenge:
    """The challenge in a file's values. Raises KeyError, TypeError, ValueError."""
    numbers = [whole(values[name]) for name in ("difficulty", "timestamp", "expires_at")]
    return Challenge(numbers[0], bytes.fromhex(values["challenge_data"]), *numbers[1:])


def whole(value: Any) -> int:
    """The value, if it is a whole number. Raises TypeError."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("not a whole number")
    return value


def _number(value: Any) -> float:
    # Raises OverflowError for a whole number that is too large.
    return value if isinstance(value, float) else float(whole(value))
