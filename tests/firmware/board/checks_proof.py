# The relay's proof of work: mined beside its other work, signed, kept, renewed, told.
import asyncio
import os

import storage
from rig import Rig

from firmware import mining, proof_file
from firmware.log import Log
from firmware.proof import Proof
from firmware.spare_time import SpareTime
from shared_protocol import ed25519, frame, identity_record
from shared_protocol import pow as work

NOW = 1786000000
DAY = 86400


class Identity:
    seed = bytes(range(32))
    public_key = ed25519.finish(ed25519.public_key_steps(seed))
    noise_key = b"n" * 32
    on_air_id = b"\xa0\x28\x98\x10\x03\x2e\xb4\x17"
    peer_id = b"p" * 32

    @staticmethod
    def sign_steps(message):
        return ed25519.sign_steps(Identity.seed, Identity.public_key, message)


class Other:
    public_key = b"o" * 32


class Greeter:
    def __init__(self):
        self.identity = Identity
        self.now_ms = NOW * 1000 + 345

    def time_ms(self):
        return self.now_ms


# A relay that works for its proof, at a difficulty that costs nothing unless `difficulty` says otherwise.
class Relay:
    def __init__(self, difficulty=6, fresh=True):
        if fresh:
            storage.remove_all()
        self.rig = Rig()
        self.greeter = Greeter()
        self.log = Log(9)
        self.log.emit = lambda kind, values: self.told.append(values["text"])
        self.log.uptime_ms = lambda: 0
        self.told = []
        self.spare_time = SpareTime(self.rig.forwarder.is_busy, self.log)
        self.proof = Proof(self.greeter, self.rig.forwarder, self.spare_time, "", self.log)
        assert self.proof.difficulty == work.DIFFICULTY_BASE
        self.proof.difficulty = difficulty

    async def _beside(self, work):
        task = asyncio.create_task(self.spare_time.run())
        try:
            return await work
        finally:
            task.cancel()

    def prove(self):
        asyncio.run(self._beside(self.proof._renew()))
        return self.proof.renew_at

    # One look of the task's.
    def look(self, later_s=0):
        self.greeter.now_ms += later_s * 1000
        self.rig.clock.now_s += abs(later_s)
        asyncio.run(self._beside(self.proof._look_after(self.proof.now_s())))
        return [data for conn, data in self.rig.stack.sent if conn == 0]


def check_the_record_is_complete_proved_and_signed():
    relay = Relay(difficulty=16)
    assert relay.prove() == NOW + DAY
    record = relay.proof.record()
    found = identity_record.parse(record)
    key = Identity.public_key
    assert found["signing_key"] == key and found["noise_key"] == Identity.noise_key
    assert (found["challenge_timestamp"], found["challenge_expires_at"]) == (NOW, NOW + 3600)
    assert found["computed_at"] == found["created_at"] == NOW and found["expires_at"] == NOW + 7 * DAY
    assert found["difficulty"] == 16 and found["refresh_count"] == 0
    assert work.solves(found["challenge_data"], found["nonce"], key, NOW, 16)
    signed = work.signed_part(found["challenge_data"], found["nonce"])
    assert ed25519.finish(ed25519.verify_steps(key, signed, found["pow_signature"]))
    signed = identity_record.signed_part(found["body"])
    assert ed25519.finish(ed25519.verify_steps(key, signed, found["record_signature"]))
    assert len(frame.encode(0xB1, 7, 0, Identity.on_air_id, record)) <= 512
    assert "found after" in relay.told[0] and relay.proof.hashes > 0


def check_it_is_kept_over_a_start_and_only_for_these_keys():
    relay = Relay()
    relay.prove()
    record = relay.proof.record()
    again = Relay(fresh=False)
    assert again.proof.record() == record
    again.greeter.now_ms = None
    again.greeter.time_ms = lambda: None
    assert again.proof.record() == record
    again.greeter.identity = Other
    assert again.proof.record() is None
    again.greeter.identity = None
    assert again.proof.record() is None


def check_a_damaged_file_counts_as_none_and_is_replaced():
    relay = Relay()
    relay.prove()
    good = storage.read(proof_file.NAME)
    bad = [b"", good[:-1], good + b"x", bytes(len(good)), bytes(5000), good[:90]]
    for at in range(0, len(good), 7):
        bad.append(good[:at] + bytes((good[at] ^ 1,)) + good[at + 1 :])
    for data in bad:
        with open(proof_file.NAME, "wb") as f:
            f.write(data)
        assert proof_file.read("", Identity.public_key) == proof_file.NOTHING
        assert relay.proof.record() is None
    again = Relay(fresh=False)
    assert len(again.look()) == 1 and again.proof.record() is not None


def check_work_goes_on_where_it_was_and_the_old_record_stays_meanwhile():
    relay = Relay()
    relay.prove()
    record = relay.proof.record()
    challenge = os.urandom(32)
    nonce = 2**40 + 5
    proof_file.write("", Identity.public_key, challenge, NOW - 100, nonce, record)
    assert proof_file.read("", Identity.public_key) == (challenge, NOW - 100, nonce, record)
    assert relay.proof.record() == record
    relay.prove()
    found = identity_record.parse(relay.proof.record())
    assert found["challenge_data"] == challenge and nonce <= found["nonce"] < nonce + 10000
    assert found["challenge_timestamp"] == NOW - 100 and found["computed_at"] == NOW
    assert found["refresh_count"] == 1


def check_a_challenge_that_has_ended_or_lies_ahead_is_not_gone_on_with():
    for begun in (NOW - 3600, NOW - 3500, NOW + 10):
        relay = Relay()
        proof_file.write("", Identity.public_key, b"c" * 32, begun, 77, None)
        relay.prove()
        found = identity_record.parse(relay.proof.record())
        assert found["challenge_data"] != b"c" * 32 and found["challenge_timestamp"] == NOW


def check_progress_is_kept_and_a_challenge_that_ends_is_given_up():
    relay = Relay(difficulty=200)
    kept_ms = mining.ticks_ms
    ticks = [0]

    def ticks_ms():
        ticks[0] += 70_000
        relay.greeter.now_ms += 70_000
        return ticks[0]

    mining.ticks_ms = ticks_ms
    try:
        miner = work.Miner(b"c" * 32, Identity.public_key, NOW, 200)
        assert asyncio.run(mining._mine(relay.proof, miner, b"c" * 32, NOW, None)) is False
    finally:
        mining.ticks_ms = kept_ms
    challenge, begun, nonce, record = proof_file.read("", Identity.public_key)
    assert (challenge, begun, record) == (b"c" * 32, NOW, None) and 0 < nonce <= miner.nonce


def check_it_is_renewed_after_a_day_and_told_every_ten_minutes():
    relay = Relay()
    assert len(relay.look()) == 1
    first = relay.proof.record()
    header = frame.Header()
    data = relay.rig.stack.sent[0][1]
    assert header.parse(data, len(data)) == len(data)
    assert (header.type, header.ttl, header.version, header.flags) == (frame.TYPE_IDENTITY, 7, 1, 0)
    assert data[3:11] == (NOW * 1000 + 345).to_bytes(8, "big") and data[14:22] == Identity.on_air_id
    assert data[22:] == first
    assert len(relay.look(599)) == 1
    assert len(relay.look(1)) == 2
    assert relay.proof.record() == first
    relay.look(DAY - 600)
    assert relay.proof.record() == first
    relay.look(1)
    second = relay.proof.record()
    assert second != first and identity_record.parse(second)["refresh_count"] == 1
    # Off for longer than it held: a new beginning.
    again = Relay(fresh=False)
    again.look(9 * DAY)
    assert identity_record.parse(again.proof.record())["refresh_count"] == 0


def check_a_clock_that_was_wrong_costs_one_record():
    relay = Relay()
    relay.greeter.now_ms += 400 * DAY * 1000
    relay.look()
    relay.look(-400 * DAY)
    assert identity_record.parse(relay.proof.record())["created_at"] == NOW


def check_who_cannot_understand_it_is_not_told():
    relay = Relay()
    link = relay.rig.links.ready_links[0]
    link.bitcraps, link.features = True, 0
    assert relay.look() == [] and len(relay.rig.stack.sent) == 2


# Lets the relay's task run for a moment.
def _run(relay):
    async def run():
        task = asyncio.create_task(relay.proof.run())
        await asyncio.sleep_ms(30)
        task.cancel()

    asyncio.run(run())


def check_nothing_is_done_without_keys_or_time():
    relay = Relay()
    relay.greeter.time_ms = lambda: None
    _run(relay)
    relay.greeter.time_ms = lambda: NOW * 1000
    relay.greeter.identity = None
    _run(relay)
    assert not storage.is_there(proof_file.NAME)


def check_a_file_system_that_takes_nothing_is_told_and_tried_again_later():
    relay = Relay(difficulty=0)
    relay.proof.folder = "nowhere/"
    _run(relay)
    assert relay.told == ["proof of work: OSError(2,)"]
    _run(relay)
    assert len(relay.told) == 1
    relay.rig.clock.now_s = 600
    _run(relay)
    assert len(relay.told) == 2 and relay.proof.record() is None


def check_a_clock_that_is_put_right_while_it_works_makes_no_false_record():
    relay = Relay(difficulty=0)
    times = [NOW * 1000, (NOW - 9000) * 1000]
    relay.greeter.time_ms = lambda: times.pop(0) if len(times) > 1 else times[0]
    relay.prove()
    found = identity_record.parse(relay.proof.record())
    assert times == [(NOW - 9000) * 1000]
    assert found["challenge_timestamp"] == found["computed_at"] == NOW - 9000


def check_a_busy_relay_is_waited_for_but_not_for_ever():
    relay = Relay(difficulty=0)
    pool = relay.rig.pool
    pool.free.popleft()
    relay.prove()
    assert relay.proof.record() is not None
