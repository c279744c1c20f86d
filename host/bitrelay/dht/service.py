"""A node that runs for good: identity, network, state on disk, first nodes, and what keeps it there."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from shared_protocol.pow import DIFFICULTY_BASE

from ..defense.arrivals import address_group
from ..errors import (
    BitrelayError,
    DiskFull,
    PortError,
    TransportClosed,
    Unreachable,
)
from ..identity.difficulty import DifficultyConfig
from ..identity.local import update_identity
from ..identity.mining import MiningProgress, mine
from ..identity.proof import PowIdentity
from ..identity.record import from_record, to_record
from ..identity.service import IdentityService, Registration
from ..transports.address import Serial, Udp
from ..transports.relay_port import ConsolePort
from ..watched_task import watched
from .bootstrap import first_contacts
from .endpoint import Endpoint
from .events import Event
from .flood import FloodLimits
from .lan import LanDiscovery
from .mesh_discovery import MeshDiscovery
from .messages import Contact
from .node import DhtNode
from .snapshot import restore, snapshot
from .state import StateFile
from .state_directory import StateDirectory
from .state_identity import kept_identity, opened_cache
from .udp import UdpNetwork

_log = logging.getLogger(__name__)

SAVE_S: Final = 60.0
ALONE_S: Final = 30.0
"""How often a node that knows nobody tries again."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a node is to run.

    listen: IP addresses, one of each version; bootstrap: first nodes, whose names may be names; lan: look for nodes in
    the local network, on these interfaces of ours if any are given; relay: look for them in its mesh, by its console;
    difficulty: of our own proof of work, if it is made now, and the least that others must have.
    """

    listen: tuple[Udp, ...]
    bootstrap: tuple[Udp, ...] = ()
    lan: bool = False
    lan_interfaces: tuple[str, ...] | None = None
    relay: Serial | None = None
    difficulty: int = DIFFICULTY_BASE
    limits: FloodLimits = FloodLimits()


@dataclass(frozen=True, slots=True)
class Dropped:
    """Something of the state was lost: what, in words."""

    what: str


@dataclass(frozen=True, slots=True)
class Joined:
    """The node is in the network, and knows so many others."""

    nodes: int


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something does not go well, and is tried again."""

    error: BitrelayError


Told = Event | Dropped | Joined | Trouble


class NodeService:
    """The node whose state is in this directory.

    identity: its file, in the directory or elsewhere; made if there is none, and never replaced. tell: called with what
    happens, must not raise. on_progress: how the mining of an identity goes on.
    """

    def __init__(
        self,
        directory: StateDirectory,
        identity: Path,
        settings: Settings,
        *,
        tell: Callable[[Told], None] = lambda told: None,
        on_progress: Callable[[MiningProgress], None] = lambda progress: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.clock = clock
        self._directory = directory
        self._settings = settings
        self._tell = tell
        self._state = StateFile(directory)
        self._sequence = self._state.saved.sequence
        self._nodes: list[Any] = self._state.saved.snapshot["nodes"]
        try:
            self._cache = opened_cache(directory, clock)
        except BaseException:
            self._state.close()
            raise
        difficulty = settings.difficulty
        self.identity = IdentityService(
            kept_identity(directory, identity, difficulty, on_progress=on_progress, clock=clock),
            self._cache,
            mine=mine,
            save=partial(update_identity, identity),
            register=self._register,
            addresses=lambda: tuple(map(str, self.network.contact.addresses)) if self._up.is_set() else (),
            network_size=lambda: int(self.node.estimated_size()) if self._up.is_set() else 0,
            difficulty=DifficultyConfig(difficulty, difficulty),
            clock=clock,
        )
        self._network: UdpNetwork | None = None
        self._node: DhtNode | None = None
        self._contacts: list[Contact] = []
        self._up = asyncio.Event()
        self._joining = asyncio.Lock()
        self._saving = asyncio.Lock()
        self._record: tuple[PowIdentity, bytes] | None = None
        self._sources: list[LanDiscovery | MeshDiscovery] = []
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def network(self) -> UdpNetwork:
        """There from the start on."""
        assert self._network is not None
        return self._network

    @property
    def node(self) -> DhtNode:
        """There from the start on."""
        assert self._node is not None
        return self._node

    async def start(self) -> None:
        """Listen and join. Raises what `load_identity`, `generate`, `UdpNetwork.listen`, `ConsolePort.open` raise."""
        try:
            await self.identity.start()
            await self._listen()
        except BaseException:
            await self.stop()
            raise
        self._begin(self._save_now_and_then())
        self._begin(self._stay_joined())
        for source in self._sources:
            self._begin(self._greet_found(source))

    async def stop(self) -> None:
        """Save, and close all that is open. Harmless when it has not started."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self.identity.stop()
        try:
            for source in self._sources:
                await source.close()
            if self._node is not None:
                await self._node.stop()
            if self._up.is_set():
                await self.save()
        except BitrelayError as error:
            self._tell(Trouble(error))
        finally:
            if self._network is not None:
                await self._network.close()
            self._cache.close()
            self._state.close()

    async def save(self) -> None:
        """Keep what the node knows. Raises DiskFull, PortError."""
        async with self._saving:
            known = snapshot(self.node)
            # Whom it knew before it lost all of them, or has not reached yet, it will ask again.
            known["nodes"] = self._nodes = known["nodes"] or self._nodes
            await asyncio.to_thread(self._state.save, known, self._sequence)

    def next_sequence(self) -> int:
        """For a value of our user's: later than all before, and the time in ms if the clock was not set back."""
        self._sequence = max(self._sequence + 1, int(self.clock() * 1000))
        return self._sequence

    async def _listen(self) -> None:
        keys = self.identity.local.keys
        endpoint = Endpoint(keys, self._own_record, verify=self._verified, clock=self.clock)
        self._network = UdpNetwork(endpoint, self._settings.limits)
        for address in self._settings.listen:
            await self.network.listen(address)
        self._node = DhtNode(self.network, clock=self.clock, tell=self._tell)
        self._tell_losses()
        self.network.serve(self.node.answer)
        await self.node.start()
        if self._settings.lan:
            await self._search(LanDiscovery(keys.peer_id, self.network.bound, self._settings.lan_interfaces))
        if self._settings.relay is not None:
            # A port that was named and is none is a mistake of the user's: it is raised.
            port = await ConsolePort.open(self._settings.relay)
            await self._search(MeshDiscovery(port, keys.on_air_id, lambda: self.network.contact.addresses))
        self._up.set()

    async def _search(self, source: LanDiscovery | MeshDiscovery) -> None:
        try:
            await source.start()
        except PortError as error:
            self._tell(Trouble(error))  # there are other ways to find nodes
        else:
            self._sources.append(source)

    def _tell_losses(self) -> None:
        restored = restore(self.node, self._state.saved.snapshot)
        if self._cache.set_aside is not None:
            self._tell(Dropped(f"the peers we knew were damaged: {self._cache.set_aside}"))
        for aside in self._directory.set_aside:
            self._tell(Dropped(f"it was damaged and is set aside: {aside}"))
        lost = restored.dropped + self._state.saved.unreadable
        if lost:
            self._tell(Dropped(f"{lost} nodes or values that we knew cannot be read, or count no more"))

    def _own_record(self) -> bytes:
        local = self.identity.local
        if self._record is None or self._record[0] is not local.proof:
            self._record = local.proof, to_record(local.proof, local.keys)
        return self._record[1]

    def _verified(self, record: bytes, source: Udp) -> PowIdentity:
        try:
            return self.identity.admit(record, address_group(source.host), (str(source),))
        except (DiskFull, PortError) as error:
            _log.warning("A peer was not remembered: %s", error)
            return from_record(record, int(self.clock()), self._settings.difficulty)

    async def _register(self, registration: Registration) -> None:
        # Whoever we ask gets our record with the question: to be in the DHT is to have asked those who are near.
        await self._up.wait()
        await self._join()

    async def _join(self) -> None:
        async with self._joining:
            remembered = list(self.node.remembered)
            contacts = await first_contacts(self._settings.bootstrap, self.network.greet)
            known = await self.node.join(contacts)
            if not known:
                self.node.remembered = remembered
        if not known and (remembered or self._settings.bootstrap):
            error = Unreachable("none of the first nodes answers, nor of those it knew", hint="Check the network")
            self._tell(Trouble(error))
            raise error
        self._tell(Joined(known))

    async def _stay_joined(self) -> None:
        while True:
            await asyncio.sleep(ALONE_S)
            if len(self.node.table):
                self._contacts = [record.contact for record in self.node.table]
                continue
            self.node.remembered = self.node.remembered or self._contacts
            if self._joining.locked() or not (self._settings.bootstrap or self.node.remembered):
                continue
            try:
                await self._join()
            except BitrelayError:
                pass  # it was told

    async def _greet_found(self, source: LanDiscovery | MeshDiscovery) -> None:
        while True:
            try:
                address = await source.next()
            except TransportClosed as error:
                self._tell(Trouble(error))
                return
            try:
                contact = await self.network.greet(address)
                known = self.node.table.get(contact.node_id) is not None
                if not known:
                    await self.node.join([contact])
            except BitrelayError as error:
                _log.info("Nobody is at %s, though it was announced: %s", address, error)

    async def _save_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(SAVE_S)
            try:
                await self.save()
            except BitrelayError as error:
                self._tell(Trouble(error))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(watched(work, "A task of the node has failed"))
