"""What NimBLE does between one switch-on and the next: links, ATT, and the one task that does one thing after another.

While the board's handler runs the task waits, as NimBLE's host task does on an ESP32. Meanwhile data piles up, and then
stops in the peers, as on the air.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from bumble import hci

from bitrelay.lab.controller import DATA_OCTETS, RadioController
from bitrelay.lab.nimble_client import GattClient
from bitrelay.lab.nimble_gap import Gap
from bitrelay.lab.nimble_link import DEFAULT_MTU, MAX_MTU, PREFERRED_MTU, Link, Op
from bitrelay.lab.nimble_mbuf import CID_ATT, Reassembler, Transmitter
from bitrelay.lab.nimble_protocol import CREDIT, EVENT, IDLE, REPLY, Call, CallError, Errno, Irq, Status
from bitrelay.lab.nimble_server import GattServer

logger = logging.getLogger(__name__)

CID_SIGNALLING = 5
CID_SECURITY = 6
PARAMETER_UPDATE_REQUEST = 0x12
PARAMETER_UPDATE_RESPONSE = 0x13
COMMAND_REJECT = 0x01

MAX_WAITING = 16
"""Things the task has yet to do, beyond which the controller takes no more data from the air."""

MAX_WAITING_REPORTS = 8
MAX_WAITING_UPDATES = 4
SHUTDOWN_S = 2.0
MAX_NAME = 31
DEFAULT_NAME = b"MPY ESP32"


class NimbleStack:
    """One life of a board's Bluetooth. `send` takes a message for the board: kind and body."""

    takes_packets = True

    def __init__(
        self, controller: RadioController, max_links: int, send: Callable[[int, bytes], None], is_active: bool = False
    ) -> None:
        self._controller = controller
        self._send = send
        self.is_active = is_active
        self.links: dict[int, Link] = {}
        self.preferred_mtu = PREFERRED_MTU
        self.device_name = DEFAULT_NAME
        self._work: deque[tuple[Callable[..., Awaitable[None]], tuple[Any, ...]]] = deque()
        self._has_work = asyncio.Event()
        self._is_alone = asyncio.Event()
        self._waiting_reports = 0
        self._has_emitted = False
        self._ack: asyncio.Future[bytes] | None = None
        self._freed = 0
        self._assemblers: dict[int, Reassembler] = {}
        self._transmitter = Transmitter(DATA_OCTETS, controller.on_hci_packet, self._on_freed)
        self._gap = Gap(self, controller, max_links)
        self._server = GattServer(self)
        self._client = GattClient(self)
        self._calls: dict[int, Callable[[bytes], bytes]] = {
            Call.SET_MTU: self._set_mtu,
            Call.SET_NAME: self._set_name,
            Call.SET_ADDRESS_MODE: self._gap.set_address_mode,
            Call.GET_ADDRESS: self._gap.get_address,
            Call.REGISTER: self._register,
            Call.ADVERTISE: self._gap.advertise,
            Call.ADVERTISE_STOP: self._gap.advertise_stop,
            Call.SCAN: self._gap.scan,
            Call.SCAN_STOP: self._gap.scan_stop,
            Call.CONNECT: self._gap.connect,
            Call.CONNECT_CANCEL: self._gap.connect_cancel,
            Call.DISCONNECT: self._gap.disconnect,
            Call.DISCOVER_SERVICES: self._client.discover_services,
            Call.DISCOVER_CHARACTERISTICS: self._client.discover_characteristics,
            Call.DISCOVER_DESCRIPTORS: self._client.discover_descriptors,
            Call.READ: self._client.read,
            Call.WRITE: self._client.write,
            Call.EXCHANGE_MTU: self._client.exchange_mtu,
            Call.INDICATE: self._indicate,
        }

        controller.can_take_data = self._can_take_data
        controller.set_packet_sink(self)
        self._task = asyncio.get_running_loop().create_task(self._run())

    # Life cycle

    async def shut_down(self) -> None:
        """Part from all peers, as NimBLE does when it is switched off; the board hears of nothing any more."""
        self.is_active = False
        self._gap.reset()
        for link in self.links.values():
            self._client.discard(link)
            if not link.is_terminating:
                self._gap.terminate(link)
        if self.links:
            try:
                await asyncio.wait_for(self._is_alone.wait(), SHUTDOWN_S)
            except TimeoutError:
                pass

    def discard(self) -> asyncio.Task[None]:
        """Fall silent at once and stop; gives the task that ends by it."""
        self.is_active = False
        for link in self.links.values():
            self._client.discard(link)
        self._gap.reset()
        self._controller.set_packet_sink(None)
        self._controller.power_off()
        self._task.cancel()
        return self._task

    # The task

    def post(self, work: Callable[..., Awaitable[None]], *args: object) -> None:
        self._work.append((work, args))
        self._has_work.set()

    async def _run(self) -> None:
        while True:
            await self._has_work.wait()
            while self._work:
                work, args = self._work.popleft()
                try:
                    await work(*args)
                except Exception:
                    # Whatever a peer sent to cause this, the board's other links go on.
                    logger.exception("%s: host task", self._controller.name)
            self._has_work.clear()
            if self._has_emitted:
                self._has_emitted = False
                self._send(IDLE, b"")

    def _can_take_data(self) -> bool:
        return len(self._work) < MAX_WAITING

    async def emit(self, irq: Irq, body: bytes = b"") -> bytes:
        """Send an event to the board and wait until its handler returned."""
        if not self.is_active:
            return b""
        self._ack = asyncio.get_running_loop().create_future()
        self._has_emitted = True
        self._send(EVENT + irq, body)
        return await self._ack

    # Messages of the board

    def on_message(self, kind: int, body: bytes) -> None:
        """A message of the board other than ACTIVE."""
        if kind == Call.ACK:
            ack, self._ack = self._ack, None
            if ack is not None and not ack.done():
                ack.set_result(body)
        elif kind == Call.NOTIFY:
            self._send_counted(Op.NOTIFY, body)
        elif kind == Call.WRITE_COMMAND:
            self._send_counted(Op.WRITE_CMD, body)
        elif kind == Call.UPDATED:
            self._updated(body)
        else:
            self._reply_to(kind, body)

    def _reply_to(self, kind: int, body: bytes) -> None:
        errno, result = 0, b""
        try:
            if not self.is_active:
                raise CallError(Errno.ENODEV)
            if (call := self._calls.get(kind)) is None:
                raise CallError(Errno.EINVAL)
            result = call(body)
        except CallError as error:
            errno = error.errno
        except (struct.error, ValueError, IndexError):
            errno = Errno.EINVAL
        self._send(REPLY, struct.pack("<h", errno) + result)

    # Calls

    def find_link(self, handle: int) -> Link:
        if (link := self.links.get(handle)) is None:
            raise CallError(Errno.ENOTCONN)
        return link

    def _set_mtu(self, body: bytes) -> bytes:
        (mtu,) = struct.unpack_from("<H", body)
        if not DEFAULT_MTU <= mtu <= MAX_MTU:
            raise CallError(Errno.EINVAL)
        self.preferred_mtu = mtu
        for link in self.links.values():
            if not link.has_sent_mtu:
                link.my_mtu = mtu
        return b""

    def _set_name(self, body: bytes) -> bytes:
        if len(body) > MAX_NAME:
            raise CallError(Errno.EINVAL)
        self.device_name = body
        return b""

    def _register(self, body: bytes) -> bytes:
        if not self._gap.is_idle or self.links:
            raise CallError(Errno.EBUSY)
        return self._server.register(body)

    def _indicate(self, body: bytes) -> bytes:
        handle, value_handle = struct.unpack_from("<HH", body)
        link = self.find_link(handle)
        if link.indications:
            raise CallError(Errno.EALREADY)
        self._send_indication(link, value_handle, body[4:])
        return b""

    def _send_indication(self, link: Link, value_handle: int, value: bytes) -> None:
        link.indications.append(value_handle)
        self.send_att(link, struct.pack("<BH", Op.INDICATE, value_handle) + value)

    # Data without a reply. The board has counted the blocks; it gets them back when the value left.

    def _send_counted(self, op: Op, body: bytes) -> None:
        if len(body) < 5:
            return
        handle, value_handle, blocks = struct.unpack_from("<HHB", body)
        if (link := self.links.get(handle)) is None:
            self._on_freed(blocks)
        else:
            self.send_att(link, struct.pack("<BH", op, value_handle) + body[5:], blocks)

    def _updated(self, body: bytes) -> None:
        if len(body) < 2:
            return
        (value_handle,) = struct.unpack_from("<H", body)
        for link in self.links.values():
            wanted = link.subscriptions.get(value_handle, 0)
            if wanted & 1 and self._transmitter.queued(link.handle) < MAX_WAITING_UPDATES:
                self.send_att(link, struct.pack("<BH", Op.NOTIFY, value_handle) + body[2:])
            elif wanted & 2 and not link.indications:
                self._send_indication(link, value_handle, body[2:])

    def send_att(self, link: Link, pdu: bytes, blocks: int = 0) -> None:
        self._transmitter.send(link.handle, CID_ATT, pdu[: link.mtu], blocks)

    def _on_freed(self, blocks: int) -> None:
        if not self._freed:
            asyncio.get_running_loop().call_soon(self._send_credit)
        self._freed += blocks

    def _send_credit(self) -> None:
        freed, self._freed = self._freed, 0
        if freed and not self._task.done():
            self._send(CREDIT, struct.pack("<H", freed))

    # Packets of the controller

    def on_packet(self, packet: bytes) -> None:
        self.on_hci_packet(hci.HCI_Packet.from_bytes(packet))

    def on_hci_packet(self, packet: hci.HCI_Packet) -> None:
        match packet:
            case hci.HCI_AclDataPacket():
                self._on_data(packet)
            case hci.HCI_Number_Of_Completed_Packets_Event():
                for handle, count in zip(packet.connection_handles, packet.num_completed_packets, strict=True):
                    self._transmitter.on_completed(handle, count)
            case hci.HCI_LE_Advertising_Report_Event():
                if self._waiting_reports < MAX_WAITING_REPORTS:
                    self._waiting_reports += 1
                    self.post(self._on_reports, packet)
            case hci.HCI_LE_Connection_Complete_Event():
                self._on_connection(packet)
            case hci.HCI_Disconnection_Complete_Event():
                self._on_disconnection(packet)
            case hci.HCI_LE_Connection_Update_Complete_Event():
                self.post(self._on_connection_update, packet)

    def _on_data(self, packet: hci.HCI_AclDataPacket) -> None:
        link = self.links.get(packet.connection_handle)
        if link is None or (complete := self._assemblers[link.handle].feed(packet)) is None:
            return
        channel, payload = complete
        if channel == CID_ATT and payload:
            self.post(self._on_att, link, payload)
        elif channel == CID_SIGNALLING:
            self.post(self._on_signalling, link, payload)
        elif channel == CID_SECURITY and payload[:1] == b"\x01":
            # Pairing is not offered: "pairing not supported" (Core 5.4, vol 3 part H 3.5.5).
            self._transmitter.send(link.handle, CID_SECURITY, b"\x05\x05")

    async def _on_reports(self, event: hci.HCI_LE_Advertising_Report_Event) -> None:
        self._waiting_reports -= 1
        for report in event.reports:
            await self._gap.on_report(report)

    def _on_connection(self, event: hci.HCI_LE_Connection_Complete_Event) -> None:
        is_central = event.role == hci.Role.CENTRAL
        if is_central:
            if not self._gap.is_connecting:
                # The end of an attempt that was forgotten with the stack that made it.
                return
            self._gap.on_connect_ended()
        if event.status != hci.HCI_ErrorCode.SUCCESS:
            self.post(self._gap.report_connect_failure)
            return
        link = Link(
            handle=event.connection_handle,
            is_central=is_central,
            peer=event.peer_address,
            interval=event.connection_interval,
            latency=event.peripheral_latency,
            timeout=event.supervision_timeout,
            my_mtu=self.preferred_mtu,
        )
        self.links[link.handle] = link
        self._assemblers[link.handle] = Reassembler(longest=MAX_MTU)
        self._transmitter.open(link.handle)
        self.post(self._report_link, Irq.PERIPHERAL_CONNECT if is_central else Irq.CENTRAL_CONNECT, link)

    def _on_disconnection(self, event: hci.HCI_Disconnection_Complete_Event) -> None:
        if (link := self.links.pop(event.connection_handle, None)) is not None:
            self._assemblers.pop(link.handle, None)
            self._transmitter.close(link.handle)
            self.post(self._on_link_broken, link)
            if not self.links:
                self._is_alone.set()

    async def _report_link(self, irq: Irq, link: Link) -> None:
        await self.emit(irq, struct.pack("<H", link.handle) + link.peer_bytes)

    async def _on_link_broken(self, link: Link) -> None:
        await self._client.fail_all(link, Status.ENOTCONN)
        await self._end_indications(link, Status.ENOTCONN)
        await self._report_link(Irq.PERIPHERAL_DISCONNECT if link.is_central else Irq.CENTRAL_DISCONNECT, link)

    async def _on_connection_update(self, event: hci.HCI_LE_Connection_Update_Complete_Event) -> None:
        if (link := self.links.get(event.connection_handle)) is None:
            return
        link.interval, link.latency = event.connection_interval, event.peripheral_latency
        link.timeout = event.supervision_timeout
        status = 0 if event.status == hci.HCI_ErrorCode.SUCCESS else 1
        body = struct.pack("<5H", link.handle, link.interval, link.latency, link.timeout, status)
        await self.emit(Irq.CONNECTION_UPDATE, body)

    async def _on_att(self, link: Link, pdu: bytes) -> None:
        op = pdu[0]
        if op in (Op.NOTIFY, Op.INDICATE) and len(pdu) >= 3:
            irq = Irq.GATTC_NOTIFY if op == Op.NOTIFY else Irq.GATTC_INDICATE
            await self.emit(irq, struct.pack("<H", link.handle) + pdu[1:])
            if op == Op.INDICATE:
                self.send_att(link, bytes([Op.CONFIRM]))
        elif op == Op.CONFIRM:
            await self._end_indications(link, Status.OK)
        elif op & 1 and op != Op.NOTIFY and op != Op.INDICATE:
            await self._client.on_response(link, pdu)
        else:
            await self._server.on_request(link, pdu)

    async def _end_indications(self, link: Link, status: int) -> None:
        while link.indications:
            body = struct.pack("<HHB", link.handle, link.indications.popleft(), status)
            await self.emit(Irq.GATTS_INDICATE_DONE, body)

    async def _on_signalling(self, link: Link, payload: bytes) -> None:
        """Grant a connection parameter update, reject any other request (Core 5.4, vol 3 part A 4)."""
        if len(payload) < 4:
            return
        code, identifier = payload[0], payload[1]
        if code == PARAMETER_UPDATE_REQUEST and link.is_central and len(payload) >= 12:
            self._transmitter.send(
                link.handle, CID_SIGNALLING, struct.pack("<BBHH", PARAMETER_UPDATE_RESPONSE, identifier, 2, 0)
            )
            self._gap.update_connection(link, *struct.unpack_from("<HHHH", payload, 4))
        elif code % 2 == 0:
            self._transmitter.send(link.handle, CID_SIGNALLING, struct.pack("<BBHH", COMMAND_REJECT, identifier, 2, 0))
