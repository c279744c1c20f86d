"""Who is believed: a node with a chain of certificates from a trusted key to its own."""

import math
from dataclasses import replace
from typing import Any

import pytest

from bitrelay.identity.credentials import (
    LONGEST_CHAIN,
    Certificate,
    CredentialRefusal,
    NodeCredentials,
    check_authenticity,
)
from bitrelay.identity.keys import IdentityKeys
from tests.identity.conftest import NOW

ROOT, MIDDLE, NODE, STRANGER = (IdentityKeys(bytes([n]) * 32, bytes([n]) * 32) for n in (1, 2, 3, 4))
UNTIL = NOW + 1000
MESSAGE = b"route this"

CHAIN = (
    Certificate.made(ROOT, MIDDLE.signing_key, NOW, UNTIL),
    Certificate.made(MIDDLE, NODE.signing_key, NOW, UNTIL),
)
GOOD = NodeCredentials(NODE.peer_id, NODE.signing_key, CHAIN, 0.5)


def check(credentials: NodeCredentials, **changes: Any) -> CredentialRefusal | None:
    values: dict[str, Any] = {"signature": NODE.sign(MESSAGE), "trusted": [STRANGER.signing_key, ROOT.signing_key]}
    return check_authenticity(credentials, **({"message": MESSAGE, "now": NOW} | values | changes))


@pytest.mark.requirement("SEC-01", "SEC-02")
def test_a_node_somebody_vouches_for_is_believed() -> None:
    assert check(GOOD) is None
    assert check(GOOD, now=UNTIL) is None
    assert check(replace(GOOD, certificate_chain=CHAIN[1:]), trusted=[MIDDLE.signing_key]) is None


@pytest.mark.requirement("SEC-02")
@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"node_id": STRANGER.peer_id}, CredentialRefusal.NODE_ID_DIFFERS),
        ({"reputation": 0.49}, CredentialRefusal.LOW_REPUTATION),
        ({"reputation": math.nan}, CredentialRefusal.LOW_REPUTATION),
        ({"certificate_chain": ()}, CredentialRefusal.NO_CHAIN),
        ({"certificate_chain": CHAIN * LONGEST_CHAIN}, CredentialRefusal.CHAIN_TOO_LONG),
        ({"certificate_chain": CHAIN[:1]}, CredentialRefusal.OTHER_SUBJECT),
        ({"certificate_chain": CHAIN[1:]}, CredentialRefusal.BAD_CHAIN),
        (
            {"certificate_chain": (CHAIN[0], Certificate.made(STRANGER, NODE.signing_key, NOW, UNTIL))},
            CredentialRefusal.BAD_CHAIN,
        ),
        ({"certificate_chain": (CHAIN[0], replace(CHAIN[1], expires_at=UNTIL + 1))}, CredentialRefusal.BAD_CHAIN),
        ({"certificate_chain": (replace(CHAIN[0], issued_at=NOW + 1), CHAIN[1])}, CredentialRefusal.NOT_IN_FORCE),
    ],
)
def test_each_flaw_has_its_own_refusal(changes: dict[str, Any], refusal: CredentialRefusal) -> None:
    assert check(replace(GOOD, **changes)) is refusal


@pytest.mark.requirement("SEC-02")
def test_the_message_must_be_signed_and_the_chain_in_force() -> None:
    assert check(GOOD, message=b"route that") is CredentialRefusal.BAD_SIGNATURE
    assert check(GOOD, signature=STRANGER.sign(MESSAGE)) is CredentialRefusal.BAD_SIGNATURE
    assert check(GOOD, signature=b"") is CredentialRefusal.BAD_SIGNATURE
    assert check(GOOD, now=UNTIL + 1) is CredentialRefusal.NOT_IN_FORCE
    assert check(GOOD, now=NOW - 1) is CredentialRefusal.NOT_IN_FORCE
    assert check(GOOD, trusted=[STRANGER.signing_key]) is CredentialRefusal.BAD_CHAIN
    assert check(GOOD, trusted=[]) is CredentialRefusal.BAD_CHAIN


def test_what_no_certificate_is() -> None:
    for bad in ((b"short", 0, 0, bytes(64)), (bytes(32), 0, 0, bytes(63)), (bytes(32), -1, 0, bytes(64))):
        with pytest.raises(ValueError):
            Certificate(*bad)
