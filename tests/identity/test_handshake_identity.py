"""An identity with its proof of work, proved in a handshake by the one whose it is."""

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bitrelay.errors import HandshakeFailed, HandshakeFault
from bitrelay.identity.handshake_identity import identifying, presenting
from bitrelay.identity.keys import IdentityKeys
from bitrelay.identity.proof import PowIdentity
from bitrelay.identity.record import to_record
from bitrelay.identity.session import Session
from bitrelay.identity.session_table import Presentation, SessionTable

NOW = 1786000100


def shake(one: SessionTable, other: SessionTable) -> tuple[Session | None, Session | None]:
    first = one.start(other.on_air_id, 0.0)
    assert first is not None
    second = other.on_handshake(one.on_air_id, first, 0.0).reply
    assert second is not None
    third = one.on_handshake(other.on_air_id, second, 0.0)
    assert third.reply is not None
    return third.session, other.on_handshake(one.on_air_id, third.reply, 0.0).session


def test_a_peer_proves_its_identity_and_a_phone_is_shown_nothing(keys: IdentityKeys, identity: PowIdentity) -> None:
    static = X25519PrivateKey.from_private_bytes(keys.noise_secret)
    ours = SessionTable(
        static, present=presenting(identity, keys, lambda _: b"hellos"), identify=identifying(lambda: NOW)
    )
    peer = SessionTable(
        X25519PrivateKey.generate(),
        present=lambda _: Presentation(prologue=b"hellos"),
        identify=identifying(lambda: NOW),
    )
    assert ours.on_air_id == identity.on_air_id
    mine, theirs = shake(ours, peer)
    assert mine is not None and mine.peer_id is None
    assert theirs is not None and theirs.peer_id == identity.node_id == keys.peer_id
    assert presenting(identity, keys, lambda _: None)(b"on-air-1") == Presentation()
    phone = SessionTable(X25519PrivateKey.generate())
    ours = SessionTable(static, present=presenting(identity, keys, lambda _: None), identify=identifying(lambda: NOW))
    met, _ = shake(phone, ours)
    assert met is not None


@pytest.mark.parametrize("lie", ["stolen", "damaged", "old"])
def test_somebody_elses_identity_proves_nothing(keys: IdentityKeys, identity: PowIdentity, lie: str) -> None:
    record = to_record(identity, keys)
    static = X25519PrivateKey.from_private_bytes(keys.noise_secret)
    if lie == "stolen":
        static = X25519PrivateKey.generate()
    elif lie == "damaged":
        record = record[:-1] + bytes((record[-1] ^ 1,))
    now = NOW + 10**8 if lie == "old" else NOW
    crook = SessionTable(static, present=lambda _: Presentation(record))
    peer = SessionTable(X25519PrivateKey.generate(), identify=identifying(lambda: now))
    with pytest.raises(HandshakeFailed) as failed:
        shake(crook, peer)
    assert failed.value.fault is HandshakeFault.WRONG_PEER and peer.session(crook.on_air_id) is None
