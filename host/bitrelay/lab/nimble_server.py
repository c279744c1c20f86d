"""NimBLE's GATT server: the attribute table as NimBLE lays it out, and the answers to a peer's requests.

Values of the application's characteristics live on the board, in the heap of its interpreter, as on an ESP32: each read
and each write goes there as an event and is done before the next one is looked at.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from bitrelay.lab.nimble_link import MAX_VALUE, AttCode, Link, Op, Stack
from bitrelay.lab.nimble_protocol import CallError, Errno, Irq

FLAG_READ = 0x0002
FLAG_WRITE_NO_RESPONSE = 0x0004
FLAG_WRITE = 0x0008
FLAG_NOTIFY = 0x0010
FLAG_INDICATE = 0x0020
PROPERTIES = 0x00FF

MAX_SERVICES = 8
MAX_PREPARED = 64

PRIMARY_SERVICE = b"\x00\x28"
CHARACTERISTIC = b"\x03\x28"
CLIENT_CONFIGURATION = b"\x02\x29"

_BASE_UUID = bytes.fromhex("FB349B5F80000080001000000000")


class Kind(Enum):
    FIXED = auto()
    DEVICE_NAME = auto()
    CONFIGURATION = auto()
    USER = auto()


@dataclass(frozen=True)
class Attribute:
    handle: int
    uuid: bytes
    kind: Kind
    can_read: bool = True
    can_write: bool = False
    value: bytes = b""
    value_handle: int = 0
    group_end: int = 0


@dataclass(frozen=True)
class CharacteristicDef:
    uuid: bytes
    flags: int
    descriptors: tuple[tuple[bytes, int], ...] = ()
    kind: Kind = Kind.USER
    value: bytes = b""


@dataclass(frozen=True)
class ServiceDef:
    uuid: bytes
    characteristics: tuple[CharacteristicDef, ...]


BUILT_IN = (
    ServiceDef(
        b"\x00\x18",
        (
            CharacteristicDef(b"\x00\x2a", FLAG_READ, kind=Kind.DEVICE_NAME),
            CharacteristicDef(b"\x01\x2a", FLAG_READ, kind=Kind.FIXED, value=b"\x00\x00"),
        ),
    ),
    ServiceDef(
        b"\x01\x18",
        (
            CharacteristicDef(b"\x05\x2a", FLAG_INDICATE, kind=Kind.FIXED, value=b"\x00\x00\x00\x00"),
            CharacteristicDef(b"\x3a\x2b", FLAG_READ, kind=Kind.FIXED, value=b"\x00"),
            CharacteristicDef(b"\x29\x2b", FLAG_READ, kind=Kind.FIXED, value=b"\x00"),
        ),
    ),
)
"""Services that NimBLE of ESP-IDF 5 registers before the application's, whose first value is therefore handle 16."""


class AttError(Exception):
    """Raised when a request fails; the peer gets an error response."""

    def __init__(self, code: int, handle: int = 0) -> None:
        super().__init__(code, handle)
        self.code = code
        self.handle = handle


def normal_uuid(uuid: bytes) -> bytes:
    """The shortest little-endian form of a UUID of 2, 4 or 16 bytes. Raises ValueError for other lengths."""
    if len(uuid) == 4:
        uuid = _BASE_UUID[:12] + uuid if uuid[2:] != b"\0\0" else uuid[:2]
    if len(uuid) == 16 and uuid[:12] == _BASE_UUID[:12] and uuid[14:] == b"\0\0":
        uuid = uuid[12:14]
    if len(uuid) not in (2, 16):
        raise ValueError(f"a UUID of {len(uuid)} bytes")
    return uuid


def parse_services(body: bytes) -> list[ServiceDef]:
    """The services a board registers. Raises ValueError or struct.error for anything else than:

    u8 services, each: uuid, u8 characteristics, each: uuid, u16 flags, u8 descriptors, each: uuid, u16 flags; a uuid is
    u8 length, bytes.
    """
    at = 0

    def number(code: str) -> int:
        nonlocal at
        (value,) = struct.unpack_from(code, body, at)
        at += struct.calcsize(code)
        return int(value)

    def uuid() -> bytes:
        nonlocal at
        length = number("<B")
        at += length
        return normal_uuid(body[at - length : at])

    services = []
    for _ in range(number("<B")):
        service_uuid = uuid()
        characteristics = []
        for _ in range(number("<B")):
            characteristic_uuid, flags = uuid(), number("<H")
            descriptors = tuple((uuid(), number("<H")) for _ in range(number("<B")))
            characteristics.append(CharacteristicDef(characteristic_uuid, flags, descriptors))
        services.append(ServiceDef(service_uuid, tuple(characteristics)))
    return services


class AttributeTable:
    """All attributes, by handle from 1 on without gaps; `user_handles` are those the application gave, in its order."""

    def __init__(self, services: list[ServiceDef]) -> None:
        self.attributes: list[Attribute] = []
        self.user_handles: list[int] = []
        for service in (*BUILT_IN, *services):
            self._add_service(service)

    def find(self, handle: int) -> Attribute | None:
        return self.attributes[handle - 1] if 1 <= handle <= len(self.attributes) else None

    def between(self, start: int, end: int) -> list[Attribute]:
        return self.attributes[start - 1 : end]

    def _add(self, uuid: bytes, kind: Kind, **rest: object) -> int:
        handle = len(self.attributes) + 1
        self.attributes.append(Attribute(handle, uuid, kind, **rest))  # type: ignore[arg-type]
        return handle

    def _add_service(self, service: ServiceDef) -> None:
        size = sum(2 + _has_configuration(c) + len(c.descriptors) for c in service.characteristics)
        end = len(self.attributes) + 1 + size
        self._add(PRIMARY_SERVICE, Kind.FIXED, value=service.uuid, group_end=end)
        for characteristic in service.characteristics:
            self._add_characteristic(characteristic)

    def _add_characteristic(self, characteristic: CharacteristicDef) -> None:
        flags = characteristic.flags
        value_handle = len(self.attributes) + 2
        declaration = struct.pack("<BH", flags & PROPERTIES, value_handle) + characteristic.uuid
        self._add(CHARACTERISTIC, Kind.FIXED, value=declaration)
        self._add(
            characteristic.uuid,
            characteristic.kind,
            can_read=bool(flags & FLAG_READ),
            can_write=bool(flags & (FLAG_WRITE | FLAG_WRITE_NO_RESPONSE)),
            value=characteristic.value,
        )
        if characteristic.kind is Kind.USER:
            self.user_handles.append(value_handle)
        # NimBLE puts the configuration right behind the value, before the application's own descriptors.
        if _has_configuration(characteristic):
            self._add(CLIENT_CONFIGURATION, Kind.CONFIGURATION, can_write=True, value_handle=value_handle)
        for uuid, descriptor_flags in characteristic.descriptors:
            can_write = bool(descriptor_flags & (FLAG_WRITE | FLAG_WRITE_NO_RESPONSE))
            handle = self._add(uuid, Kind.USER, can_read=bool(descriptor_flags & FLAG_READ), can_write=can_write)
            self.user_handles.append(handle)


def _has_configuration(characteristic: CharacteristicDef) -> bool:
    return bool(characteristic.flags & (FLAG_NOTIFY | FLAG_INDICATE))


class GattServer:
    """Answers the ATT requests of all links."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.table = AttributeTable([])
        self._requests: dict[int, Callable[[Link, bytes], object]] = {
            Op.MTU_REQ: self._exchange_mtu,
            Op.FIND_INFO_REQ: self._find_information,
            Op.FIND_TYPE_VALUE_REQ: self._find_by_type_value,
            Op.READ_TYPE_REQ: self._read_by_type,
            Op.READ_REQ: self._read,
            Op.READ_BLOB_REQ: self._read_blob,
            Op.READ_GROUP_REQ: self._read_by_group_type,
            Op.WRITE_REQ: self._write,
            Op.PREPARE_REQ: self._prepare,
            Op.EXECUTE_REQ: self._execute,
        }

    def register(self, body: bytes) -> bytes:
        """Replace the application's services; gives their handles."""
        services = parse_services(body)
        if len(services) > MAX_SERVICES:
            raise CallError(Errno.E2BIG)
        self.table = AttributeTable(services)
        return struct.pack(f"<{len(self.table.user_handles)}H", *self.table.user_handles)

    async def on_request(self, link: Link, pdu: bytes) -> None:
        """One request or command of the peer; whatever it holds, it gets an answer or is ignored."""
        op = pdu[0]
        if op == Op.WRITE_CMD:
            await self._write_command(link, pdu)
            return
        if op & 0x40:
            return
        handler = self._requests.get(op)
        try:
            if handler is None:
                raise AttError(AttCode.REQUEST_NOT_SUPPORTED)
            await handler(link, pdu)  # type: ignore[misc]
        except AttError as error:
            self._stack.send_att(link, struct.pack("<BBHB", Op.ERROR_RSP, op, error.handle, error.code))
        except struct.error:
            self._stack.send_att(link, struct.pack("<BBHB", Op.ERROR_RSP, op, 0, AttCode.INVALID_PDU))

    async def _exchange_mtu(self, link: Link, pdu: bytes) -> None:
        (link.peer_mtu,) = struct.unpack_from("<H", pdu, 1)
        self._stack.send_att(link, struct.pack("<BH", Op.MTU_RSP, link.my_mtu))
        link.has_sent_mtu = True
        await self._stack.emit(Irq.MTU_EXCHANGED, struct.pack("<HH", link.handle, link.mtu))

    def _range(self, pdu: bytes) -> tuple[int, int]:
        start, end = struct.unpack_from("<HH", pdu, 1)
        if not 0 < start <= end:
            raise AttError(AttCode.INVALID_HANDLE, start)
        return start, end

    async def _find_information(self, link: Link, pdu: bytes) -> None:
        start, end = self._range(pdu)
        found = self.table.between(start, end)
        if not found:
            raise AttError(AttCode.ATTRIBUTE_NOT_FOUND, start)
        size = len(found[0].uuid)
        reply = bytes([Op.FIND_INFO_RSP, 1 if size == 2 else 2])
        for attribute in found:
            if len(attribute.uuid) != size or len(reply) + 2 + size > link.mtu:
                break
            reply += struct.pack("<H", attribute.handle) + attribute.uuid
        self._stack.send_att(link, reply)

    async def _find_by_type_value(self, link: Link, pdu: bytes) -> None:
        start, end = self._range(pdu)
        uuid, value = pdu[5:7], pdu[7:]
        reply = bytes([Op.FIND_TYPE_VALUE_RSP])
        if uuid == PRIMARY_SERVICE and len(value) in (2, 16):
            for attribute in self.table.between(start, end):
                matches = attribute.uuid == PRIMARY_SERVICE and attribute.value == normal_uuid(value)
                if matches and len(reply) + 4 <= link.mtu:
                    reply += struct.pack("<HH", attribute.handle, attribute.group_end)
        if len(reply) == 1:
            raise AttError(AttCode.ATTRIBUTE_NOT_FOUND, start)
        self._stack.send_att(link, reply)

    async def _read_by_group_type(self, link: Link, pdu: bytes) -> None:
        start, end = self._range(pdu)
        if normal_uuid_or_empty(pdu[5:]) != PRIMARY_SERVICE:
            raise AttError(AttCode.UNSUPPORTED_GROUP, start)
        entries = [
            struct.pack("<HH", a.handle, a.group_end) + a.value
            for a in self.table.between(start, end)
            if a.uuid == PRIMARY_SERVICE
        ]
        self._send_list(link, Op.READ_GROUP_RSP, entries, start)

    async def _read_by_type(self, link: Link, pdu: bytes) -> None:
        start, end = self._range(pdu)
        uuid = normal_uuid_or_empty(pdu[5:])
        entries: list[bytes] = []
        for attribute in self.table.between(start, end):
            if attribute.uuid != uuid:
                continue
            if not attribute.can_read:
                if entries:
                    break
                raise AttError(AttCode.READ_NOT_PERMITTED, attribute.handle)
            value = (await self._value_of(link, attribute))[: link.mtu - 4]
            entries.append(struct.pack("<H", attribute.handle) + value)
            if sum(map(len, entries)) > link.mtu or len(entries[0]) != len(entries[-1]):
                break
        self._send_list(link, Op.READ_TYPE_RSP, entries, start)

    def _send_list(self, link: Link, op: Op, entries: list[bytes], start: int) -> None:
        if not entries:
            raise AttError(AttCode.ATTRIBUTE_NOT_FOUND, start)
        size = len(entries[0])
        reply = bytes([op, size])
        for entry in entries:
            if len(entry) != size or len(reply) + size > link.mtu:
                break
            reply += entry
        self._stack.send_att(link, reply)

    async def _read(self, link: Link, pdu: bytes) -> None:
        (handle,) = struct.unpack_from("<H", pdu, 1)
        value = await self._value_of(link, self._readable(handle))
        self._stack.send_att(link, bytes([Op.READ_RSP]) + value[: link.mtu - 1])

    async def _read_blob(self, link: Link, pdu: bytes) -> None:
        handle, offset = struct.unpack_from("<HH", pdu, 1)
        value = await self._value_of(link, self._readable(handle))
        if offset > len(value):
            raise AttError(AttCode.INVALID_OFFSET, handle)
        self._stack.send_att(link, bytes([Op.READ_BLOB_RSP]) + value[offset : offset + link.mtu - 1])

    def _readable(self, handle: int) -> Attribute:
        if (attribute := self.table.find(handle)) is None:
            raise AttError(AttCode.INVALID_HANDLE, handle)
        if not attribute.can_read:
            raise AttError(AttCode.READ_NOT_PERMITTED, handle)
        return attribute

    async def _value_of(self, link: Link, attribute: Attribute) -> bytes:
        if attribute.kind is Kind.DEVICE_NAME:
            return self._stack.device_name
        if attribute.kind is Kind.CONFIGURATION:
            return struct.pack("<H", link.subscriptions.get(attribute.value_handle, 0))
        if attribute.kind is Kind.FIXED:
            return attribute.value
        answer = await self._stack.emit(Irq.GATTS_READ_REQUEST, struct.pack("<HH", link.handle, attribute.handle))
        (error,) = struct.unpack_from("<h", answer) if len(answer) >= 2 else (AttCode.UNLIKELY,)
        if error:
            raise AttError(error & 0xFF, attribute.handle)
        return answer[2:]

    async def _write(self, link: Link, pdu: bytes) -> None:
        (handle,) = struct.unpack_from("<H", pdu, 1)
        await self._store(link, self._writable(handle), pdu[3:])
        self._stack.send_att(link, bytes([Op.WRITE_RSP]))

    async def _write_command(self, link: Link, pdu: bytes) -> None:
        try:
            (handle,) = struct.unpack_from("<H", pdu, 1)
            await self._store(link, self._writable(handle), pdu[3:])
        except (AttError, struct.error):
            # A command has no answer, not even a bad one.
            return

    def _writable(self, handle: int) -> Attribute:
        if (attribute := self.table.find(handle)) is None:
            raise AttError(AttCode.INVALID_HANDLE, handle)
        if not attribute.can_write:
            raise AttError(AttCode.WRITE_NOT_PERMITTED, handle)
        return attribute

    async def _store(self, link: Link, attribute: Attribute, value: bytes) -> None:
        if attribute.kind is Kind.CONFIGURATION:
            if len(value) != 2:
                raise AttError(AttCode.INVALID_LENGTH, attribute.handle)
            (link.subscriptions[attribute.value_handle],) = struct.unpack("<H", value)
            return
        if len(value) > MAX_VALUE:
            raise AttError(AttCode.INVALID_LENGTH, attribute.handle)
        await self._stack.emit(Irq.GATTS_WRITE, struct.pack("<HH", link.handle, attribute.handle) + value)

    async def _prepare(self, link: Link, pdu: bytes) -> None:
        handle, offset = struct.unpack_from("<HH", pdu, 1)
        self._writable(handle)
        if len(link.prepared) >= MAX_PREPARED:
            raise AttError(AttCode.PREPARE_QUEUE_FULL, handle)
        link.prepared.append((handle, offset, pdu[5:]))
        self._stack.send_att(link, bytes([Op.PREPARE_RSP]) + pdu[1:])

    async def _execute(self, link: Link, pdu: bytes) -> None:
        prepared, link.prepared = link.prepared, []
        if len(pdu) >= 2 and pdu[1] == 1:
            values: dict[int, bytes] = {}
            for handle, offset, part in prepared:
                if offset != len(values.get(handle, b"")):
                    raise AttError(AttCode.INVALID_OFFSET, handle)
                values[handle] = values.get(handle, b"") + part
            for handle, value in values.items():
                await self._store(link, self._writable(handle), value)
        self._stack.send_att(link, bytes([Op.EXECUTE_RSP]))


def normal_uuid_or_empty(uuid: bytes) -> bytes:
    """As normal_uuid, but no UUID at all for a length that is none: a peer may send anything."""
    return normal_uuid(uuid) if len(uuid) in (2, 16) else b""
