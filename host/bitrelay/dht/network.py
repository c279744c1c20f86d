"""What a DHT node needs of a network: UDP is one (`udp`), a simulated one in memory another (`simulator`)."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from .messages import Answer, Contact, Question

ASK_TIMEOUT_S = 5.0
"""For an answer, other than to a ping (row DHT-19)."""
PING_TIMEOUT_S = 3.0


class Network(Protocol):
    """Takes questions to nodes and brings their answers; every answer is proved to be the asked node's."""

    @property
    def contact(self) -> Contact:
        """This node, as others should know it: its id and where it can be reached, as far as that is known."""
        ...

    async def ask(self, contact: Contact, question: Question, timeout: float = ASK_TIMEOUT_S) -> Answer:
        """Ask a node and wait for its answer; a lost question may be asked again within the time.

        Raises DeviceTimeout if there was none, PeerError for an answer that is none, or not that node's. A Refused is
        an answer.
        """
        ...

    def proved(self, contact: Contact) -> Contact:
        """The contact with those of its addresses alone at which it has answered lately, the last one first."""
        ...


Answering = Callable[[Contact | None, Question], Awaitable[Answer]]
"""What a network calls for every question that comes, and sends the answer of.

The contact is the node that asked, with the address it asked from: who it is and that it is there is proved, and so is
its work. None for one that has not proved all of that: it may be answered, and is not to be remembered or stored for.
"""
