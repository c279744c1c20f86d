# The proof of work for the relay's own identity: when a new one is due, and telling everybody of it. The work is done
# in mining.py, the file is proof_file.py's; both are loaded when they are needed.
import asyncio

from micropython import const

from firmware import rare

_LOOK_MS = const(10_000)
_PUBLISH_S = const(600)
_DIFFICULTY = const(16)  # DIFFICULTY_BASE of shared_protocol/pow.py
_FAILED_S = const(600)  # until the next attempt
_LONGEST_S = const(90_000)  # a renewal is never further away, unless the clock went back


class Proof:
    # greeter has the identity and the time, which stays known once it is, and gets the record; forwarder sends it, and
    # its pool tells when there is nothing better to do; spare_time signs. folder: with its "/".
    def __init__(self, greeter, forwarder, spare_time, folder, log):
        self.greeter = greeter
        self.spare_time = spare_time
        self.forwarder = forwarder
        self.folder = folder
        self.log = log
        self.difficulty = _DIFFICULTY
        self.hashes = 0  # of this start
        self.renew_at = 0  # Unix seconds; 0: look at the file
        # Seconds since the start: the time of day may be put right.
        self._again_at = 0
        self._publish_at = 0
        greeter.record = self.record

    def now_s(self):
        time_ms = self.greeter.time_ms()
        return None if time_ms is None else time_ms // 1000

    # The payload of our identity record: None if there is none, or it has expired as far as we know.
    def record(self):
        from firmware import proof_file

        identity = self.greeter.identity
        if identity is None:
            return None
        try:
            record = proof_file.read(self.folder, identity.public_key)[3]
        except OSError:
            return None
        now = self.now_s()
        if now is not None and proof_file.in_force(record, now) is None:
            return None
        return record

    # For ever, as a task. Raises nothing that has to do with memory or files: a relay without a proof is a relay.
    async def run(self):
        while True:
            now = self.now_s()
            if self.greeter.identity is not None and now is not None:
                try:
                    await self._look_after(now)
                except (MemoryError, OSError) as error:
                    self._again_at = self.forwarder.clock.now_s + _FAILED_S
                    self.log.warning("proof of work: %r" % error)
                rare.forget()
            await asyncio.sleep_ms(_LOOK_MS)

    async def _look_after(self, now):
        up_s = self.forwarder.clock.now_s
        if not self.renew_at or self.renew_at - now > _LONGEST_S:
            from firmware import proof_file

            self.renew_at = proof_file.renewal(self.record(), now)
        if now > self.renew_at and up_s >= self._again_at:
            await self._renew()
            self._publish_at = 0
        if up_s >= self._publish_at and self._publish():
            self._publish_at = up_s + _PUBLISH_S

    # Mining and signing are never in memory at the same time.
    async def _renew(self):
        identity = self.greeter.identity
        solution = await self._solution()
        rare.forget()
        now = self.now_s()
        refreshes = self._refreshes(now)
        rare.forget()
        record = await self._signed(identity, solution, now, refreshes)
        rare.forget()
        self.renew_at = self._keep(identity, record, now)

    async def _solution(self):
        from firmware import mining

        return await mining.find(self)

    def _refreshes(self, now):
        from firmware import proof_file

        found = proof_file.in_force(self.record(), now)
        return 0 if found is None else found[1] + 1

    async def _signed(self, identity, solution, now, refreshes):
        from firmware import signing

        difficulty, challenge, begun, nonce = solution
        return await signing.sign(self.spare_time, identity, difficulty, challenge, begun, nonce, now, refreshes)

    def _keep(self, identity, record, now):
        from firmware import proof_file

        proof_file.write(self.folder, identity.public_key, None, 0, 0, record)
        return proof_file.renewal(record, now)

    # False while there is nobody to tell, nothing to tell, or an earlier frame of ours is still being sent.
    def _publish(self):
        from firmware import bitcraps

        record = self.record() if self.forwarder.links.ready else None
        return record is not None and bitcraps.publish(self.greeter, self.forwarder, record)
