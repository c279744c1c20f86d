"""The DHT's network over UDP: a `network.Network`. `udp_questions` asks, `udp_answers` answers."""

from typing import Final

from ..errors import BadDatagram, TransportClosed
from ..nat.stun_server import answer_to, is_stun
from ..transports.address import Udp
from ..transports.token_bucket import TokenBucket
from .endpoint import Endpoint, Traffic
from .flood import FloodLimits
from .messages import MAX_ADDRESSES, Answer, Contact, Question
from .network import ASK_TIMEOUT_S, PING_TIMEOUT_S, Answering
from .places import Reach, reach
from .proofs import ProvenNodes
from .udp_answers import Answers
from .udp_questions import Questions
from .wire import peek

STUN_PER_S: Final = 100
"""Answers to all who ask where they are seen."""


class UdpNetwork:
    """Questions and answers of one node over UDP, on a socket of each IP version that `listen` was called with.

    Others are answered from `serve` on, and told where they are seen if they ask as STUN has it. limits: how much they
    may ask for.
    """

    def __init__(self, endpoint: Endpoint, limits: FloodLimits = FloodLimits()) -> None:
        self._endpoint = endpoint
        self._questions = Questions(self._endpoint)
        self._answers = Answers(self._endpoint, limits)
        self._stun = TokenBucket(STUN_PER_S, STUN_PER_S)
        self._closed = False

    @property
    def contact(self) -> Contact:
        """This node: first where others see it, then where it listens, if that says anything."""
        bound = [address for address in self.bound if reach(address.host) is not Reach.NOWHERE]
        addresses = dict.fromkeys((*self.seen, *bound))
        return Contact(self._endpoint.node_id, tuple(addresses)[:MAX_ADDRESSES])

    @property
    def seen(self) -> tuple[Udp, ...]:
        """Where others see it, as far as enough of them agree: none until they have said so."""
        return self._questions.observed.addresses

    @property
    def bound(self) -> tuple[Udp, ...]:
        """The addresses that it listens at."""
        return self._endpoint.bound

    @property
    def traffic(self) -> Traffic:
        """What came and went."""
        return self._endpoint.traffic

    @property
    def proofs(self) -> ProvenNodes:
        """Whose work is known."""
        return self._endpoint.proofs

    @property
    def table_sizes(self) -> dict[str, int]:
        """How many entries each of its tables has; all are bounded."""
        return self._answers.table_sizes | {"proofs": len(self.proofs), "paths": len(self._endpoint.paths)}

    def serve(self, answering: Answering) -> None:
        """Answer what others ask with what this says."""
        self._answers.answering = answering

    async def listen(self, address: Udp) -> Udp:
        """Open a socket at an IP address, one of each version; the address it has become (port 0 means any).

        Raises WrongAddress, PortBusy, PortError, TransportClosed.
        """
        if self._closed:
            raise TransportClosed("the network was closed")
        return await self._endpoint.listen(address, self.receive)

    async def ask(self, contact: Contact, question: Question, timeout: float = ASK_TIMEOUT_S) -> Answer:
        """As `network.Network` has it. Of the contact's addresses the first is tried first, the others in turn.

        A PeerError, too, for a node without proof of work, and for one with no address that we have a socket for.
        """
        return await self._questions.ask(contact, question, timeout)

    def proved(self, contact: Contact) -> Contact:
        """As `network.Network` has it."""
        return Contact(contact.node_id, self._endpoint.paths.proved_of(contact.node_id, contact.addresses))

    async def greet(self, address: Udp, timeout: float = PING_TIMEOUT_S) -> Contact:
        """Find out which node is at an IP address. Raises what `ask` raises."""
        return await self._questions.greet(address, timeout)

    async def close(self) -> None:
        """Close the sockets; questions that wait fail with TransportClosed. Harmless when it is closed."""
        self._closed = True
        self._questions.close()
        await self._answers.close()
        await self._endpoint.close()

    def receive(self, datagram: bytes, source: Udp) -> None:
        """Take a datagram that came from there. Whatever it is, nothing is raised."""
        if is_stun(datagram):
            self._answer_stun(datagram, source)
            return
        try:
            head = peek(datagram)
        except BadDatagram as error:
            self.traffic.dropped[error.fault.name] += 1
            return
        if head.sender == self._endpoint.node_id:
            self.traffic.dropped["OWN"] += 1
        elif head.question:
            self._answers.take(head, datagram, source)
        else:
            self._questions.take(head, datagram, source)

    def _answer_stun(self, datagram: bytes, source: Udp) -> None:
        # Any node tells others where they are seen, so that finding out what they are behind needs nobody's server.
        answer = (
            answer_to(datagram, (source.host, source.port)) if self._stun.consume(self._endpoint.steady()) else None
        )
        if answer is None:
            self.traffic.dropped["STUN"] += 1
        else:
            self._endpoint.send(answer.datagram, source)
