"""A gateway that runs for good: identity, relays, other gateways, state on disk, numbers, and what asks for them."""

import logging
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from ..ble.session import LocalNode
from ..dht import service as dht
from ..dht.control import ControlServer
from ..dht.state_directory import StateDirectory
from ..dht.state_identity import kept_identity, opened_cache
from ..errors import BitrelayError
from ..identity.difficulty import DifficultyConfig
from ..identity.local import identity_path, update_identity
from ..identity.mining import MiningProgress, mine
from ..identity.service import IdentityService
from ..mesh.relay_ledger import RelayLedger
from ..transports.address import Address
from . import report
from .commands import Commands
from .config import GatewayConfig
from .config_file import load_config
from .engine import exchange_of
from .exchange import Exchange
from .gateway import Gateway
from .metrics import MetricsServer
from .relay_link import PortLink
from .relay_opening import relay_link
from .reload import reload
from .state import FRAMES, LEDGER, MESHES
from .store import FrameStore
from .told import Reloaded, ReloadRefused, SetAside, Told, Trouble

_log = logging.getLogger(__name__)


class GatewayService:
    """The gateway of one configuration file, whose state is in this directory.

    path: of the file, read again by reload(). tell: called with what happens, must not raise. on_progress: how the
    mining of an identity goes on, if there is none yet. clock: Unix seconds.
    """

    def __init__(
        self,
        path: Path,
        config: GatewayConfig,
        directory: StateDirectory,
        *,
        tell: Callable[[Told], None],
        on_progress: Callable[[MiningProgress], None] = lambda progress: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._config = config
        self._directory = directory
        self._tell = tell
        self._on_progress = on_progress
        self._clock = clock
        self._gateway: Gateway | None = None
        self._metrics: MetricsServer | None = None
        self._open = AsyncExitStack()

    @property
    def gateway(self) -> Gateway:
        """There from the start on."""
        assert self._gateway is not None
        return self._gateway

    @property
    def bound(self) -> tuple[Address, ...]:
        """Where we listen for other gateways."""
        return self.gateway.exchange.bound

    @property
    def metrics(self) -> str | None:
        """Where the numbers are served; None if they are not."""
        return self._metrics.address if self._metrics else None

    async def start(self) -> None:
        """Begin. Raises what `load_identity` and `generate` raise, and BitrelayErrors for ports that are taken, files
        that cannot be used, and what Exchange.start raises."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Say goodbye, save, and close all that is open, the last first. Harmless when it has not started."""
        try:
            await self._open.aclose()
        except BitrelayError as error:
            self._tell(Trouble(error))

    def reload(self) -> None:
        """Read the file again and go on with what it says; tells what came of it. A file with a mistake changes
        nothing."""
        try:
            wanted = load_config(self._path)
        except BitrelayError as error:
            self._tell(ReloadRefused(error))
            return
        exchange = self.gateway.exchange
        found = reload(self._config, wanted, exchange.live)
        try:
            self.gateway.configure(found.config)
        except BitrelayError as error:  # it is too much to be said to others
            self.gateway.configure(self._config)
            self._tell(ReloadRefused(error))
            return
        self._config = found.config
        exchange.configure(found.config.federation)
        self._tell(Reloaded(found.changed, found.restart))

    async def _start(self) -> None:
        # Whoever others talk to comes before what tells of it (row OPS-02).
        config = self._config
        identity, exchange = await self._identity_and_exchange()
        keys = identity.local.keys
        store = FrameStore(self._directory.path / FRAMES, config.store, self._clock)
        self._open.callback(store.close)
        self._tell_set_aside(store.set_aside)
        ledger = None
        if config.ledger.enabled:
            ledger = RelayLedger(self._directory.path / LEDGER, keys, self._clock)
            self._open.callback(ledger.close)
            self._tell_set_aside(ledger.set_aside)
        for aside in self._directory.set_aside:
            self._tell_set_aside(aside)
        relays = self._relays(lambda: LocalNode(keys.on_air_id, keys.peer_id))
        gateway = Gateway(
            keys.peer_id, config, exchange, relays, store, ledger,
            tell=self._tell, clock=self._clock, memory=self._directory.path / MESHES,
        )  # fmt: skip
        self._gateway = gateway
        self._open.push_async_callback(gateway.stop)
        if config.metrics is not None:
            self._metrics = MetricsServer(*config.metrics, self._numbers)
            await self._metrics.start()
            self._open.push_async_callback(self._metrics.close)
        await gateway.start()
        for links in relays.values():
            for link in links:
                link.start()
        control = ControlServer(self._directory.socket, Commands(self).handle)
        await control.start()
        self._open.push_async_callback(control.close)

    async def _identity_and_exchange(self) -> tuple[IdentityService, Exchange]:
        config, directory = self._config, self._directory
        path = directory.identity if config.state else identity_path()
        if config.dht is not None:
            where = config.dht
            node = dht.NodeService(
                directory,
                path,
                dht.Settings(where.listen, where.bootstrap, where.lan, difficulty=config.difficulty),
                tell=self._tell_of_dht,
                on_progress=self._on_progress,
                clock=self._clock,
            )
            self._open.push_async_callback(node.stop)
            await node.start()
            return node.identity, self._exchange(node.identity, node)
        cache = opened_cache(directory, self._clock)
        self._open.callback(cache.close)
        if cache.set_aside is not None:
            self._tell_set_aside(cache.set_aside)
        identity = IdentityService(
            kept_identity(directory, path, config.difficulty, on_progress=self._on_progress, clock=self._clock),
            cache,
            mine=mine,
            save=partial(update_identity, path),
            difficulty=DifficultyConfig(config.difficulty, config.difficulty),
            clock=self._clock,
        )
        self._open.push_async_callback(identity.stop)
        await identity.start()
        return identity, self._exchange(identity, None)

    def _exchange(self, identity: IdentityService, node: dht.NodeService | None) -> Exchange:
        return exchange_of(self._config, identity, node=node, clock=self._clock, on_trouble=self._trouble)

    def _relays(self, node: Callable[[], LocalNode]) -> dict[str, list[PortLink]]:
        relays = {}
        for mesh in self._config.meshes:
            relays[mesh.name] = [relay_link(address, node) for address in mesh.relays]
            for link in relays[mesh.name]:
                self._open.push_async_callback(link.close)
        return relays

    def _numbers(self) -> tuple[report.Values, list[report.Values], report.Values]:
        gateway = self.gateway
        return report.status(gateway), report.peers(gateway), report.traffic(gateway)

    def _tell_set_aside(self, aside: Path | None) -> None:
        if aside is not None:
            self._tell(SetAside(aside))

    def _tell_of_dht(self, told: dht.Told) -> None:
        match told:
            case dht.Trouble(error):
                self._trouble(error)
            case dht.Dropped(what):
                _log.warning("The DHT node dropped: %s", what)
            case dht.Joined(nodes):
                _log.info("The DHT node knows %d others", nodes)

    def _trouble(self, error: BitrelayError) -> None:
        self._tell(Trouble(error))
