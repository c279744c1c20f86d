"""NimBLE's GAP: advertising, scanning, connecting, with the limits and error numbers of MicroPython's bindings."""

from __future__ import annotations

import asyncio
import struct

from bumble import hci

from bitrelay.lab.controller import RadioController
from bitrelay.lab.nimble_link import Link, Stack
from bitrelay.lab.nimble_protocol import CallError, Errno, Irq

UNIT_US = 625
CONNECTION_UNIT_US = 1250
FIRST_INTERVAL = (24, 40)
"""BLE_GAP_INITIAL_CONN_ITVL_MIN and _MAX: 30 and 50 ms."""

SUPERVISION_TIMEOUT = 256
"""BLE_GAP_INITIAL_SUPERVISION_TIMEOUT: 2.56 s in 10 ms."""

CONNECT_SCAN = 16
MAX_ADVERTISEMENT = 31
DEFAULT_ADVERTISING_INTERVAL = 0x30
NO_HANDLE = 0xFFFF
HCI_ERROR_BASE = 0x200
USER_ENDED = 0x13

_COMMAND = hci.HCI_LE_Set_Advertising_Parameters_Command
_SUCCESS = hci.HCI_ErrorCode.SUCCESS


class Gap:
    """The radio side of one board's host."""

    def __init__(self, stack: Stack, controller: RadioController, max_links: int) -> None:
        self._stack = stack
        self._controller = controller
        self._max_links = max_links
        self._scan_timer: asyncio.TimerHandle | None = None
        self._connect_timer: asyncio.TimerHandle | None = None
        self.is_scanning = False
        self.is_connecting = False

    def reset(self) -> None:
        """Stop everything without telling the board."""
        self._cancel_connect()
        self._stop_scan()
        self.advertise_stop(b"")

    @property
    def _address_type(self) -> int:
        return int(self._controller.own_address.address_type)

    def get_address(self, _body: bytes) -> bytes:
        address = self._controller.own_address
        return bytes([address.address_type]) + bytes(address)[::-1]

    def set_address_mode(self, body: bytes) -> bytes:
        # The node keeps the address it has on the air; asking for the kind it has already is all that can be granted.
        if body[0] != self._address_type:
            raise CallError(Errno.EINVAL)
        return b""

    # Advertising

    def advertise(self, body: bytes) -> bytes:
        interval_us, connectable = struct.unpack_from("<IB", body)
        at = 5
        parts: list[bytes | None] = []
        for _ in range(2):
            has_part, length = struct.unpack_from("<BB", body, at)
            parts.append(body[at + 2 : at + 2 + length] if has_part else None)
            at += 2 + length
        data, response = parts
        self.advertise_stop(b"")
        if any(part is not None and len(part) > MAX_ADVERTISEMENT for part in parts):
            raise CallError(-hci.HCI_ErrorCode.INVALID_COMMAND_PARAMETERS_ERROR)
        if data is not None:
            self._controller.on_hci_le_set_advertising_data_command(hci.HCI_LE_Set_Advertising_Data_Command(data))
        if response is not None:
            self._controller.on_hci_le_set_scan_response_data_command(
                hci.HCI_LE_Set_Scan_Response_Data_Command(response)
            )
        if connectable and not self._has_free_slot:
            raise CallError(Errno.ENOMEM)
        interval = min(interval_us // UNIT_US, 0xFFFF) or DEFAULT_ADVERTISING_INTERVAL
        kind = _COMMAND.AdvertisingType.ADV_IND if connectable else _COMMAND.AdvertisingType.ADV_SCAN_IND
        result = self._controller.on_hci_le_set_advertising_parameters_command(
            _COMMAND(interval, interval, kind, self._address_type, 0, hci.Address.ANY, 7, 0)
        )
        if result.status != _SUCCESS:
            raise CallError(-(HCI_ERROR_BASE + result.status))
        self._controller.on_hci_le_set_advertising_enable_command(hci.HCI_LE_Set_Advertising_Enable_Command(1))
        return b""

    def advertise_stop(self, _body: bytes) -> bytes:
        self._controller.on_hci_le_set_advertising_enable_command(hci.HCI_LE_Set_Advertising_Enable_Command(0))
        return b""

    @property
    def is_idle(self) -> bool:
        """Neither advertising nor scanning nor connecting: only then may the services be replaced."""
        return not (self._controller.le_legacy_advertiser.enabled or self.is_scanning or self.is_connecting)

    @property
    def _has_free_slot(self) -> bool:
        return len(self._stack.links) < self._max_links

    # Scanning

    def scan(self, body: bytes) -> bytes:
        duration_ms, interval_us, window_us, active = struct.unpack_from("<IIIB", body)
        if self.is_connecting:
            raise CallError(Errno.EBUSY)
        if self.is_scanning:
            raise CallError(Errno.EALREADY)
        interval = max(4, min(0x4000, interval_us // UNIT_US))
        window = max(4, min(0x4000, window_us // UNIT_US))
        if window > interval:
            raise CallError(-(HCI_ERROR_BASE + hci.HCI_ErrorCode.INVALID_COMMAND_PARAMETERS_ERROR))
        self._controller.on_hci_le_set_scan_parameters_command(
            hci.HCI_LE_Set_Scan_Parameters_Command(active, interval, window, self._address_type, 0)
        )
        self._set_scanning(True)
        if duration_ms:
            loop = asyncio.get_running_loop()
            self._scan_timer = loop.call_later(duration_ms / 1000, self._stack.post, self._on_scan_timeout)
        return b""

    def scan_stop(self, _body: bytes) -> bytes:
        """Gives 1 if there was a scan to stop: the bindings then report its end from within the call."""
        was_scanning = self.is_scanning
        self._stop_scan()
        return bytes([was_scanning])

    async def _on_scan_timeout(self) -> None:
        if self.is_scanning:
            self._stop_scan()
            await self._stack.emit(Irq.SCAN_DONE)

    def _stop_scan(self) -> None:
        if self._scan_timer is not None:
            self._scan_timer.cancel()
            self._scan_timer = None
        self._set_scanning(False)

    def _set_scanning(self, on: bool) -> None:
        self.is_scanning = on
        self._controller.on_hci_le_set_scan_enable_command(hci.HCI_LE_Set_Scan_Enable_Command(int(on), 0))

    async def on_report(self, report: hci.HCI_LE_Advertising_Report_Event.Report) -> None:
        if self.is_scanning:
            body = bytes([report.address_type]) + bytes(report.address)[::-1]
            body += struct.pack("<Bb", report.event_type, report.rssi) + report.data
            await self._stack.emit(Irq.SCAN_RESULT, body)

    # Connecting

    def connect(self, body: bytes) -> bytes:
        """Gives 1 if a scan was stopped for it, as `scan_stop` does."""
        kind, address, duration_ms, shortest_us, longest_us = struct.unpack_from("<B6sIII", body)
        was_scanning = self.is_scanning
        self._stop_scan()
        peer = hci.Address(address[::-1], hci.AddressType(kind & 1))
        if self.is_connecting:
            raise CallError(Errno.EALREADY)
        if not self._has_free_slot:
            raise CallError(Errno.ENOMEM)
        if any(link.peer == peer for link in self._stack.links.values()):
            raise CallError(Errno.EIO)
        shortest = shortest_us // CONNECTION_UNIT_US or FIRST_INTERVAL[0]
        longest = longest_us // CONNECTION_UNIT_US or FIRST_INTERVAL[1]
        if not 6 <= shortest <= longest <= 3200:
            raise CallError(Errno.EINVAL)
        self.is_connecting = True
        self._controller.on_hci_le_create_connection_command(
            hci.HCI_LE_Create_Connection_Command(
                le_scan_interval=CONNECT_SCAN,
                le_scan_window=CONNECT_SCAN,
                initiator_filter_policy=0,
                peer_address_type=peer.address_type,
                peer_address=peer,
                own_address_type=hci.OwnAddressType(self._address_type),
                connection_interval_min=shortest,
                connection_interval_max=longest,
                max_latency=0,
                supervision_timeout=SUPERVISION_TIMEOUT,
                min_ce_length=0,
                max_ce_length=0,
            )
        )
        if self._controller.pending_le_connection is None:
            # The controller still holds a link that the host has already given up.
            self.is_connecting = False
            raise CallError(Errno.EBUSY)
        loop = asyncio.get_running_loop()
        self._connect_timer = loop.call_later((duration_ms or 30_000) / 1000, self._cancel_connect)
        return bytes([was_scanning])

    def connect_cancel(self, _body: bytes) -> bytes:
        if not self.is_connecting:
            raise CallError(Errno.EALREADY)
        self._cancel_connect()
        return b""

    def _cancel_connect(self) -> None:
        self._cancel_connect_timer()
        self._controller.on_hci_le_create_connection_cancel_command(hci.HCI_LE_Create_Connection_Cancel_Command())

    def _cancel_connect_timer(self) -> None:
        if self._connect_timer is not None:
            self._connect_timer.cancel()
            self._connect_timer = None

    def on_connect_ended(self) -> None:
        """A connection this board asked for was made or was not."""
        self._cancel_connect_timer()
        self.is_connecting = False

    async def report_connect_failure(self) -> None:
        await self._stack.emit(Irq.PERIPHERAL_DISCONNECT, struct.pack("<HB6x", NO_HANDLE, 0xFF))

    def disconnect(self, body: bytes) -> bytes:
        link = self._stack.find_link(*struct.unpack_from("<H", body))
        if link.is_terminating:
            raise CallError(Errno.EALREADY)
        self.terminate(link)
        return b""

    def terminate(self, link: Link) -> None:
        link.is_terminating = True
        self._controller.on_hci_disconnect_command(hci.HCI_Disconnect_Command(link.handle, USER_ENDED))

    def update_connection(self, link: Link, shortest: int, longest: int, latency: int, timeout: int) -> None:
        """Grant what a peripheral asks for, as NimBLE does when the application has no opinion."""
        self._controller.on_hci_le_connection_update_command(
            hci.HCI_LE_Connection_Update_Command(link.handle, shortest, longest, latency, timeout, 0, 0)
        )
