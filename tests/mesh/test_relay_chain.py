"""Every fact of an entry is in its hash, and a packet is called the same by everybody."""

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrelay.errors import BrokenLedger
from bitrelay.mesh.relay_chain import Chain, RelayEvent, Seal, block_image, is_sealed, ledger_id, linked, packet_hash
from shared_protocol.frame import encode, pad, set_rsr, set_ttl
from tests.mesh.ledgers import KEYS, OTHER_KEYS, event, events

ID = ledger_id(KEYS.signing_key, 5)
whole = st.integers(0, (1 << 63) - 1)
some_event = st.builds(
    RelayEvent,
    packet_hash=st.binary(min_size=32, max_size=32),
    source=st.binary(min_size=8, max_size=8),
    destination=st.binary(min_size=8, max_size=8),
    hops=st.integers(0, 255),
    origin=st.text(max_size=20),
    target=st.text(max_size=20),
    time_ms=whole,
    fee=whole,
)


def frame(ttl: int = 7) -> bytearray:
    return bytearray(encode(2, ttl, 1_786_000_000_000, b"author 1", b"hello", recipient=b"reader 2"))


def test_a_packet_is_called_the_same_wherever_it_is_on_its_way() -> None:
    name = packet_hash(bytes(frame()))
    assert packet_hash(bytes(frame(3))) == name
    assert packet_hash(pad(bytes(frame(1)))) == name
    answer = frame(0)
    set_rsr(answer)
    assert packet_hash(bytes(answer)) == name
    for at in (0, 1, 3, 12, 30, len(frame()) - 1):
        other = frame()
        other[at] ^= 1
        try:
            assert packet_hash(bytes(other)) != name, at
        except ValueError:
            assert at == 0 or at == 12, at
    image = frame()
    set_ttl(image, 0)
    assert name == hashlib.sha256(image).digest()


@given(st.binary(max_size=600))
def test_what_is_no_frame_has_no_name(value: bytes) -> None:
    try:
        assert len(packet_hash(value)) == 32
    except ValueError as error:
        assert str(error)


@given(some_event, some_event, whole, whole)
def test_two_entries_have_one_hash_only_if_they_are_one(a: RelayEvent, b: RelayEvent, m: int, n: int) -> None:
    assert (linked(ID, m, a) == linked(ID, n, b)) == ((m, a) == (n, b))
    assert linked(ID, m, a) != linked(linked(ID, m, a), m, a)


@pytest.mark.parametrize(
    "change",
    [
        {"origin": "eastw", "target": "est"},
        {"fee": 2},
        {"hops": 7},
        {"time_ms": 0},
        {"source": bytes(8)},
        {"destination": b"reader 3"},
        {"packet_hash": bytes(32)},
    ],
)
def test_every_fact_counts(change: dict[str, Any]) -> None:
    base = replace(event(1), origin="east", target="west")
    assert linked(ID, 1, base) != linked(ID, 1, replace(base, **change))


@pytest.mark.parametrize(
    "change",
    [
        {"packet_hash": bytes(31)},
        {"source": bytes(9)},
        {"destination": b""},
        {"hops": 256},
        {"hops": -1},
        {"time_ms": -1},
        {"time_ms": 1 << 63},
        {"fee": -1},
        {"fee": 1 << 63},
        {"origin": "m" * 256},
        {"target": "\ud800"},
    ],
)
def test_what_is_no_event_has_no_hash(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="."):
        linked(ID, 1, replace(event(1), **change))


def chain_of(count: int) -> Chain:
    chain = Chain(KEYS.signing_key, ID, 0, ID)
    for number, each in enumerate(events(1, count), 1):
        chain.entry(number, each, linked(chain.head, number, each))
    return chain


def seal_of(chain: Chain, **change: Any) -> Seal:
    facts = {"first": chain.sealed + 1, "last": chain.number, "head": chain.head, "time_ms": 9} | change
    keys = facts.pop("keys", KEYS)
    return Seal(**facts, signature=keys.sign(block_image(ID, **facts)))


def test_a_seal_is_on_all_entries_since_the_last_one() -> None:
    chain = chain_of(3)
    chain.seal(seal_of(chain))
    assert (chain.number, chain.sealed) == (3, 3)
    for change in ({"first": 2}, {"last": 2}, {"head": bytes(32)}, {"keys": OTHER_KEYS}):
        chain = chain_of(3)
        with pytest.raises(BrokenLedger) as caught:
            chain.seal(seal_of(chain, **change))
        assert caught.value.number == 1
        with pytest.raises(BrokenLedger, match="under no seal"):
            chain.end()


def test_a_seal_holds_for_one_ledger_and_one_time() -> None:
    seal = seal_of(chain_of(3))
    assert is_sealed(KEYS.signing_key, ID, seal)
    assert not is_sealed(KEYS.signing_key, ledger_id(KEYS.signing_key, 6), seal)
    assert not is_sealed(OTHER_KEYS.signing_key, ID, seal)
    for change in ({"time_ms": 10}, {"time_ms": -1}, {"first": 2}, {"head": seal.head[:31]}, {"signature": b""}):
        assert not is_sealed(KEYS.signing_key, ID, replace(seal, **change))
