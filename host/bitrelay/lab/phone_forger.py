"""A hostile phone's announces: false in every way an app or a relay has to look out for (bitchat protocol, 1.8)."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum

from shared_protocol import announce
from shared_protocol.frame import MAX_TTL, SIGNATURE_SIZE, TTL, TYPE_ANNOUNCE, Header, encode

from .phone import Phone
from .phone_identity import PhoneIdentity, announce_payload, read_announce

# Behind the windows of both apps.
OFF_S = 3600.0


class Forgery(StrEnum):
    """What is false about an announce.

    The last three are signed as they should be: their author is somebody, but the time is wrong, or nobody is there.
    """

    BAD_SIGNATURE = "a known peer's announce of now, signed with rubbish"
    WRONG_ID = "an id that does not follow from the Noise key"
    STOLEN_ID = "a known peer's id and Noise key, with a signing key of its own"
    COPY = "a known peer's announce, made to look direct"
    PAST = "its own, from the past"
    FUTURE = "its own, from the future"
    NEWCOMER = "an identity made up on the spot"


class Forger:
    """Makes a phone send false announces; made counts them. What it knows of others it has from the phone's peers.

    off_s is how far the times of PAST and FUTURE are off, in seconds.
    """

    def __init__(
        self, phone: Phone, kinds: Sequence[Forgery] = tuple(Forgery), *, off_s: float = OFF_S, seed: int = 0
    ) -> None:
        self.made: Counter[Forgery] = Counter()
        self._phone = phone
        self._kinds = tuple(kinds)
        self._off_ms = round(off_s * 1000)
        self._random = random.Random(f"{seed}/{phone.name}")
        self._last_ms = 0

    def make(self, kind: Forgery) -> bytes | None:
        """One such announce, different from all before but for a copy; None if the phone knows nobody yet."""
        own = self._phone.identity
        now_ms = self._now_ms()
        match kind:
            case Forgery.PAST:
                return own.announce(now_ms - self._off_ms)
            case Forgery.FUTURE:
                return own.announce(now_ms + self._off_ms)
            case Forgery.NEWCOMER:
                return PhoneIdentity(self._random.randbytes(8).hex()).announce(now_ms)
            case Forgery.WRONG_ID:
                payload = _payload(own.name, own.noise_key, own.signing_key)
                return own.signed(encode(TYPE_ANNOUNCE, MAX_TTL, now_ms, self._random.randbytes(8), payload))
        victims = [peer.announce for peer in self._phone.peers.values() if peer.verified]
        return self._of_victim(kind, self._random.choice(victims), now_ms) if victims else None

    async def run(self, rate: float) -> None:
        """Send so many a second on every link, one kind after the other, until cancelled."""
        loop = asyncio.get_running_loop()
        start, number = loop.time(), 0
        while True:
            kind = self._kinds[number % len(self._kinds)]
            frame = self.make(kind)
            links = self._phone.open_links
            if frame is not None and links:
                self.made[kind] += 1
                for link in links:
                    link.post(frame)
            number += 1
            await asyncio.sleep(max(0.0, start + number / rate - loop.time()))

    def _of_victim(self, kind: Forgery, heard: bytes, now_ms: int) -> bytes:
        if kind is Forgery.COPY:
            return heard[:TTL] + bytes((MAX_TTL,)) + heard[TTL + 1 :]
        header = Header()
        header.parse(heard, len(heard))
        victim = heard[header.sender_at : header.sender_at + 8]
        said = read_announce(heard, header)
        assert said is not None
        if kind is Forgery.STOLEN_ID:
            payload = _payload(said.nickname, said.noise_key, self._phone.identity.signing_key)
            return self._phone.identity.signed(encode(TYPE_ANNOUNCE, MAX_TTL, now_ms, victim, payload))
        payload = _payload(said.nickname, said.noise_key, said.signing_key)
        rubbish = self._random.randbytes(SIGNATURE_SIZE)
        return encode(TYPE_ANNOUNCE, MAX_TTL, now_ms, victim, payload, signature=rubbish)

    def _now_ms(self) -> int:
        self._last_ms = max(self._last_ms + 1, self._phone.now_ms())
        return self._last_ms


def _payload(nickname: str, noise_key: bytes, signing_key: bytes) -> bytes:
    fields = (
        (announce.NICKNAME, nickname.encode()[:255]),
        (announce.NOISE_KEY, noise_key),
        (announce.SIGNING_KEY, signing_key),
    )
    return announce_payload(fields)
