"""How a virtual phone finds and calls peers (bitchat protocol, section 1.6)."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from bumble import hci
from bumble.device import Advertisement

from .phone_link import PhoneLink, Role
from .phone_profile import PhoneProfile

# How long an advertisement stands for a peer that is there.
_CANDIDATE_LIFE_S = 2.0
# In units of 0.625 ms: the apps scan all the time while they have few links.
_SCAN_UNITS = 96
# 30 ms, in units of 1.25 ms.
_INTERVAL_UNITS = 24


class Dialler:
    """Listens to advertisements and calls one peer after the other. links() are the phone's links at the moment."""

    def __init__(
        self, device: Any, service: bytes, profile: PhoneProfile, links: Callable[[], list[PhoneLink]]
    ) -> None:
        self._device = device
        self._service = service
        self._profile = profile
        self._links = links
        self._candidates: dict[hci.Address, tuple[float, float]] = {}
        self._ignored: dict[hci.Address, float] = {}
        self._heard = asyncio.Event()
        self._call: tuple[hci.Address, asyncio.Future[bool]] | None = None
        device.on("advertisement", self._heard_advertisement)
        device.on("connection_failure", self._call_failed)

    async def run(self) -> None:
        """Scan and call, until cancelled."""
        await self._device.start_scanning(
            legacy=True, active=False, scan_interval=60, scan_window=60, filter_duplicates=False
        )
        while True:
            await self._heard.wait()
            self._heard.clear()
            address = self._best_candidate()
            if address is None:
                continue
            del self._candidates[address]
            if not await self._connect(address):
                self._ignored[address] = time.monotonic() + self._profile.after_timeout_s
            await asyncio.sleep(self._profile.connect_spacing_s)

    async def connected(self, address: hci.Address, role: Role) -> None:
        """A link with `address` has come up. Where both have called each other, the call that came first stands."""
        self._candidates.pop(address, None)
        if role is Role.CENTRAL:
            self._settle(address, True)
        elif self._call and self._call[0] == address:
            await self._cancel()

    def disconnected(self, address: hci.Address) -> None:
        """A link with `address` has ended; it is left alone for a while."""
        self._ignored[address] = time.monotonic() + self._profile.after_drop_s

    def _heard_advertisement(self, advertisement: Advertisement) -> None:
        if not advertisement.is_connectable or self._service not in advertisement.data_bytes:
            return
        links = self._links()
        if advertisement.rssi < (self._profile.weakest if links else self._profile.weakest_alone):
            return
        if any(link.connection.peer_address == advertisement.address for link in links):
            return
        self._candidates[advertisement.address] = (advertisement.rssi, time.monotonic())
        self._heard.set()

    def _best_candidate(self) -> hci.Address | None:
        now = time.monotonic()
        self._ignored = {address: until for address, until in self._ignored.items() if until > now}
        fresh = {
            address: rssi
            for address, (rssi, at) in self._candidates.items()
            if now - at < _CANDIDATE_LIFE_S and address not in self._ignored
        }
        links = self._links()
        dialled = sum(link.role is Role.CENTRAL for link in links)
        if not fresh or len(links) >= self._profile.max_links or dialled >= self._profile.max_dialled:
            return None
        if self._profile.platform == "ios":
            return max(fresh, key=lambda address: fresh[address])
        return next(iter(fresh))

    async def _connect(self, address: hci.Address) -> bool:
        connected: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._call = (address, connected)
        try:
            await self._device.send_async_command(
                hci.HCI_LE_Create_Connection_Command(
                    le_scan_interval=_SCAN_UNITS,
                    le_scan_window=_SCAN_UNITS,
                    initiator_filter_policy=0,
                    peer_address_type=address.address_type,
                    peer_address=address,
                    own_address_type=hci.OwnAddressType.RANDOM,
                    connection_interval_min=_INTERVAL_UNITS,
                    connection_interval_max=_INTERVAL_UNITS,
                    max_latency=0,
                    supervision_timeout=round(self._profile.supervision_s * 100),
                    min_ce_length=0,
                    max_ce_length=0,
                )
            )
            async with asyncio.timeout(self._profile.connect_timeout_s):
                return await asyncio.shield(connected)
        except TimeoutError:
            await self._cancel()
            # The call may have been answered while it was taken back; the events of both are in by now.
            return connected.done() and connected.result()
        except hci.HCI_Error:
            return False
        finally:
            self._call = None

    async def _cancel(self) -> None:
        try:
            await self._device.send_sync_command(hci.HCI_LE_Create_Connection_Cancel_Command())
        except hci.HCI_Error:
            pass  # it has just ended by itself

    def _call_failed(self, _error: Exception) -> None:
        if self._call:
            self._settle(self._call[0], False)

    def _settle(self, address: hci.Address, outcome: bool) -> None:
        if self._call and self._call[0] == address and not self._call[1].done():
            self._call[1].set_result(outcome)
