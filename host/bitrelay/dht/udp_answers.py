"""What other nodes ask over UDP, and what they get.

To an address that has not proved itself goes nothing larger than three times what came from it: a pong, or a refusal
that brings a cookie. Who shows the cookie, and with it its proof of work if we do not know that yet, is answered as a
node that may be remembered.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Final

from ..identity.keys import SIGNATURE_BYTES
from ..transports.address import Udp
from ..transports.sockets import source_of_host
from .answer_cache import AnswerCache, Answered
from .cookies import Cookies
from .endpoint import Endpoint
from .flood import Buckets, FloodLimits
from .message_codec import encode_body, fitted
from .messages import Answer, Contact, Ping, Pong, Question, Refusal, Refused
from .network import Answering
from .wire import MAX_DATAGRAM, NO_COOKIE, ROOM, Datagram, Head

_log = logging.getLogger(__name__)

ANSWER_TIMEOUT_S: Final = 2.0
"""For our own part of an answer: after that nobody waits for it."""
AMPLIFICATION: Final = 3

_MOST_ANSWERING: Final = 256  # at once; more are dropped


@dataclass(frozen=True, slots=True)
class _Asked:
    # A question whose signature holds. size: of its datagram; is_there: its sender has proved its address.
    opened: Datagram
    answered: Answered
    size: int
    is_there: bool


class Answers:
    """Answers questions with what `answering` says; while that is None, none."""

    def __init__(self, endpoint: Endpoint, limits: FloodLimits) -> None:
        self.answering: Answering | None = None
        self._endpoint = endpoint
        self._dropped = endpoint.traffic.dropped
        self._proofs = endpoint.proofs
        self._cookies = Cookies(endpoint.random(32), endpoint.steady)
        self._cache = AnswerCache()
        self._known = Buckets(limits.known, limits.all_known, limits.buckets)
        self._strangers = Buckets(limits.source, limits.strangers, limits.buckets)
        self._work = Buckets(limits.work_source, limits.work, limits.buckets)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def table_sizes(self) -> dict[str, int]:
        """How many entries each of its tables has; all are bounded."""
        return {
            "answers": len(self._cache),
            "known": len(self._known),
            "strangers": len(self._strangers),
            "work": len(self._work),
        }

    def take(self, head: Head, datagram: bytes, source: Udp) -> None:
        """Take a question that came from there."""
        if self.answering is None:
            self._dropped["NOT_READY"] += 1
            return
        now, sender = self._endpoint.steady(), head.sender
        shows_cookie = head.cookie != NO_COOKIE and self._cookies.holds(head.cookie, source, sender)
        # No signature is checked yet, but a cookie cannot be guessed: a flood in a node's name is a stranger's.
        if shows_cookie and self._proofs.knows(sender):
            may = self._known.take(sender, now)
        else:
            may = self._strangers.take(source_of_host(source.host), now)
        if not may:
            self._dropped["TOO_MANY"] += 1
            return
        signature = datagram[-SIGNATURE_BYTES:]
        if self._cache.came_before(sender, head.transaction):
            again = self._cache.again(sender, head.transaction, source, signature)
            if again is not None:
                self._endpoint.send(again, source)
            else:
                self._dropped["REPEATED"] += 1
            return
        if len(self._tasks) >= _MOST_ANSWERING:
            self._dropped["BUSY"] += 1
            return
        opened = self._endpoint.unseal(datagram, head)
        if opened is None:
            return
        is_there = not head.to_anyone and (shows_cookie or self._endpoint.paths.proved(sender, source))
        answered = self._cache.begin(sender, head.transaction, source, signature)
        self._take_on(_Asked(opened, answered, len(datagram), is_there), sender, now)

    async def close(self) -> None:
        """Answer nothing more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _take_on(self, asked: _Asked, sender: bytes, now: float) -> None:
        opened, source = asked.opened, asked.answered.source
        if asked.is_there and opened.record is not None and not self._proofs.knows(sender):
            if self._work.take(source_of_host(source.host), now):
                self._endpoint.admit(opened.record, sender, source)
            else:
                self._dropped["TOO_MUCH_WORK"] += 1
        known = asked.is_there and self._proofs.knows(sender)
        could_be_known = asked.is_there and (opened.record is not None or not opened.can_prove)
        if not (known or could_be_known or isinstance(opened.message, Ping)):
            self._send(Refused(Refusal.NOT_PROVEN), asked)
            return
        task = asyncio.create_task(self._answer(Contact(sender, (source,)) if known else None, asked))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, contact: Contact | None, asked: _Asked) -> None:
        question = asked.opened.message
        assert isinstance(question, Question) and self.answering is not None
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                answer = await self.answering(contact, question)
        except TimeoutError:
            self._dropped["TOO_SLOW"] += 1
            return
        except Exception:
            # Whatever a stranger asks must not end the node; it is our fault, and told.
            self._dropped["FAULT"] += 1
            _log.exception("A question was not answered, by a fault of bitrelay's own")
            return
        self._send(Pong(asked.answered.source) if isinstance(answer, Pong) else answer, asked)

    def _send(self, answer: Answer, asked: _Asked) -> None:
        opened, source = asked.opened, asked.answered.source
        sender = opened.head.sender
        own = self._endpoint.record() if opened.wants_record else None
        body = encode_body(answer)
        if len(body) > ROOM:
            answer = fitted(answer, ROOM)
            body = encode_body(answer)
        if own is not None and len(body) + len(own) > ROOM:
            own = None  # it pings for it
        most = MAX_DATAGRAM if asked.is_there else AMPLIFICATION * asked.size
        for record in dict.fromkeys((own, None)):
            sealed = self._endpoint.signer.seal(
                answer,
                sender,
                opened.head.transaction,
                self._cookies.make(source, sender),
                record=record,
                wants_record=opened.can_prove and not self._proofs.knows(sender),
                body=body,
            )
            if len(sealed) <= most:
                asked.answered.datagram = sealed
                self._endpoint.send(sealed, source)
                return
        self._dropped["WOULD_AMPLIFY"] += 1
