"""Questions to other nodes over UDP, and their answers (row DHT-16).

A node that does not know us yet refuses the first question, with a cookie; it gets it once more with the cookie and, if
it wants it, our proof of work. Nobody above sees it.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from ..errors import BitrelayError, DeviceTimeout, PeerError, TransportClosed
from ..transports.address import Udp
from .endpoint import Endpoint
from .message_codec import encode_body
from .messages import Answer, Contact, Ping, Pong, Question, Refusal, Refused
from .network import ASK_TIMEOUT_S, PING_TIMEOUT_S
from .observed import ObservedAddress
from .paths import MOST_RTO_S, Path
from .wire import ANYONE, ROOM, TRANSACTION_SIZE, Head

_MOST_ASKING: Final = 512  # questions at once; more wait
_TURNS: Final = 3  # as we are, with the cookie, with the record


@dataclass(slots=True)
class _Asking:
    # A question on its way. node_id: None for whoever is at that address.
    node_id: bytes | None
    question: Question
    places: tuple[Udp, ...]
    answer: "asyncio.Future[tuple[bytes, Udp, Answer]]"
    sealed: dict[Udp, bytes] = field(default_factory=dict)
    sends: int = 0
    sent_at: float = 0.0
    wait_s: float = 0.0
    timer: asyncio.TimerHandle | None = None


class Questions:
    """What this node asks. observed: where those whom it pinged see it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.observed = ObservedAddress()
        self._endpoint = endpoint
        self._proofs = endpoint.proofs
        self._asking: dict[bytes, _Asking] = {}
        self._slots = asyncio.Semaphore(_MOST_ASKING)
        self._closed = False

    async def ask(self, contact: Contact, question: Question, timeout: float = ASK_TIMEOUT_S) -> Answer:
        """As `network.Network` has it; of the contact's addresses the first is tried first, the others in turn.

        Raises PeerError, too, for a node without proof of work, and for one with no address that we have a socket for.
        """
        places = tuple(address for address in contact.addresses if self._endpoint.reaches(address))
        if not places:
            raise PeerError("none of its addresses can be reached from here", device=contact.node_id.hex())
        try:
            async with asyncio.timeout(timeout), self._slots:
                return await self._ask(contact.node_id, places, question)
        except TimeoutError:
            raise DeviceTimeout(f"no answer within {timeout:g} s", device=str(places[0])) from None

    async def greet(self, address: Udp, timeout: float = PING_TIMEOUT_S) -> Contact:
        """Find out which node is at an IP address. Raises what `ask` raises."""
        if not self._endpoint.reaches(address):
            raise PeerError("it cannot be reached from here", device=str(address))
        try:
            async with asyncio.timeout(timeout), self._slots:
                node_id, place, _ = await self._exchange(None, (address,), Ping())
        except TimeoutError:
            raise DeviceTimeout(f"no answer within {timeout:g} s", device=str(address)) from None
        self._demand_work(node_id, place)
        return Contact(node_id, (place,))

    async def _ask(self, node_id: bytes, places: tuple[Udp, ...], question: Question) -> Answer:
        for turn in range(_TURNS):
            _, place, answer = await self._exchange(node_id, places, question)
            # The next question goes where somebody is.
            places = (place, *(other for other in places if other != place))
            if answer != Refused(Refusal.NOT_PROVEN) or turn == _TURNS - 1:
                break
            if not self._fits_with_record(self._endpoint.paths.to(node_id, place), question):
                await self._exchange(node_id, places, Ping())
        if not self._proofs.knows(node_id):
            # There was no room for its record beside its answer.
            await self._exchange(node_id, places, Ping())
            self._demand_work(node_id, places[0])
        return answer

    def _demand_work(self, node_id: bytes, place: Udp) -> None:
        if not self._proofs.knows(node_id):
            raise PeerError("the node there has shown no proof of work that holds", device=str(place))

    async def _exchange(
        self, node_id: bytes | None, places: tuple[Udp, ...], question: Question
    ) -> tuple[bytes, Udp, Answer]:
        # Ask until there is an answer, or nobody waits any more: who answered, from where, what.
        if self._closed:
            raise TransportClosed("the network was closed")
        transaction = self._endpoint.random(TRANSACTION_SIZE)
        asking = _Asking(node_id, question, places, asyncio.get_running_loop().create_future())
        self._asking[transaction] = asking
        try:
            self._send_question(transaction, asking)
            return await asking.answer
        finally:
            del self._asking[transaction]
            if asking.timer is not None:
                asking.timer.cancel()

    def _send_question(self, transaction: bytes, asking: _Asking) -> None:
        place = asking.places[asking.sends % len(asking.places)]
        path = Path() if asking.node_id is None else self._endpoint.paths.to(asking.node_id, place)
        sealed = asking.sealed.get(place)
        if sealed is None:
            sealed = asking.sealed[place] = self._seal_question(transaction, asking, path)
        asking.wait_s = path.rto if asking.sends == 0 else min(MOST_RTO_S, 2 * asking.wait_s)
        asking.sends += 1
        asking.sent_at = self._endpoint.steady()
        asking.timer = asyncio.get_running_loop().call_later(asking.wait_s, self._send_question, transaction, asking)
        self._endpoint.send(sealed, place)

    def _seal_question(self, transaction: bytes, asking: _Asking, path: Path) -> bytes:
        own = self._endpoint.record()
        shown = own if path.wants_record and self._fits_with_record(path, asking.question) else None
        return self._endpoint.signer.seal(
            asking.question,
            asking.node_id or ANYONE,
            transaction,
            path.cookie,
            record=shown,
            wants_record=asking.node_id is None or not self._proofs.knows(asking.node_id),
            can_prove=own is not None,
        )

    def _fits_with_record(self, path: Path, question: Question) -> bool:
        own = self._endpoint.record() if path.wants_record else None
        return own is None or len(encode_body(question)) + len(own) <= ROOM

    def take(self, head: Head, datagram: bytes, source: Udp) -> None:
        """Take an answer that came from there, if it is one to what was asked."""
        asking = self._asking.get(head.transaction)
        if asking is None or source not in asking.sealed or asking.answer.done():
            self._endpoint.traffic.dropped["UNASKED"] += 1
            return
        opened = self._endpoint.unseal(datagram, head)
        if opened is None:
            return
        sender = head.sender
        if asking.node_id is not None and sender != asking.node_id:
            _fail(asking, PeerError("another node answers there", device=str(source)))
            return
        message = opened.message
        assert isinstance(message, Answer)
        path = self._endpoint.paths.to(sender, source)
        path.cookie, path.wants_record, path.heard_at = head.cookie, opened.wants_record, self._endpoint.steady()
        if asking.sends == 1:
            path.measured(self._endpoint.steady() - asking.sent_at)
        if opened.record is not None and not self._proofs.knows(sender):
            self._endpoint.admit(opened.record, sender, source)
        if isinstance(message, Pong) and message.observed is not None and self._proofs.knows(sender):
            self.observed.tell(sender, message.observed)
        asking.answer.set_result((sender, source, message))

    def close(self) -> None:
        """Questions that wait fail with TransportClosed."""
        self._closed = True
        for asking in self._asking.values():
            if not asking.answer.done():
                _fail(asking, TransportClosed("the network was closed"))


def _fail(asking: _Asking, error: BitrelayError) -> None:
    asking.answer.set_exception(error)
    asking.answer.exception()  # else asyncio complains if the one who waits was told to stop at the same time
