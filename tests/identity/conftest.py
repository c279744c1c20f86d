"""An identity of 16 bits, mined once and for all: its nonce is known (tests/vectors/pow.json)."""

import hashlib
from pathlib import Path

import pytest

from bitrelay.identity.challenge import Challenge
from bitrelay.identity.keys import IdentityKeys
from bitrelay.identity.local import LocalIdentity
from bitrelay.identity.proof import PowIdentity
from bitrelay.identity.solution import Solution

NOW = 1786000000
NONCE = 91456


@pytest.fixture(scope="session")
def keys() -> IdentityKeys:
    return IdentityKeys(hashlib.sha256(b"signing seed").digest(), hashlib.sha256(b"noise secret").digest())


@pytest.fixture(scope="session")
def challenge() -> Challenge:
    return Challenge.fresh(16, NOW, hashlib.sha256(b"record challenge").digest())


@pytest.fixture(scope="session")
def identity(keys: IdentityKeys, challenge: Challenge) -> PowIdentity:
    return PowIdentity.made(keys, Solution.made(challenge, NONCE, keys, NOW + 12), 3)


@pytest.fixture
def local(keys: IdentityKeys, identity: PowIdentity) -> LocalIdentity:
    return LocalIdentity(keys, identity)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where an identity would be kept; there is nothing yet, not even the folder."""
    return tmp_path / "home" / "identity" / "own.identity"
