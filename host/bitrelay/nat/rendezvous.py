"""How two hosts that cannot reach one another yet exchange offers: by way of a node that both are connected to.

Messages on the connection with that node (docs/protocol.md, "Rendezvous"):

    u8 kind, 32 bytes PeerId, 8 bytes number, offer

To the node the PeerId is whom it is for, from the node whom it is from: the node puts in there whom it has proved the
sender to be. OFFER is answered by ANSWER with the same number, or by ABSENT: the node has no such peer, or too much to
do. The node keeps nothing of them.
"""

import asyncio
import secrets
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from enum import IntEnum
from typing import Final

from ..errors import BadData, BitrelayError, DeviceTimeout, Unreachable
from ..transports.token_bucket import TokenBucket
from .offer import MAX_SIZE, decode, encode
from .punch import CONNECT_TIMEOUT_S, PunchedPath

_ID = 32
_NUMBER = 8
_HEAD = 1 + _ID + _NUMBER
MAX_MESSAGE: Final = _HEAD + MAX_SIZE

OFFERS_PER_MIN: Final = 20
"""That a node carries for one peer."""
PAIR_PER_MIN: Final = 6
"""Messages that it carries from one peer to one other. Answers have no other limit: else whoever sends somebody offers
could use up what it has for others."""
_MOST_BUDGETS = 4096
_MOST_INBOUND = 8
_MOST_OF_PEER = 2

Send = Callable[[bytes, bytes], Awaitable[None]]
"""Sends a message to a connected peer. Raises a BitrelayError if it cannot."""


class _Kind(IntEnum):
    OFFER = 1
    ANSWER = 2
    ABSENT = 3


class RendezvousNode:
    """The part of the node between the two. counts: by what became of messages."""

    def __init__(self, send: Send, is_connected: Callable[[bytes], bool], clock: Callable[[], float]) -> None:
        """clock: seconds that do not go back."""
        self.counts: Counter[str] = Counter()
        self._send = send
        self._is_connected = is_connected
        self._clock = clock
        # By sender, and by sender and receiver, both connected; those not used for longest go first.
        self._of_senders: OrderedDict[bytes, TokenBucket] = OrderedDict()
        self._of_pairs: OrderedDict[bytes, TokenBucket] = OrderedDict()

    async def hear(self, sender: bytes, message: bytes) -> bool:
        """Take a message of a connected peer; False for one that is not to be carried. Raises nothing."""
        if not _HEAD <= len(message) <= MAX_MESSAGE or message[0] not in (_Kind.OFFER, _Kind.ANSWER):
            return False
        receiver, number = message[1 : 1 + _ID], message[1 + _ID : _HEAD]
        carried = bytes((message[0],)) + sender + message[1 + _ID :]
        # Who invents receivers must not make us forget budgets.
        absent = receiver == sender or not self._is_connected(receiver)
        if message[0] == _Kind.OFFER and not _budget(self._of_senders, sender, OFFERS_PER_MIN).consume(self._clock()):
            self.counts["too many"] += 1
        elif absent:
            self.counts["absent"] += 1
        elif not _budget(self._of_pairs, sender + receiver, PAIR_PER_MIN).consume(self._clock()):
            self.counts["too many"] += 1
        elif await self._try_send(receiver, carried):
            self.counts["carried"] += 1
            return True
        if message[0] == _Kind.OFFER:
            await self._try_send(sender, bytes((_Kind.ABSENT,)) + receiver + number)
        return True

    async def _try_send(self, receiver: bytes, message: bytes) -> bool:
        try:
            await self._send(receiver, message)
        except BitrelayError:
            self.counts["not sent"] += 1
            return False
        return True


def _budget(budgets: OrderedDict[bytes, TokenBucket], key: bytes, per_min: int) -> TokenBucket:
    budget = budgets.get(key)
    if budget is None:
        budget = budgets[key] = TokenBucket(per_min, per_min / 60)
        if len(budgets) > _MOST_BUDGETS:
            budgets.popitem(last=False)
    budgets.move_to_end(key)
    return budget


class Rendezvous:
    """The part of either end.

    make: a PunchedPath for a role, `lambda starts: PunchedPath(starts, stun)`. may_open: whether a peer's offer is to
    be taken up. on_path: gets each path that another host's offer led to, and owns it from then on.
    """

    def __init__(
        self,
        send: Send,
        make: Callable[[bool], PunchedPath],
        *,
        may_open: Callable[[bytes], bool] = lambda _peer: True,
        on_path: Callable[[bytes, PunchedPath], Awaitable[None]],
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._send = send
        self._make = make
        self._may_open = may_open
        self._on_path = on_path
        self._asked: dict[bytes, tuple[bytes, asyncio.Future[bytes]]] = {}
        # By task, of which peer.
        self._inbound: dict[asyncio.Task[None], bytes] = {}

    async def punch(self, node: bytes, peer: bytes, timeout: float = CONNECT_TIMEOUT_S) -> PunchedPath:
        """A path to a peer that the node is connected to as we are; the caller closes it.

        Raises Unreachable, DeviceTimeout, BadData for an answer that is none, and what sending raises.
        """
        path = self._make(True)
        number = secrets.token_bytes(_NUMBER)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._asked[number] = (peer, answer)
        try:
            async with asyncio.timeout(timeout):
                offer = encode(await path.offer())
                await self._send(node, bytes((_Kind.OFFER,)) + peer + number + offer)
                other = decode(await answer)
                await path.connect(other, timeout)
        except TimeoutError as late:
            await path.close()
            raise DeviceTimeout("no path to the peer was found in time", device=peer.hex()) from late
        except BaseException:
            await path.close()
            raise
        finally:
            del self._asked[number]
            answer.cancel()
        return path

    async def hear(self, node: bytes, message: bytes) -> bool:
        """Take a message of the node; False for one that is none of these. Raises nothing."""
        if not _HEAD <= len(message) <= MAX_MESSAGE:
            return False
        peer, number, rest = message[1 : 1 + _ID], message[1 + _ID : _HEAD], message[_HEAD:]
        if message[0] == _Kind.OFFER:
            self._take_offer(node, peer, number, rest)
        elif message[0] in (_Kind.ANSWER, _Kind.ABSENT):
            awaited, answer = self._asked.get(number, (b"", None))
            if answer is None or answer.done() or awaited != peer:
                self.counts["nobody waits"] += 1
            elif message[0] == _Kind.ANSWER:
                answer.set_result(rest)
            else:
                answer.set_exception(
                    Unreachable("the node in between is not connected to it, or is too busy", device=peer.hex())
                )
        else:
            return False
        return True

    async def close(self) -> None:
        """End what is under way."""
        for task in list(self._inbound):
            task.cancel()
        await asyncio.gather(*self._inbound, return_exceptions=True)

    def _take_offer(self, node: bytes, peer: bytes, number: bytes, offer: bytes) -> None:
        of_peer = sum(each == peer for each in self._inbound.values())
        if len(self._inbound) >= _MOST_INBOUND or of_peer >= _MOST_OF_PEER:
            self.counts["too many"] += 1
        elif not self._may_open(peer):
            self.counts["not wanted"] += 1
        else:
            task = asyncio.get_running_loop().create_task(self._take_up(node, peer, number, offer))
            self._inbound[task] = peer
            task.add_done_callback(self._inbound.pop)

    async def _take_up(self, node: bytes, peer: bytes, number: bytes, offer: bytes) -> None:
        path = self._make(False)
        try:
            other = decode(offer)
            answer = encode(await path.offer())
            await self._send(node, bytes((_Kind.ANSWER,)) + peer + number + answer)
            await path.connect(other)
        except BadData:
            self.counts["bad offer"] += 1
            await path.close()
        except BitrelayError:
            self.counts["no path"] += 1
            await path.close()
        except BaseException:
            await path.close()
            raise
        else:
            self.counts["opened"] += 1
            await self._on_path(peer, path)
