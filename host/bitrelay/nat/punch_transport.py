"""Peers behind address translation, over direct paths that a node both are connected to helps to open (row DSC-33).

Over a path goes what goes over UDP: messages acknowledged and in order, sealed from end to end. The node learns the
addresses of both ends and nothing else.
"""

import asyncio
from collections.abc import Callable

from ..errors import BitrelayError, LimitReached
from ..identity.local import LocalIdentity
from ..transports.address import Address, Via
from ..transports.arq import ArqSettings
from ..transports.channel import Channel
from ..transports.gate import Gate
from ..transports.outgoing import Outgoing
from ..transports.pipe import CLOSE_S, OPENING_S, Arrivals, Medium, Pipe
from ..transports.secure_transport import Limits, SecureTransport
from ..transports.udp_connections import UdpConnections, UdpPipe
from ..transports.udp_wire import Cookies, Place
from .punch import PunchedPath
from .rendezvous import Rendezvous, Send

_FAR_END: Place = ("far end", 0)


class _Connections(UdpConnections):
    # Those of one path: one, if all goes well.
    def __init__(self, settings: ArqSettings, medium: Medium, arrivals: Arrivals | None, remote: Address) -> None:
        super().__init__(
            settings,
            medium.dropped,
            arrivals,
            most=1,
            address_of=lambda _place: remote,
            cookies=Cookies(pack=lambda _place: b""),
        )
        self.ended = asyncio.Event()

    def forget(self, pipe: UdpPipe) -> None:
        super().forget(pipe)
        if not self.pipes:
            self.ended.set()


class _OpenPath:
    # A path and what goes over it; it is closed when that has ended, or when nothing comes of it.
    def __init__(self, path: PunchedPath, connections: _Connections, medium: Medium) -> None:
        self.connections = connections
        self._path = path
        self._outgoing = Outgoing(path.send, medium.dropped)
        connections.send = lambda datagram, _place: self._outgoing.put(datagram)

    async def run(self) -> None:
        work = [asyncio.create_task(self._read()), asyncio.create_task(self.connections.ended.wait())]
        try:
            await asyncio.wait(work, timeout=OPENING_S, return_when=asyncio.FIRST_COMPLETED)
            if self.connections.pipes:
                await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
            await self._outgoing.flush(CLOSE_S)
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            for pipe in tuple(self.connections.pipes.values()):
                self.connections.forget(pipe)
                pipe.vanish()
            await self._outgoing.close()
            await self._path.close()

    async def _read(self) -> None:
        while True:
            try:
                datagram = await self._path.receive()
            except BitrelayError:
                return
            self.connections.on_datagram(datagram, _FAR_END)
            self.connections.on_batch_end()


class PunchMedium(Medium):
    """Pipes over punched paths. most: paths that are open at once; offers beyond that are not taken up."""

    def __init__(
        self,
        send: Send,
        make: Callable[[bool], PunchedPath],
        *,
        settings: ArqSettings | None = None,
        most: int = 64,
    ) -> None:
        super().__init__()
        self.rendezvous = Rendezvous(send, make, may_open=self._may_open, on_path=self._arrived)
        self._settings = settings or ArqSettings()
        self._most = most
        self._arrivals: Arrivals | None = None
        self._paths: set[asyncio.Task[None]] = set()

    async def listen(self, address: Address, arrivals: Arrivals) -> Address:
        self._arrivals = arrivals
        return address

    async def open(self, address: Address) -> Pipe:
        assert isinstance(address, Via)
        if len(self._paths) >= self._most:
            raise LimitReached("too many direct paths are open", limit="max_paths")
        opened = self._keep(await self.rendezvous.punch(address.node, address.peer), address, None)
        return await opened.connections.open(address, _FAR_END)

    async def close(self) -> None:
        self._arrivals = None
        await self.rendezvous.close()
        for task in self._paths:
            task.cancel()
        await asyncio.gather(*self._paths, return_exceptions=True)

    def _may_open(self, peer: bytes) -> bool:
        return self._arrivals is not None and len(self._paths) < self._most

    async def _arrived(self, peer: bytes, path: PunchedPath) -> None:
        if self._arrivals is None:
            await path.close()
            return
        # By way of which node is of no interest any more.
        self._keep(path, Via(peer, bytes(len(peer))), self._arrivals)

    def _keep(self, path: PunchedPath, remote: Address, arrivals: Arrivals | None) -> _OpenPath:
        opened = _OpenPath(path, _Connections(self._settings, self, arrivals, remote), self)
        task = asyncio.get_running_loop().create_task(opened.run())
        self._paths.add(task)
        task.add_done_callback(self._paths.discard)
        return opened


class PunchTransport(SecureTransport):
    """Peers over punched paths.

    send: sends a message to a node that helps, which RendezvousNode takes; what comes back from it goes to hear().
    make: a PunchedPath for a role. It takes connections once listen() was called, with any via address.
    """

    accepts = (Via,)

    def __init__(
        self,
        send: Send,
        make: Callable[[bool], PunchedPath],
        own: Callable[[], LocalIdentity],
        *,
        gate: Gate | None = None,
        limits: Limits | None = None,
    ) -> None:
        medium = PunchMedium(send, make)
        super().__init__(medium, own, gate=gate, limits=limits)
        self._rendezvous = medium.rendezvous

    async def hear(self, node: bytes, message: bytes) -> bool:
        """Take a message of a node that helps; False for one that is none of its. Raises nothing."""
        return await self._rendezvous.hear(node, message)

    def _reached_at(self, channel: Channel) -> Address:
        remote = channel.pipe.remote
        assert isinstance(remote, Via)
        return Via(channel.peer_id, remote.node)
