"""Asks STUN servers where they see this host (RFC 5389, RFC 5780), with the messages of `aioice`."""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from typing import Final, cast

from aioice import stun

from ..errors import PortError, Unreachable
from ..transports.address import Udp
from .kind import Findings

TIMEOUT_S: Final = 3.0
_TRIES = 3
_MOST_SERVERS = 4
_MOST_DATAGRAM = 1500
# CHANGE-REQUEST: answer from another address, from another port (RFC 5780 section 7.2).
_CHANGE_BOTH = 0x06
_CHANGE_PORT = 0x02

_Socket = tuple[str, int]


class _Client(asyncio.DatagramProtocol):
    # One socket for all questions: what is to be found out is how that one is seen.
    def __init__(self) -> None:
        self._waiting: dict[bytes, asyncio.Future[stun.Message]] = {}
        self._transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        if len(data) > _MOST_DATAGRAM:
            return
        try:
            message = stun.parse_message(data)
        except Exception:
            # Whatever a stranger's bytes make of somebody else's parser, they are no answer.
            return
        answer = self._waiting.get(message.transaction_id)
        if answer is not None and not answer.done() and message.message_class == stun.Class.RESPONSE:
            answer.set_result(message)

    def error_received(self, exc: Exception) -> None:
        pass  # an unreachable server is one that does not answer

    async def ask(self, server: _Socket, change: int, timeout: float) -> stun.Message | None:
        """The answer of a server, None if there is none in time. change: bits of CHANGE-REQUEST."""
        question = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        if change:
            question.attributes["CHANGE-REQUEST"] = change
        answer: asyncio.Future[stun.Message] = asyncio.get_running_loop().create_future()
        self._waiting[question.transaction_id] = answer
        try:
            for _ in range(_TRIES):
                self._transport.sendto(bytes(question), server)
                try:
                    async with asyncio.timeout(timeout / _TRIES):
                        return await asyncio.shield(answer)
                except TimeoutError:
                    pass
            return None
        finally:
            del self._waiting[question.transaction_id]
            answer.cancel()


async def find_out(servers: Sequence[Udp], *, bind: Udp | None = None, timeout: float = TIMEOUT_S) -> Findings:
    """What STUN servers say of a new socket; the first four of them are asked, each `timeout` seconds at most.

    One that has a second address (OTHER-ADDRESS) is asked there as well, and to answer from there. bind: where the
    socket is to be, any free port if not given. Raises Unreachable for a server whose name nobody knows, PortError.
    """
    loop = asyncio.get_running_loop()
    asked = [await _resolve(server) for server in servers[:_MOST_SERVERS]]
    if not asked:
        raise Unreachable("no STUN server was named")
    family = socket.AF_INET6 if ":" in asked[0][0] else socket.AF_INET
    place = (bind.host, bind.port) if bind else (await _source(asked[0], family), 0)
    try:
        transport, client = await loop.create_datagram_endpoint(_Client, local_addr=place, family=family)
    except OSError as error:
        raise PortError(f"no socket: {error.strerror or error}", device=f"{place[0]}:{place[1]}") from None
    try:
        host, port = transport.get_extra_info("sockname")[:2]
        return await _question(client, asked, Udp(host, port), timeout)
    finally:
        transport.close()


async def _question(client: _Client, servers: Sequence[_Socket], local: Udp, timeout: float) -> Findings:
    mapped: list[Udp] = []
    with_other: tuple[_Socket, _Socket] | None = None
    for answer, server in zip(
        await asyncio.gather(*(client.ask(server, 0, timeout) for server in servers)), servers, strict=True
    ):
        seen = None if answer is None else _mapped(answer)
        if answer is None or seen is None:
            continue
        mapped.append(seen)
        other = _place(answer.attributes.get("OTHER-ADDRESS") or answer.attributes.get("CHANGED-ADDRESS"))
        if with_other is None and other is not None and other[0] != server[0] and other[1] != server[1]:
            with_other = (server, other)
    if with_other is None:
        return Findings(local, tuple(mapped))
    # One after the other, and strangers first: what we send to somebody opens the way for its answers.
    server, other = with_other
    from_address = await client.ask(server, _CHANGE_BOTH, timeout) is not None
    from_port = from_address or await client.ask(server, _CHANGE_PORT, timeout) is not None
    answer = await client.ask(other, 0, timeout)
    seen = None if answer is None else _mapped(answer)
    return Findings(local, (*mapped, seen) if seen else tuple(mapped), from_address, from_port)


def _mapped(answer: stun.Message) -> Udp | None:
    place = _place(answer.attributes.get("XOR-MAPPED-ADDRESS") or answer.attributes.get("MAPPED-ADDRESS"))
    return Udp(*place) if place else None


def _place(value: object) -> _Socket | None:
    match value:
        case (str() as host, int() as port) if 0 < port <= 0xFFFF:
            try:
                return str(ipaddress.ip_address(host)), port
            except ValueError:
                return None
    return None


async def _resolve(server: Udp) -> _Socket:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(server.host, server.port, type=socket.SOCK_DGRAM)
    except OSError:
        raise Unreachable("nobody knows this host", device=str(server)) from None
    place = found[0][4]
    return str(place[0]), int(place[1])


async def _source(server: _Socket, family: int) -> str:
    # The address that packets to the server leave from; connecting a UDP socket sends nothing.
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(server)
            return str(probe.getsockname()[0])
    except OSError as error:
        raise Unreachable(f"there is no way to it: {error.strerror or error}", device=f"{server[0]}") from None
