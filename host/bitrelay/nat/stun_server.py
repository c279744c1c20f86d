"""Tells hosts where they are seen (RFC 5389): what any node with a public address can do for others.

With a second address it also answers from there (RFC 5780), so that hosts can find out what kind of translation they
are behind. It keeps nothing, and an answer is never longer than three times its question.
"""

import asyncio
import socket
from dataclasses import dataclass
from typing import Final, Self

from aioice import stun

from ..errors import PortError
from ..transports.address import Udp

_SHORTEST: Final = 20
_LONGEST: Final = 548
_GROWTH: Final = 3
_COOKIE: Final = bytes.fromhex("2112a442")

_Socket = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Answer:
    """change: the bits of CHANGE-REQUEST, 4 to send it from the other address, 2 from the other port."""

    datagram: bytes
    change: int


def is_stun(data: bytes) -> bool:
    """Whether a datagram looks like one of STUN's, for sockets that have other traffic as well (RFC 7983)."""
    return len(data) >= _SHORTEST and data[0] < 4 and data[4:8] == _COOKIE


def answer_to(data: bytes, source: _Socket, other: _Socket | None = None) -> Answer | None:
    """The answer to a binding request, None for anything else. source: who asked; other: the second address and port,
    if there are such. Raises for no bytes whatever."""
    if len(data) > _LONGEST or not is_stun(data):
        return None
    try:
        question = stun.parse_message(data)
    except Exception:
        # aioice's parser raises more than it says for some bytes.
        return None
    if (question.message_class, question.message_method) != (stun.Class.REQUEST, stun.Method.BINDING):
        return None
    change = question.attributes.get("CHANGE-REQUEST", 0)
    if change and other is None:
        return None
    answer = stun.Message(
        message_method=stun.Method.BINDING,
        message_class=stun.Class.RESPONSE,
        transaction_id=question.transaction_id,
    )
    answer.attributes["XOR-MAPPED-ADDRESS"] = source
    if other is not None and ":" not in source[0]:
        # With two IPv6 addresses the answer to a bare question would be more than three times as long.
        answer.attributes["OTHER-ADDRESS"] = other
    datagram = bytes(answer)
    return Answer(datagram, change) if len(datagram) <= _GROWTH * len(data) else None


class StunServer:
    """Sockets at one address, or at two addresses with two ports each; made by open().

    counts: answered, and refused (no question, or too short a one for its answer).
    """

    def __init__(self) -> None:
        self.answered = 0
        self.refused = 0
        self._sockets: dict[tuple[int, int], asyncio.DatagramTransport] = {}
        """By number of address and of port; the first is (0, 0)."""

    @classmethod
    async def open(cls, first: Udp, second: Udp | None = None) -> Self:
        """Answer at an address; with `second`, whose host and port must differ from the first's, at all four pairs of
        hosts and ports. Port 0 means any. Raises PortError."""
        server = cls()
        try:
            one = await server._add((0, 0), first.host, first.port)
            if second is not None:
                other = await server._add((1, 1), second.host, second.port)
                await server._add((0, 1), first.host, other)
                await server._add((1, 0), second.host, one)
        except BaseException:
            server.close()
            raise
        return server

    @property
    def address(self) -> Udp:
        """The first address it answers at."""
        host, port = self._place((0, 0))
        return Udp(host, port)

    def close(self) -> None:
        for transport in self._sockets.values():
            transport.close()

    async def _add(self, number: tuple[int, int], host: str, port: int) -> int:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: _Ear(self, number), local_addr=(host, port), family=family
            )
        except OSError as error:
            raise PortError(f"no socket: {error.strerror or error}", device=f"udp://{host}:{port}") from None
        self._sockets[number] = transport
        return int(transport.get_extra_info("sockname")[1])

    def _place(self, number: tuple[int, int]) -> _Socket:
        host, port = self._sockets[number].get_extra_info("sockname")[:2]
        return str(host), int(port)

    def hear(self, number: tuple[int, int], data: bytes, source: _Socket) -> None:
        """Answer a datagram that came to one of the sockets."""
        other = self._place((number[0] ^ 1, number[1] ^ 1)) if len(self._sockets) > 1 else None
        answer = answer_to(data, source, other)
        if answer is None:
            self.refused += 1
            return
        self.answered += 1
        change = answer.change
        sender = (number[0] ^ (change >> 2 & 1), number[1] ^ (change >> 1 & 1))
        self._sockets[sender].sendto(answer.datagram, source)


class _Ear(asyncio.DatagramProtocol):
    def __init__(self, server: StunServer, number: tuple[int, int]) -> None:
        self._server = server
        self._number = number

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        self._server.hear(self._number, data, (str(addr[0]), int(addr[1])))

    def error_received(self, exc: Exception) -> None:
        pass  # who asked has gone
