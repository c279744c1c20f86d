"""Scanning: four seconds in every five, everything heard merged into the table of peers, what changed told.

Scanning all the time would leave a shared antenna no room for the links; advertisements come several times a second, so
that four seconds miss nobody who is there.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

from bleak import BleakScanner
from bleak.args.bluez import BlueZScannerArgs
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData

from ..errors import BitrelayError, NoBluetooth
from .adapter import RESTART, Adapter, bluetooth_errors
from .clock import Clock, SystemClock
from .events import DiscoveryError, Event
from .peers import PeerTable
from .sighting import SERVICE_UUIDS, Rejection, read_sighting

SCAN_INTERVAL_S = 5.0
SCAN_WINDOW_S = 4.0

START_TIMEOUT_S = 5.0
"""Seconds for the system to begin a scan: it may have to start its Bluetooth service first."""

STOP_TIMEOUT_S = 2.0
"""Seconds for it to end one. No more, since a scan of so many seconds has to end."""

# Else a relay that always says the same, always as loudly, would seem to have gone.
_BLUEZ: BlueZScannerArgs = {"filters": {"DuplicateData": True}}


class Discovery:
    """Keeps `peers` up to date while run() runs; `on_event` gets each event as it happens.

    rejected counts the advertisements that were of no peer, by reason. Names are looked at only if any_name: bleak then
    does not ask the adapter to leave out what advertises neither service.
    """

    def __init__(
        self,
        adapter: Adapter | None = None,
        *,
        peers: PeerTable | None = None,
        clock: Clock | None = None,
        on_event: Callable[[Event], None] | None = None,
        any_name: bool = False,
        start_timeout_s: float = START_TIMEOUT_S,
        stop_timeout_s: float = STOP_TIMEOUT_S,
    ) -> None:
        self.adapter = adapter or Adapter()
        self.clock: Clock = clock or SystemClock()
        self.peers = peers if peers is not None else PeerTable()
        self.rejected: Counter[Rejection] = Counter()
        self.on_event = on_event
        self._services = None if any_name else list(SERVICE_UUIDS)
        self._start_timeout_s = start_timeout_s
        self._stop_timeout_s = stop_timeout_s

    async def run(self, interval_s: float = SCAN_INTERVAL_S, window_s: float = SCAN_WINDOW_S) -> None:
        """Scan until cancelled (DSC-01, DSC-02). What fails is told as DiscoveryError and tried again."""
        while True:
            try:
                await self.scan(window_s)
            except BitrelayError as error:
                self.tell(DiscoveryError(error))
            self.expire()
            await self.clock.sleep(interval_s - window_s)

    async def scan(self, seconds: float = SCAN_WINDOW_S) -> None:
        """Scan once. Raises NoBluetooth, also if the system does not begin or end the scan in time, BluetoothDenied or
        DeviceError."""
        with bluetooth_errors():
            scanner = BleakScanner(self._heard, self._services, bluez=_BLUEZ, backend=self.adapter.scanner)
            await self._answered(scanner.start(), self._start_timeout_s)
            try:
                await self.clock.sleep(seconds)
            except BaseException:
                # Whoever cancelled this scan waits for that, not for how the adapter took it.
                with suppress(Exception):
                    await self._answered(scanner.stop(), self._stop_timeout_s)
                raise
            await self._answered(scanner.stop(), self._stop_timeout_s)

    def expire(self) -> None:
        """Forget who has gone (DSC-06)."""
        self.tell(*self.peers.expire(self.clock.now()))

    def tell(self, *events: Event) -> None:
        """Give events to whoever listens."""
        if self.on_event:
            for event in events:
                self.on_event(event)

    async def _answered(self, request: Awaitable[None], timeout: float) -> None:
        try:
            async with asyncio.timeout(timeout):
                await request
        except TimeoutError as error:
            raise NoBluetooth(
                f"{self.adapter.name} does not answer: nothing for {timeout:g} s", hint=RESTART
            ) from error

    def _heard(self, device: BLEDevice, advertisement: AdvertisementData) -> None:
        sighting = read_sighting(device, advertisement)
        if isinstance(sighting, Rejection):
            self.rejected[sighting] += 1
        else:
            self.tell(*self.peers.see(sighting, self.clock.now()))
