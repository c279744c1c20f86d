"""One link of a virtual phone: a queue towards the peer, in the rhythm of the phone's stack, and what comes back."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from bumble import att, hci

from shared_protocol.frame import Header
from shared_protocol.stream import NotificationStream

from .phone_profile import PhoneProfile

_ATT_HEADER = 3


class Role(StrEnum):
    """What the phone is on a link."""

    CENTRAL = "central"
    PERIPHERAL = "peripheral"


class PhoneLink:
    """A connected peer. on_value gets (link, value, frames in it) for everything that arrives.

    A central writes to the peer's characteristic without response, a peripheral notifies its own: `handle` is the
    attribute's. subscriptions is how many times the peer gets each notification: an Android phone that is subscribed to
    twice sends twice (section 1.4). peer_id is whom the app takes the peer to be: see PeerTable.
    """

    def __init__(
        self,
        connection: Any,
        role: Role,
        profile: PhoneProfile,
        on_value: Callable[["PhoneLink", bytes, list[bytes]], None],
    ) -> None:
        self.connection = connection
        self.role = role
        self.address = connection.peer_address.to_string(False)
        self.ready = asyncio.Event()
        self.closed = asyncio.Event()
        self.connected_at = time.monotonic()
        self.reason = 0
        self.handle = 0
        self.subscriptions = 0
        self.peer_id: bytes | None = None
        self.sent = 0
        self.received = 0
        self.dropped = 0
        self.undecodable = 0
        self._profile = profile
        self._on_value = on_value
        self._header = Header()
        self._stream = NotificationStream() if self._takes_a_stream(role, profile) else None
        self._queue: deque[tuple[bytes, asyncio.Future[bool] | None]] = deque()
        self._queued_bytes = 0
        self._wake = asyncio.Event()
        self._pump = asyncio.get_running_loop().create_task(self._send_queued())

    @property
    def is_open(self) -> bool:
        """Whether frames can be sent: the peer can be written to, or has subscribed."""
        return self.ready.is_set() and not self.closed.is_set()

    @property
    def limit(self) -> int:
        """The longest value that goes through, in bytes."""
        return min(512, int(self.connection.att_mtu) - _ATT_HEADER)

    def post(self, value: bytes) -> None:
        """Queue a value and do not wait."""
        self._enqueue(value, None)

    async def send(self, value: bytes) -> bool:
        """Queue a value and wait until the air took it; False if it was dropped, or the link died first."""
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._enqueue(value, done)
        return await done

    async def write_raw(self, value: bytes, with_response: bool = False) -> bool:
        """Send any value at all, longer than a frame may be or empty, whatever the phone's app would do.

        with_response asks the peer (and sends what is too long in parts); False then means that it refused.
        """
        if not with_response or self.role is Role.PERIPHERAL:
            self._send_value(value)
            await self._drained()
            return not self.closed.is_set()
        try:
            await self.connection.gatt_client.write_value(self.handle, value, with_response=True)
        except (att.ATT_Error, TimeoutError):
            return False
        return True

    def send_att(self, pdu: bytes) -> None:
        """Send one PDU of the attribute protocol as it is."""
        self.connection.send_l2cap_pdu(att.ATT_CID, pdu)

    def take(self, value: bytes) -> None:
        """A value came from the peer."""
        self.received += 1
        value = bytes(value)
        self._on_value(self, value, self._frames(value))

    def close(self, reason: int = 0) -> None:
        """The connection has gone, for a reason of HCI."""
        if self.closed.is_set():
            return
        self.reason = reason
        self.closed.set()
        self._pump.cancel()
        while self._queue:
            self._settle(self._queue.popleft()[1], False)

    async def disconnect(self) -> None:
        """Hang up."""
        if not self.closed.is_set():
            await self.connection.disconnect(hci.HCI_ErrorCode.REMOTE_USER_TERMINATED_CONNECTION_ERROR)

    def _frames(self, value: bytes) -> list[bytes]:
        if self._stream is not None:
            return self._stream.feed(value, time.monotonic_ns() // 1_000_000)
        length = self._header.parse(value, len(value))
        if length < 0:
            self.undecodable += 1
            return []
        return [value[:length]]

    def _enqueue(self, value: bytes, done: asyncio.Future[bool] | None) -> None:
        full = (
            len(self._queue) >= self._profile.queue_frames
            or self._queued_bytes + len(value) > self._profile.queue_bytes
        )
        if full or self.closed.is_set() or len(value) > self.limit:
            self.dropped += 1
            self._settle(done, False)
            return
        self._queue.append((value, done))
        self._queued_bytes += len(value)
        self._wake.set()

    async def _send_queued(self) -> None:
        while True:
            await self._wake.wait()
            taken: list[asyncio.Future[bool] | None] = []
            while self._queue and len(taken) < self._profile.in_flight:
                value, done = self._queue.popleft()
                self._queued_bytes -= len(value)
                taken.append(done)
                self._send_value(value)
                self.sent += 1
            try:
                await self._drained()
            finally:
                for done in taken:
                    self._settle(done, not self.closed.is_set())
            if not self._queue:
                self._wake.clear()

    def _send_value(self, value: bytes) -> None:
        if self.role is Role.CENTRAL:
            self.send_att(bytes((att.Opcode.ATT_WRITE_COMMAND,)) + self.handle.to_bytes(2, "little") + value)
            return
        notification = bytes((att.Opcode.ATT_HANDLE_VALUE_NOTIFICATION,)) + self.handle.to_bytes(2, "little") + value
        for _ in range(self.subscriptions):
            self.send_att(notification)

    async def _drained(self) -> None:
        host = self.connection.device.host
        queue = host.get_data_packet_queue(self.connection.handle)
        if queue is not None:
            try:
                await queue.drain(self.connection.handle)
            except ValueError:
                pass  # nothing was ever sent on it, or it has gone

    @staticmethod
    def _takes_a_stream(role: Role, profile: PhoneProfile) -> bool:
        return role is Role.CENTRAL and profile.notifications_are_a_stream

    @staticmethod
    def _settle(done: asyncio.Future[bool] | None, outcome: bool) -> None:
        if done is not None and not done.done():
            done.set_result(outcome)
