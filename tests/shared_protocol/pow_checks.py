# The proof of work and the identity record against their vectors, on either interpreter.
from binascii import hexlify, unhexlify

from fuzz_checks import Dice, mutate

from shared_protocol import identity_record, pow

RECORD_MUTATIONS = 4000


def check_vector(vector):
    VECTOR_CHECKS[vector["kind"]](vector)


def number(text):
    return int(text, 16)


def check_hash(vector):
    challenge, key = unhexlify(vector["challenge_data"]), unhexlify(vector["public_key"])
    nonce, timestamp = number(vector["nonce"]), vector["timestamp"]
    digest = pow.solution_hash(challenge, nonce, key, timestamp)
    assert hexlify(digest).decode() == vector["hash"]
    assert pow.leading_zero_bits(digest) == vector["zero_bits"]
    assert pow.solves(challenge, nonce, key, timestamp, vector["zero_bits"])
    assert not pow.solves(challenge, nonce, key, timestamp, vector["zero_bits"] + 1)
    assert pow.signed_part(challenge, nonce) == challenge + unhexlify(vector["nonce"])


def check_zeros(vector):
    digest = unhexlify(vector["hash"])
    assert pow.leading_zero_bits(digest) == pow.leading_zero_bits(memoryview(digest)) == vector["zero_bits"]


def check_mine(vector):
    challenge, key = unhexlify(vector["challenge_data"]), unhexlify(vector["public_key"])
    for pieces in (1, 7, 100000):
        miner = pow.Miner(challenge, key, vector["timestamp"], vector["difficulty"])
        assert miner.nonce == 0
        miner.nonce = number(vector["start"])
        tried = 0
        while tried + pieces < vector["tries"]:
            assert not miner.step(pieces)
            tried += pieces
        assert miner.nonce == (number(vector["start"]) + tried) % 2**64
        # A board that restarts goes on where it was.
        resumed = pow.Miner(challenge, key, vector["timestamp"], vector["difficulty"])
        resumed.nonce = miner.nonce
        for one in (miner, resumed):
            assert not one.step(vector["tries"] - tried - 1)
            assert one.step(1)
            assert one.nonce == number(vector["nonce"])
            assert one.step(1)


def check_record(vector):
    payload = unhexlify(vector["hex"])
    found = identity_record.parse(payload)
    assert identity_record.parse(memoryview(bytearray(payload))) == found
    assert (found is not None) == vector["valid"]
    if found is None:
        return
    signature, body = found.pop("record_signature"), found.pop("body")
    for name, value in found.items():
        assert value == (value if isinstance(value, int) else unhexlify(vector["values"][name])), name
        if isinstance(value, int):
            assert value == vector["values"][name], name
    assert identity_record.encode(body, signature) == payload
    assert identity_record.signed_part(body) == identity_record.DOMAIN + payload[:-66]
    assert (identity_record.body(found) == body) == vector["canonical"]


VECTOR_CHECKS = {
    "pow_hash": check_hash,
    "pow_zeros": check_zeros,
    "pow_mine": check_mine,
    "identity_record": check_record,
}


def refuses(make, *arguments):
    try:
        make(*arguments)
    except ValueError:
        return
    raise AssertionError(arguments)


def check_pow_refuses_what_does_not_fit():
    for nonce in (-1, 2**64):
        refuses(pow.solution_hash, bytes(32), nonce, bytes(32), 0)
        refuses(pow.signed_part, bytes(32), nonce)
    for challenge, key, timestamp in (
        (31, 32, 0),
        (33, 32, 0),
        (32, 31, 0),
        (32, 64, 0),
        (32, 32, -1),
        (32, 32, 2**64),
    ):
        refuses(pow.preimage, bytes(challenge), bytes(key), timestamp)
    for difficulty in (-1, 257):
        refuses(pow.Miner, bytes(32), bytes(32), 0, difficulty)


def check_pow_every_difficulty_below_a_byte():
    key = bytes(32)
    for difficulty in range(10):
        miner = pow.Miner(b"c" * 32, key, 7, difficulty)
        nonce = 0
        while not pow.solves(b"c" * 32, nonce, key, 7, difficulty):
            nonce += 1
        assert miner.step(100000)
        assert miner.nonce == nonce


def values():
    made = {}
    for kind in identity_record.FIELDS:
        name, size, is_number = identity_record.FIELDS[kind]
        made[name] = 256**size - 1 if is_number else bytes([kind]) * size
    return made


def check_record_carries_the_largest_values():
    payload = identity_record.encode(identity_record.body(values()), b"s" * 64)
    found = identity_record.parse(payload)
    for name, value in values().items():
        assert found[name] == value, name
    assert found["record_signature"] == b"s" * 64
    assert len(payload) + 94 <= 512


def check_record_refuses_what_does_not_fit():
    for kind in identity_record.FIELDS:
        name, size, is_number = identity_record.FIELDS[kind]
        for bad in (-1, 256**size, b"x" * size) if is_number else (b"", bytes(size + 1), 7):
            changed = values()
            changed[name] = bad
            refuses(identity_record.body, changed)
    refuses(identity_record.encode, identity_record.body(values()), bytes(63))
    refuses(identity_record.encode, bytes(353), bytes(64))


# What parses after a mutation, as one number.
def outcome(vectors):
    dice = Dice(20261105)
    slot = bytearray(512)
    view = memoryview(slot)
    records = [unhexlify(v["hex"]) for v in vectors if v["kind"] == "identity_record"]
    verdict = 0
    for i in range(RECORD_MUTATIONS):
        data = records[i % len(records)]
        slot[: len(data)] = data
        found = identity_record.parse(view[: mutate(dice, slot, len(data))])
        verdict = (verdict * 31 + (0 if found is None else 1 + found["difficulty"])) & 0xFFFFFF
    return verdict


CHECKS = [name for name in globals() if name.startswith(("check_pow_", "check_record_"))]
CHECKS.sort()
