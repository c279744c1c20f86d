"""bleak's scanner on a Bumble host."""

import uuid
from typing import TYPE_CHECKING, Any, ClassVar

from bleak.backends.scanner import AdvertisementData, AdvertisementDataCallback, BaseBleakScanner
from bleak.exc import BleakError
from bleak.uuids import normalize_uuid_16
from bumble.core import AdvertisingData
from bumble.device import Advertisement

from .bleak_errors import bleak_errors

if TYPE_CHECKING:
    from .bleak_adapter import VirtualAdapter

# Milliseconds. As long a window as interval: a computer on mains listens all the time.
_SCAN_MS = 60

_UUID_SIZES = (
    (2, AdvertisingData.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS),
    (2, AdvertisingData.INCOMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS),
    (16, AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS),
    (16, AdvertisingData.INCOMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS),
)
_DATA_SIZES = ((2, AdvertisingData.SERVICE_DATA_16_BIT_UUID), (16, AdvertisingData.SERVICE_DATA_128_BIT_UUID))


class VirtualScanner(BaseBleakScanner):
    """Reports each advertisement with its scan response, if that arrived; of others before it remembers nothing."""

    adapter: ClassVar["VirtualAdapter"]

    def __init__(
        self,
        detection_callback: AdvertisementDataCallback | None,
        service_uuids: list[str] | None,
        scanning_mode: str,
        **_platform: Any,
    ) -> None:
        super().__init__(detection_callback, service_uuids)
        self._is_active = scanning_mode == "active"

    async def start(self) -> None:
        self.adapter.demand()
        device = self.adapter.device
        if device.scanning:
            raise BleakError("the adapter is scanning already")
        self.seen_devices = {}
        device.on("advertisement", self._heard)
        try:
            with bleak_errors():
                await device.start_scanning(
                    legacy=True,
                    active=self._is_active,
                    scan_interval=_SCAN_MS,
                    scan_window=_SCAN_MS,
                    filter_duplicates=False,
                )
        except BaseException:
            device.remove_listener("advertisement", self._heard)
            raise

    async def stop(self) -> None:
        device = self.adapter.device
        device.remove_listener("advertisement", self._heard)
        self.adapter.demand()
        if device.scanning:
            try:
                with bleak_errors():
                    await device.stop_scanning(legacy=True)
            finally:
                device.scanning = False  # also if nobody confirmed it: else there would never be another scan

    def _heard(self, report: Advertisement) -> None:
        advertisement = _as_bleak_has_it(report)
        if not self.is_allowed_uuid(advertisement.service_uuids):
            return
        address = report.address.to_string(False)
        name = advertisement.local_name
        device = self.create_or_update_device(address, address, name, report.address, advertisement)
        self.call_detection_callbacks(device, advertisement)


def _as_bleak_has_it(report: Advertisement) -> AdvertisementData:
    name: str | None = None
    manufacturer_data: dict[int, bytes] = {}
    service_data: dict[str, bytes] = {}
    service_uuids: list[str] = []
    tx_power: int | None = None
    for kind, value in report.data.ad_structures:
        if kind in (AdvertisingData.COMPLETE_LOCAL_NAME, AdvertisingData.SHORTENED_LOCAL_NAME):
            name = value.decode("utf-8", errors="replace")
        elif kind == AdvertisingData.MANUFACTURER_SPECIFIC_DATA and len(value) >= 2:
            manufacturer_data[int.from_bytes(value[:2], "little")] = value[2:]
        elif kind == AdvertisingData.TX_POWER_LEVEL and len(value) == 1:
            tx_power = int.from_bytes(value, "little", signed=True)
        for size, of in _UUID_SIZES:
            if kind == of:
                whole = len(value) - len(value) % size
                service_uuids += [uuid_text(value[at : at + size]) for at in range(0, whole, size)]
        for size, of in _DATA_SIZES:
            if kind == of and len(value) >= size:
                service_data[uuid_text(value[:size])] = value[size:]
    return AdvertisementData(
        name, manufacturer_data, service_data, service_uuids, tx_power, report.rssi, (report.address,)
    )


def uuid_text(raw: bytes) -> str:
    """A UUID as bleak writes them, from its 2 or 16 bytes on the air."""
    # Not by Bumble's UUID, which keeps every one it has ever made.
    if len(raw) == 2:
        return normalize_uuid_16(int.from_bytes(raw, "little"))
    return str(uuid.UUID(bytes=raw[::-1]))
