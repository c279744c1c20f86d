# Mines: the work in the relay's proof of work. Other work goes first: a piece takes some milliseconds, and four fifths
# of the time are rest. Loaded on demand (rare.py).
import asyncio
import os
from time import ticks_diff, ticks_ms, ticks_us

from micropython import const

from firmware import proof_file
from shared_protocol import pow

_PIECE_US = const(4_000)
_REST = const(4)  # times as long as the piece before
_LEAST_REST_MS = const(8)
_WAITS = const(12)  # rests that a busy relay makes us wait in a row, at most
_KEEP_MS = const(60_000)  # how often the progress is kept
_END_S = const(120)  # before a challenge ends it is given up: its solution still has to be signed


# How difficult it was, a challenge of our own, its time and a nonce that solves it. Raises OSError when nothing can be
# kept.
async def find(proof):
    key = proof.greeter.identity.public_key
    challenge, begun, nonce, record = proof_file.read(proof.folder, key)
    start = ticks_ms()
    hashes = proof.hashes
    found = False
    while not found:
        now = proof.now_s()
        if challenge is None or not _lives(begun, now):
            challenge = os.urandom(pow.CHALLENGE_SIZE)
            begun = now
            nonce = 0
        miner = pow.Miner(challenge, key, begun, proof.difficulty)
        miner.nonce = nonce
        # Somebody may have put the clock right meanwhile.
        found = await _mine(proof, miner, challenge, begun, record) and _lives(begun, proof.now_s())
        # If it cannot be signed now, the work is not lost.
        proof_file.write(proof.folder, key, challenge, begun, miner.nonce, record)
    seconds = ticks_diff(ticks_ms(), start) // 1000
    proof.log.info("proof of work: found after %d hashes in %d s" % (proof.hashes - hashes, seconds))
    return proof.difficulty, challenge, begun, miner.nonce


# Whether a challenge is good for some more work.
def _lives(begun, now):
    return begun <= now < begun + pow.CHALLENGE_S - _END_S


# True once the miner is at a solution, False when the challenge has ended.
async def _mine(proof, miner, challenge, begun, record):
    pool = proof.forwarder.pool
    count = 4
    waits = 0
    kept_at = ticks_ms()
    while True:
        # A frame in a slot has its time to keep.
        if len(pool.free) < pool.count and waits < _WAITS:
            waits += 1
            await asyncio.sleep_ms(_LEAST_REST_MS)
            continue
        waits = 0
        before = ticks_us()
        found = miner.step(count)
        took = ticks_diff(ticks_us(), before)
        proof.hashes += count
        if found:
            return True
        if took > _PIECE_US:
            count = max(1, count - count // 4)
        elif took < _PIECE_US * 3 // 4:
            count += 1 + count // 8
        if ticks_diff(ticks_ms(), kept_at) >= _KEEP_MS:
            kept_at = ticks_ms()
            if not _lives(begun, proof.now_s()):
                return False
            proof_file.write(proof.folder, proof.greeter.identity.public_key, challenge, begun, miner.nonce, record)
        await asyncio.sleep_ms(max(_LEAST_REST_MS, _REST * took // 1000))
