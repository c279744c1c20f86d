"""NimBLE's GATT client: discovery, reads and writes of a peer's attributes, as MicroPython's bindings report them."""

from __future__ import annotations

import asyncio
import struct

from bitrelay.lab.nimble_link import AttCode, Link, Op, Stack
from bitrelay.lab.nimble_protocol import CallError, Errno, Irq, Status
from bitrelay.lab.nimble_server import CHARACTERISTIC, PRIMARY_SERVICE, normal_uuid

MAX_PROCEDURES = 4
"""MYNEWT_VAL_BLE_GATT_MAX_PROCS: more at a time give ENOMEM."""

RESPONSE_TIMEOUT_S = 30.0
LAST_HANDLE = 0xFFFF


class Procedure:
    """One call in progress: what it asks, and what it makes of the answers."""

    response = Op.ERROR_RSP

    def __init__(self, stack: Stack, link: Link) -> None:
        self.stack = stack
        self.link = link
        self.timer: asyncio.TimerHandle | None = None

    def request(self) -> bytes:
        raise NotImplementedError

    async def on_response(self, pdu: bytes) -> bool:
        """Take an answer; True if there is more to ask. Raises struct.error for an answer that is malformed."""
        raise NotImplementedError

    async def finish(self, status: int) -> None:
        """Report the end to the board. `status` 0, or what NimBLE calls the failure."""
        raise NotImplementedError

    def status_of_error(self, code: int) -> int:
        return Status.ATT_BASE + code


class _Discovery(Procedure):
    """A procedure that asks range after range until the peer has no more."""

    done = Irq.GATTC_SERVICE_DONE

    def __init__(self, stack: Stack, link: Link, start: int, end: int) -> None:
        super().__init__(stack, link)
        self.start = start
        self.end = end

    async def finish(self, status: int) -> None:
        await self.stack.emit(self.done, struct.pack("<HH", self.link.handle, status))

    def status_of_error(self, code: int) -> int:
        return Status.OK if code == AttCode.ATTRIBUTE_NOT_FOUND else super().status_of_error(code)

    def continue_after(self, handle: int) -> bool:
        # A peer that answers with handles that do not grow would never let this end.
        if handle < self.start or handle >= self.end:
            return False
        self.start = handle + 1
        return True


class DiscoverServices(_Discovery):
    response = Op.READ_GROUP_RSP

    def __init__(self, stack: Stack, link: Link) -> None:
        super().__init__(stack, link, 1, LAST_HANDLE)

    def request(self) -> bytes:
        return struct.pack("<BHH", Op.READ_GROUP_REQ, self.start, self.end) + PRIMARY_SERVICE

    async def on_response(self, pdu: bytes) -> bool:
        last = 0
        for entry in _entries(pdu, minimum=6):
            start, last = struct.unpack_from("<HH", entry)
            body = struct.pack("<HHH", self.link.handle, start, last) + normal_uuid(entry[4:])
            await self.stack.emit(Irq.GATTC_SERVICE_RESULT, body)
        return self.continue_after(last)


class DiscoverServicesByUuid(_Discovery):
    response = Op.FIND_TYPE_VALUE_RSP

    def __init__(self, stack: Stack, link: Link, uuid: bytes) -> None:
        super().__init__(stack, link, 1, LAST_HANDLE)
        self.uuid = uuid

    def request(self) -> bytes:
        return struct.pack("<BHH", Op.FIND_TYPE_VALUE_REQ, self.start, self.end) + PRIMARY_SERVICE + self.uuid

    async def on_response(self, pdu: bytes) -> bool:
        last = 0
        for at in range(1, len(pdu) - 3, 4):
            start, last = struct.unpack_from("<HH", pdu, at)
            await self.stack.emit(
                Irq.GATTC_SERVICE_RESULT, struct.pack("<HHH", self.link.handle, start, last) + self.uuid
            )
        return self.continue_after(last)


class DiscoverCharacteristics(_Discovery):
    """Reports a characteristic when the next one tells where it ends, as the bindings do."""

    response = Op.READ_TYPE_RSP
    done = Irq.GATTC_CHARACTERISTIC_DONE

    def __init__(self, stack: Stack, link: Link, start: int, end: int, uuid: bytes) -> None:
        super().__init__(stack, link, start, end)
        self.uuid = uuid
        self.last_handle = end
        self.pending: tuple[int, int, bytes] | None = None

    def request(self) -> bytes:
        return struct.pack("<BHH", Op.READ_TYPE_REQ, self.start, self.end) + CHARACTERISTIC

    async def on_response(self, pdu: bytes) -> bool:
        declaration = 0
        for entry in _entries(pdu, minimum=7):
            declaration, properties, value_handle = struct.unpack_from("<HBH", entry)
            uuid = normal_uuid(entry[5:])
            await self._report(declaration - 1)
            if not self.uuid or uuid == self.uuid:
                self.pending = (value_handle, properties, uuid)
        return self.continue_after(declaration)

    async def _report(self, end: int) -> None:
        if self.pending is not None:
            (value_handle, properties, uuid), self.pending = self.pending, None
            body = struct.pack("<HHHB", self.link.handle, end & 0xFFFF, value_handle, properties) + uuid
            await self.stack.emit(Irq.GATTC_CHARACTERISTIC_RESULT, body)

    async def finish(self, status: int) -> None:
        await self._report(self.last_handle)
        await super().finish(status)


class DiscoverDescriptors(_Discovery):
    """NimBLE starts behind the handle it is given, which is the characteristic's value."""

    response = Op.FIND_INFO_RSP
    done = Irq.GATTC_DESCRIPTOR_DONE

    def __init__(self, stack: Stack, link: Link, start: int, end: int) -> None:
        super().__init__(stack, link, min(start + 1, LAST_HANDLE), end)

    def request(self) -> bytes:
        return struct.pack("<BHH", Op.FIND_INFO_REQ, self.start, self.end)

    async def on_response(self, pdu: bytes) -> bool:
        size = {1: 4, 2: 18}.get(pdu[1] if len(pdu) > 1 else 0)
        if size is None:
            raise struct.error("unknown format")
        handle = 0
        for at in range(2, len(pdu) - size + 1, size):
            (handle,) = struct.unpack_from("<H", pdu, at)
            body = struct.pack("<HH", self.link.handle, handle) + normal_uuid(pdu[at + 2 : at + size])
            await self.stack.emit(Irq.GATTC_DESCRIPTOR_RESULT, body)
        return self.continue_after(handle)


class Read(Procedure):
    response = Op.READ_RSP

    def __init__(self, stack: Stack, link: Link, handle: int) -> None:
        super().__init__(stack, link)
        self.handle = handle

    def request(self) -> bytes:
        return struct.pack("<BH", Op.READ_REQ, self.handle)

    async def on_response(self, pdu: bytes) -> bool:
        body = struct.pack("<HH", self.link.handle, self.handle) + pdu[1:]
        await self.stack.emit(Irq.GATTC_READ_RESULT, body)
        return False

    async def finish(self, status: int) -> None:
        await self.stack.emit(Irq.GATTC_READ_DONE, struct.pack("<HHH", self.link.handle, self.handle, status))


class Write(Procedure):
    response = Op.WRITE_RSP

    def __init__(self, stack: Stack, link: Link, handle: int, value: bytes) -> None:
        super().__init__(stack, link)
        self.handle = handle
        self.value = value

    def request(self) -> bytes:
        return struct.pack("<BH", Op.WRITE_REQ, self.handle) + self.value

    async def on_response(self, pdu: bytes) -> bool:
        return False

    async def finish(self, status: int) -> None:
        await self.stack.emit(Irq.GATTC_WRITE_DONE, struct.pack("<HHH", self.link.handle, self.handle, status))


class ExchangeMtu(Procedure):
    response = Op.MTU_RSP

    def request(self) -> bytes:
        self.link.has_sent_mtu = True
        return struct.pack("<BH", Op.MTU_REQ, self.link.my_mtu)

    async def on_response(self, pdu: bytes) -> bool:
        (self.link.peer_mtu,) = struct.unpack_from("<H", pdu, 1)
        await self.stack.emit(Irq.MTU_EXCHANGED, struct.pack("<HH", self.link.handle, self.link.mtu))
        return False

    async def finish(self, status: int) -> None:
        """Nothing: the bindings pass no callback, an exchange that fails is not reported."""


def _entries(pdu: bytes, minimum: int) -> list[bytes]:
    size = pdu[1] if len(pdu) > 1 else 0
    if size < minimum or size - minimum not in (0, 14):
        raise struct.error("unknown format")
    return [pdu[at : at + size] for at in range(2, len(pdu) - size + 1, size)]


class GattClient:
    """Procedures of all links, each link's in the order in which they were asked for."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def discover_services(self, body: bytes) -> bytes:
        link = self._link(body)
        uuid = normal_uuid(body[2:]) if len(body) > 2 else b""
        return self._start(
            DiscoverServicesByUuid(self._stack, link, uuid) if uuid else DiscoverServices(self._stack, link)
        )

    def discover_characteristics(self, body: bytes) -> bytes:
        link = self._link(body)
        start, end = struct.unpack_from("<HH", body, 2)
        uuid = normal_uuid(body[6:]) if len(body) > 6 else b""
        if any(isinstance(p, DiscoverCharacteristics) for each in self._stack.links.values() for p in each.procedures):
            raise CallError(Errno.EBUSY)
        return self._start(DiscoverCharacteristics(self._stack, link, start, end, uuid))

    def discover_descriptors(self, body: bytes) -> bytes:
        link = self._link(body)
        return self._start(DiscoverDescriptors(self._stack, link, *struct.unpack_from("<HH", body, 2)))

    def read(self, body: bytes) -> bytes:
        link = self._link(body)
        return self._start(Read(self._stack, link, *struct.unpack_from("<H", body, 2)))

    def write(self, body: bytes) -> bytes:
        link = self._link(body)
        (handle,) = struct.unpack_from("<H", body, 2)
        return self._start(Write(self._stack, link, handle, body[4:]))

    def exchange_mtu(self, body: bytes) -> bytes:
        link = self._link(body)
        if link.has_sent_mtu:
            raise CallError(Errno.EALREADY)
        return self._start(ExchangeMtu(self._stack, link))

    def _link(self, body: bytes) -> Link:
        return self._stack.find_link(*struct.unpack_from("<H", body))

    def _start(self, procedure: Procedure) -> bytes:
        if sum(len(link.procedures) for link in self._stack.links.values()) >= MAX_PROCEDURES:
            raise CallError(Errno.ENOMEM)
        procedure.link.procedures.append(procedure)
        self._ask(procedure)
        return b""

    def _ask(self, procedure: Procedure) -> None:
        self._stack.send_att(procedure.link, procedure.request())
        loop = asyncio.get_running_loop()
        procedure.timer = loop.call_later(RESPONSE_TIMEOUT_S, self._stack.post, self._on_timeout, procedure)

    async def _on_timeout(self, procedure: Procedure) -> None:
        if procedure in procedure.link.procedures:
            await self.fail_all(procedure.link, Status.ETIMEOUT)

    async def on_response(self, link: Link, pdu: bytes) -> None:
        """An answer of the peer goes to the oldest procedure that waits; one that nobody asked for is ignored."""
        if not link.procedures:
            return
        procedure = link.procedures[0]
        op = pdu[0]
        if op == Op.ERROR_RSP and len(pdu) >= 5:
            await self._finish(procedure, procedure.status_of_error(pdu[4]))
        elif op == procedure.response:
            self._cancel_timer(procedure)
            try:
                has_more = await procedure.on_response(pdu)
            except (struct.error, ValueError):
                await self._finish(procedure, Status.ATT_BASE + AttCode.INVALID_PDU)
                return
            if has_more and procedure in link.procedures:
                self._ask(procedure)
            else:
                await self._finish(procedure, Status.OK)

    async def fail_all(self, link: Link, status: int) -> None:
        """The link is gone or dead: end what was asked of it."""
        while link.procedures:
            await self._finish(link.procedures[0], status)

    async def _finish(self, procedure: Procedure, status: int) -> None:
        self._cancel_timer(procedure)
        if procedure in procedure.link.procedures:
            procedure.link.procedures.remove(procedure)
            await procedure.finish(status)

    def discard(self, link: Link) -> None:
        """Forget a link's procedures without telling anybody."""
        for procedure in link.procedures:
            self._cancel_timer(procedure)
        link.procedures.clear()

    def _cancel_timer(self, procedure: Procedure) -> None:
        if procedure.timer is not None:
            procedure.timer.cancel()
            procedure.timer = None
