# Proof of work for identities (requirements POW-01 to POW-10, POW-42): a nonce for which SHA-256 over challenge data
# (32 bytes), nonce (u64), public key (32 bytes) and the challenge's time (u64, Unix seconds) begins with enough zero
# bits. Finding one takes 2**difficulty hashes on average, checking it takes one.
from hashlib import sha256

from shared_protocol.interpreter import const

DIFFICULTY_BASE = const(16)
DIFFICULTY_MAX = const(24)

CHALLENGE_S = const(3600)
IDENTITY_S = const(604800)
REFRESH_S = const(86400)

CHALLENGE_SIZE = const(32)
KEY_SIZE = const(32)
HASH_SIZE = const(32)

NONCE_AT = const(32)

_NONCE_END = const(40)
_HASH_BITS = const(256)


# The 80 bytes that are hashed, with nonce 0 at NONCE_AT. Raises ValueError for sizes and times that the format cannot
# carry.
def preimage(challenge_data: bytes, public_key: bytes, timestamp: int) -> bytearray:
    if len(challenge_data) != CHALLENGE_SIZE or len(public_key) != KEY_SIZE:
        raise ValueError("challenge data and public key are 32 bytes each")
    return bytearray(challenge_data + bytes(8) + public_key + u64(timestamp))


def solution_hash(challenge_data: bytes, nonce: int, public_key: bytes, timestamp: int) -> bytes:
    image = preimage(challenge_data, public_key, timestamp)
    image[NONCE_AT:_NONCE_END] = u64(nonce)
    return sha256(image).digest()


# Whether this nonce is worth the difficulty, for one hash.
def solves(challenge_data: bytes, nonce: int, public_key: bytes, timestamp: int, difficulty: int) -> bool:
    return leading_zero_bits(solution_hash(challenge_data, nonce, public_key, timestamp)) >= difficulty


def leading_zero_bits(digest: bytes | bytearray | memoryview) -> int:
    bits = 0
    for byte in digest:
        if byte:
            while not byte & 0x80:
                byte <<= 1
                bits += 1
            return bits
        bits += 8
    return bits


# What the proof of work's Ed25519 signature covers (POW-06).
def signed_part(challenge_data: bytes, nonce: int) -> bytes:
    return bytes(challenge_data) + u64(nonce)


# Raises ValueError for what 8 bytes cannot carry: MicroPython's to_bytes would cut it.
def u64(value: int) -> bytes:
    if value < 0 or value >> 64:
        raise ValueError("not an unsigned integer of 64 bits")
    return value.to_bytes(8, "big")


# Looks for a nonce a few at a time, for a board that has other things to do. The nonce lives in the preimage, so that
# one of 64 bits makes no garbage; a hash and its object are what a try costs.
class Miner:
    def __init__(self, challenge_data: bytes, public_key: bytes, timestamp: int, difficulty: int) -> None:
        if not 0 <= difficulty <= _HASH_BITS:
            raise ValueError("difficulty is 0 to 256 bits")
        self.difficulty = difficulty
        self._image = preimage(challenge_data, public_key, timestamp)
        # Most hashes fail on their first byte.
        self._first = 0xFF if difficulty >= 8 else 0xFF00 >> difficulty & 0xFF

    # The next nonce to try, or the solution once one was found. Set it to go on after a restart.
    @property
    def nonce(self) -> int:
        return int.from_bytes(self._image[NONCE_AT:_NONCE_END], "big")

    @nonce.setter
    def nonce(self, value: int) -> None:
        self._image[NONCE_AT:_NONCE_END] = u64(value)

    # Tries this many nonces, the one after 2**64 - 1 being 0. True if one solves it: `nonce` stays there.
    def step(self, count: int) -> bool:
        image = self._image
        while count > 0:
            digest = sha256(image).digest()
            if not digest[0] & self._first and leading_zero_bits(digest) >= self.difficulty:
                return True
            at = _NONCE_END - 1
            while at >= NONCE_AT:
                if image[at] < 0xFF:
                    image[at] += 1
                    break
                image[at] = 0
                at -= 1
            count -= 1
        return False
