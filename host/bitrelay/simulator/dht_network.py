"""A network in memory for DHT nodes: questions take time, some are lost, and nodes that are gone answer nothing.

Who is asked where it is not does not answer either. Of several addresses each but the first costs NEXT_S.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from ..dht.messages import Answer, Contact, Question
from ..dht.network import ASK_TIMEOUT_S
from ..errors import DeviceTimeout
from ..transports.address import Udp

if TYPE_CHECKING:
    from .virtual_time import VirtualTimeLoop

NEXT_S = 0.5
Replying = Callable[[Contact | None, Question], Answer]


@dataclass(frozen=True, slots=True)
class Conditions:
    """median_latency_s: one way, log-normal with this sigma; loss: the part of datagrams that never arrive.

    A question whose datagram or answer was lost is asked again `tries` times, as UDP nodes do, `again_s` apart.
    """

    median_latency_s: float = 0.05
    sigma: float = 0.5
    loss: float = 0.0
    tries: int = 2
    again_s: float = 1.0


class MemoryNetwork:
    """All nodes that are up. Runs in a VirtualTimeLoop."""

    def __init__(self, loop: "VirtualTimeLoop", random: Random, conditions: Conditions | None = None) -> None:
        self.loop = loop
        self.random = random
        self.conditions = conditions or Conditions()
        self.questions = 0
        self.lost = 0
        self._up: dict[bytes, tuple[tuple[Udp, ...], Replying]] = {}

    def attach(self, contact: Contact) -> "Attachment":
        """One node's access. It is down until `Attachment.up` is called."""
        return Attachment(self, contact)

    def reply_of(self, contact: Contact) -> tuple[float, Replying] | None:
        """What answers there, and after how many seconds it is found among the addresses; None if nobody is there."""
        up = self._up.get(contact.node_id)
        if up is None:
            return None
        own, reply = up
        if own == contact.addresses:
            return 0.0, reply
        for place, address in enumerate(contact.addresses):
            if address in own:
                return NEXT_S * place, reply
        return None

    def latency(self) -> float:
        """Of one datagram, in seconds."""
        return self.conditions.median_latency_s * self.random.lognormvariate(0.0, self.conditions.sigma)

    def lose(self) -> bool:
        """Whether the next datagram gets lost."""
        return self.conditions.loss > 0 and self.random.random() < self.conditions.loss


class Attachment:
    """What one node has of the network: a `bitrelay.dht.network.Network`."""

    def __init__(self, network: MemoryNetwork, contact: Contact) -> None:
        self._network = network
        self._contact = contact

    @property
    def contact(self) -> Contact:
        return self._contact

    @property
    def is_up(self) -> bool:
        return self._contact.node_id in self._network._up

    def up(self, reply: Replying) -> None:
        """Others reach the node from now on; reply answers them."""
        self._network._up[self._contact.node_id] = (self._contact.addresses, reply)

    def down(self) -> None:
        """It is gone, without a word."""
        self._network._up.pop(self._contact.node_id, None)

    async def ask(self, contact: Contact, question: Question, timeout: float = ASK_TIMEOUT_S) -> Answer:
        network = self._network
        network.questions += 1
        future: asyncio.Future[Answer] = network.loop.create_future()
        deadline = network.loop.time() + timeout
        self._send(future, contact, question, deadline, network.conditions.tries)
        return await future

    def proved(self, contact: Contact) -> Contact:
        """As `bitrelay.dht.network.Network` has it: the first of its addresses that is its own."""
        own, _ = self._network._up.get(contact.node_id, ((), None))
        return Contact(contact.node_id, tuple(address for address in contact.addresses if address in own)[:1])

    def _send(
        self, future: asyncio.Future[Answer], contact: Contact, question: Question, deadline: float, tries: int
    ) -> None:
        # One datagram; what becomes of it ends the wait, once.
        if future.done():
            return
        network = self._network
        delay, there = network.latency(), network.reply_of(contact)
        if there is not None and not network.lose():
            network.loop.deliver_later(delay + there[0], self._arrive, future, contact, question, deadline, tries)
        else:
            self._missed(future, contact, question, deadline, tries)

    def _arrive(
        self, future: asyncio.Future[Answer], contact: Contact, question: Question, deadline: float, tries: int
    ) -> None:
        network = self._network
        there = network.reply_of(contact)
        if there is not None and self.is_up:
            answer = there[1](self._contact, question)
            if not network.lose():
                network.loop.deliver_later(network.latency(), _settle, future, answer, deadline)
                return
        self._missed(future, contact, question, deadline, tries)

    def _missed(
        self,
        future: asyncio.Future[Answer],
        contact: Contact,
        question: Question,
        deadline: float,
        tries: int,
    ) -> None:
        network = self._network
        network.lost += 1
        again = network.loop.time() + network.conditions.again_s
        if network.reply_of(contact) is not None and tries > 0 and again < deadline:
            network.loop.deliver_later(
                network.conditions.again_s, self._send, future, contact, question, deadline, tries - 1
            )
        else:
            network.loop.deliver_later(max(0.0, deadline - network.loop.time()), _expire, future)


def _settle(future: "asyncio.Future[Answer]", answer: Answer, deadline: float) -> None:
    if future.done():
        return
    if future.get_loop().time() <= deadline:
        future.set_result(answer)
    else:
        _expire(future)


def _expire(future: "asyncio.Future[Answer]") -> None:
    if not future.done():
        future.set_exception(DeviceTimeout("the node did not answer in time"))


def address_of(number: int) -> Udp:
    """The address of the node with this number: each is in a /24 of its own, all of them in public networks."""
    high, low = divmod(number, 256)
    return Udp(f"{20 + (high >> 8) % 80}.{high & 255}.{low}.1", 8766)
