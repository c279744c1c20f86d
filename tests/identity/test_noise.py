"""Noise XX against the vectors of three other implementations, and against whatever else may arrive."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st

from bitrelay.errors import HandshakeFailed, HandshakeFault
from bitrelay.identity.noise import MAX_MESSAGE, MESSAGE_SIZES, CipherState, HandshakeState

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "noise.json").read_text())


def private(raw: str) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(bytes.fromhex(raw))


def end(vector: dict[str, Any], which: str) -> HandshakeState:
    return HandshakeState(
        initiator=which == "init",
        static=private(vector[which + "_static"]),
        prologue=bytes.fromhex(vector[which + "_prologue"]),
        ephemeral=lambda: private(vector[which + "_ephemeral"]),
    )


def pair(prologue: bytes = b"", other_prologue: bytes | None = None) -> tuple[HandshakeState, HandshakeState]:
    other = prologue if other_prologue is None else other_prologue
    return (
        HandshakeState(initiator=True, static=X25519PrivateKey.generate(), prologue=prologue),
        HandshakeState(initiator=False, static=X25519PrivateKey.generate(), prologue=other),
    )


def at_step(step: int) -> tuple[HandshakeState, HandshakeState]:
    """Who reads message `step` (0 to 2), and who writes it."""
    writer, reader = pair()
    for _ in range(step):
        reader.read_message(writer.write_message())
        writer, reader = reader, writer
    return reader, writer


@pytest.mark.requirement("BLE-22")
@pytest.mark.requirement("SEC-13")
@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_vectors_of_others(vector: dict[str, Any]) -> None:
    initiator, responder = end(vector, "init"), end(vector, "resp")
    writer, reader = initiator, responder
    messages = [(bytes.fromhex(m["payload"]), bytes.fromhex(m["ciphertext"])) for m in vector["messages"]]
    assert len(messages) >= 5
    for payload, expected in messages[:3]:
        assert writer.write_message(payload) == expected
        assert reader.read_message(expected) == payload
        writer, reader = reader, writer
    assert initiator.complete and responder.complete
    assert initiator.handshake_hash == responder.handshake_hash
    if "handshake_hash" in vector:
        assert initiator.handshake_hash.hex() == vector["handshake_hash"]
    assert responder.remote_static == private(vector["init_static"]).public_key().public_bytes_raw()
    assert initiator.remote_static == private(vector["resp_static"]).public_key().public_bytes_raw()
    send, receive = initiator.split()
    back, forth = responder.split()
    # The responder speaks first: the third handshake message was the initiator's.
    for number, (payload, expected) in enumerate(messages[3:]):
        writing, reading = (send, forth) if number % 2 else (back, receive)
        assert writing.encrypt_with_ad(b"", payload) == expected
        assert reading.decrypt_with_ad(b"", expected) == payload


def test_the_primitives_are_the_ones_of_the_rfcs() -> None:
    # RFC 7748, section 6.1.
    bob = private("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
    assert bob.public_key().public_bytes_raw().hex() == (
        "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    )
    alice = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    assert bob.exchange(X25519PublicKey.from_public_bytes(alice)).hex() == (
        "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
    )
    # RFC 8439, section 2.8.2.
    key = bytes(range(0x80, 0xA0))
    plaintext = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
        b"sunscreen would be it."
    )
    sealed = ChaCha20Poly1305(key).encrypt(
        bytes.fromhex("070000004041424344454647"), plaintext, bytes.fromhex("50515253c0c1c2c3c4c5c6c7")
    )
    assert sealed[-16:].hex() == "1ae10b594f09e26a7e902ecbd0600691"
    # A Noise nonce is four zeros and a little-endian counter.
    state = CipherState(key)
    assert state.seal(0x0706050403020100, b"ad", b"text") == ChaCha20Poly1305(key).encrypt(
        bytes(4) + bytes(range(8)), b"text", b"ad"
    )


def test_sizes_without_payload() -> None:
    initiator, responder = pair()
    sizes = []
    writer, reader = initiator, responder
    while not reader.complete:
        assert writer.my_turn and not reader.my_turn
        message = writer.write_message()
        sizes.append(len(message))
        assert reader.read_message(message) == b""
        writer, reader = reader, writer
    assert tuple(sizes) == MESSAGE_SIZES == (32, 96, 64)


def test_rekey_gives_another_key_and_the_counter_goes_on() -> None:
    one, other = CipherState(bytes(32)), CipherState(bytes(32))
    one.encrypt_with_ad(b"", b"first")
    one.rekey()
    assert one.nonce == 1
    # What section 4.2 says in words.
    next_key = ChaCha20Poly1305(bytes(32)).encrypt(bytes(4) + b"\xff" * 8, bytes(32), b"")[:32]
    sealed = one.encrypt_with_ad(b"", b"second")
    assert ChaCha20Poly1305(next_key).decrypt(bytes(4) + (1).to_bytes(8, "little"), sealed, b"") == b"second"
    other.nonce = 1
    with pytest.raises(InvalidTag):
        other.decrypt_with_ad(b"", sealed)
    assert other.nonce == 1
    other.rekey()
    assert other.decrypt_with_ad(b"", sealed) == b"second"


def test_the_last_nonce_is_not_for_messages() -> None:
    state = CipherState(bytes(32))
    state.nonce = 2**64 - 2
    sealed = state.encrypt_with_ad(b"", b"last")
    assert state.nonce == 2**64 - 1
    for call in (state.encrypt_with_ad, state.decrypt_with_ad):
        with pytest.raises(OverflowError):
            call(b"", sealed)


def test_different_prologues_do_not_meet() -> None:
    initiator, responder = pair(b"version 1.4.0", b"version 1.0.0")
    responder.read_message(initiator.write_message())
    with pytest.raises(HandshakeFailed) as failed:
        initiator.read_message(responder.write_message())
    assert failed.value.fault is HandshakeFault.FORGED


# The last two are points of order 8 on the curve and on its twist (RFC 7748, section 6.1, refuses what they give).
LOW_ORDER = [
    bytes(32),
    b"\x01" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
]


@pytest.mark.parametrize("point", LOW_ORDER, ids=["zero", "one", "order-8", "twist"])
def test_a_key_of_low_order_is_refused(point: bytes) -> None:
    _, responder = pair()
    # The first message does not use the key yet.
    responder.read_message(point)
    with pytest.raises(HandshakeFailed) as failed:
        responder.write_message()
    assert failed.value.fault is HandshakeFault.BAD_KEY
    initiator, _ = pair()
    initiator.write_message()
    with pytest.raises(HandshakeFailed) as failed:
        initiator.read_message(point + bytes(64))
    assert failed.value.fault is HandshakeFault.BAD_KEY


@pytest.mark.parametrize("step", [0, 1, 2])
def test_each_altered_or_cut_message_is_refused(step: int) -> None:
    reader, writer = at_step(step)
    message = writer.write_message()
    for size in range(len(message)):
        if (step, size) == (0, 32):
            continue
        with pytest.raises(HandshakeFailed):
            reader.copy().read_message(message[:size])
    # The first message is only a key: any 32 bytes are one, and the second message tells.
    for at in range(0, len(message), 7) if step else ():
        with pytest.raises(HandshakeFailed) as failed:
            reader.copy().read_message(message[:at] + bytes((message[at] ^ 1,)) + message[at + 1 :])
        assert failed.value.fault is HandshakeFault.FORGED
    # All of that was done to copies.
    assert reader.read_message(message) == b""


@given(st.integers(0, 2), st.one_of(st.binary(max_size=200), st.binary(min_size=32, max_size=100)))
@settings(max_examples=150, deadline=None)
def test_no_bytes_raise_anything_else(step: int, message: bytes) -> None:
    reader, _ = at_step(step)
    try:
        reader.read_message(message)
    except HandshakeFailed:
        with pytest.raises(HandshakeFailed) as failed:
            reader.read_message(message)
        assert failed.value.fault is HandshakeFault.OUT_OF_TURN
    else:
        assert step == 0 and len(message) >= 32


def test_out_of_turn() -> None:
    initiator, responder = pair()
    with pytest.raises(HandshakeFailed) as failed:
        responder.write_message()
    assert failed.value.fault is HandshakeFault.OUT_OF_TURN
    with pytest.raises(HandshakeFailed):
        initiator.read_message(bytes(96))


def test_too_long() -> None:
    initiator, responder = pair()
    with pytest.raises(HandshakeFailed) as failed:
        initiator.write_message(bytes(MAX_MESSAGE - 31))
    assert failed.value.fault is HandshakeFault.TOO_LONG
    with pytest.raises(HandshakeFailed) as failed:
        responder.read_message(bytes(MAX_MESSAGE + 1))
    assert failed.value.fault is HandshakeFault.TOO_LONG


def test_nothing_shows_a_key() -> None:
    initiator, responder = pair()
    responder.read_message(initiator.write_message())
    shown = repr(initiator) + repr(responder) + repr(initiator._symmetric) + repr(CipherState(b"k" * 32))
    assert shown == (
        "<HandshakeState initiator, message 2><HandshakeState responder, message 2>"
        "<SymmetricState <CipherState without key, nonce 0>><CipherState with key, nonce 0>"
    )
