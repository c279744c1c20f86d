"""One connection on the air: connection events, airtime, flow control and the supervision timeout.

Packets wait at their sender until the next connection event. In an event both sides send until what was waiting is
sent, the share of the interval that this link may use is full, or the receiver cannot take more: then the sender waits,
as with the link layer's own acknowledgements. Nothing is lost on a link; what the air spoils is sent again.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import TYPE_CHECKING

from bumble import hci, ll

if TYPE_CHECKING:
    from bitrelay.lab.controller import RadioConnection, RadioController
    from bitrelay.lab.radio import Radio

INTERVAL_UNIT_S = 0.00125
TIMEOUT_UNIT_S = 0.010
EVENTS_TO_ESTABLISH = 6
"""A link that hears nothing in its first six events was never established (Core 5.4, vol 6 part B 4.5.2)."""


def exchange_time_s(octets: int) -> float:
    """Seconds that one data packet and its empty answer take on the 1M PHY, with gaps (Core 5.4, vol 6 part B 2.1)."""
    return ((10 + octets) * 8 + 150 + 80 + 150) / 1e6


class _End:
    """What one controller has to send on the link."""

    def __init__(self, controller: RadioController) -> None:
        self.controller = controller
        self.connection: RadioConnection | None = None
        self.data: deque[hci.HCI_AclDataPacket] = deque()
        self.control: deque[ll.ControlPdu] = deque()
        self.terminate_reason: int | None = None

    @property
    def is_waiting(self) -> bool:
        return bool(self.data or self.control or self.terminate_reason is not None)


class AirLink:
    """The air between two connected controllers."""

    def __init__(
        self,
        radio: Radio,
        central: RadioController,
        peripheral: RadioController,
        interval: int,
        latency: int,
        timeout: int,
    ) -> None:
        self._radio = radio
        self._ends = (_End(central), _End(peripheral))
        self._loop = asyncio.get_running_loop()
        self.interval = interval
        self.latency = latency
        self.timeout = timeout
        self._anchor = self._loop.time()
        self._event: asyncio.TimerHandle | None = None
        self._supervision: asyncio.TimerHandle | None = None
        self._is_open = True
        self._is_established = False

    def attach(self, connection: RadioConnection) -> None:
        """Tell the link which connection of a controller it carries."""
        self._own_end(connection.radio_controller).connection = connection

    @property
    def is_busy(self) -> bool:
        return any(end.is_waiting for end in self._ends)

    def rssi(self) -> float | None:
        """The level at which both ends hear each other now."""
        return self._radio.rssi(self._ends[0].controller.name, self._ends[1].controller.name)

    # What a controller does

    def send_data(self, sender: RadioController, packet: hci.HCI_AclDataPacket) -> None:
        self._own_end(sender).data.append(packet)
        self._schedule()

    def send_control(self, sender: RadioController, packet: ll.ControlPdu) -> None:
        self._own_end(sender).control.append(packet)
        self._schedule()

    def terminate(self, sender: RadioController, reason: int) -> None:
        """Say goodbye with the next event; without an answer the supervision timeout ends the link."""
        self._own_end(sender).terminate_reason = reason
        self._schedule()

    def update_parameters(self, interval: int, latency: int, timeout: int) -> None:
        """New connection parameters, in the units of HCI."""
        self.interval, self.latency, self.timeout = interval, latency, timeout
        self._anchor = self._loop.time()

    def vanish(self, controller: RadioController) -> None:
        """One end is gone without a word."""
        end = self._own_end(controller)
        end.connection = None
        end.data.clear()
        end.control.clear()
        if not any(end.connection for end in self._ends):
            self.discard()
        else:
            self.check_reach()

    def fail_to_establish(self) -> None:
        """The peer never heard the connection request: the initiator finds out six events later."""
        self._supervise(EVENTS_TO_ESTABLISH * self.interval * INTERVAL_UNIT_S)

    def discard(self) -> None:
        """Drop the link and its timers; nobody is told."""
        self._is_open = False
        for timer in (self._event, self._supervision):
            if timer is not None:
                timer.cancel()
        self._event = self._supervision = None
        self._radio.forget_air_link(self)

    # Reach

    def check_reach(self) -> None:
        """Called when the map changed: start or stop the supervision timeout."""
        if not self._is_open or not self._is_established:
            return
        if self._is_in_reach():
            if self._supervision is not None:
                self._supervision.cancel()
                self._supervision = None
            self._schedule()
        elif self._supervision is None:
            self._supervise(self.timeout * TIMEOUT_UNIT_S)

    def _is_in_reach(self) -> bool:
        return all(end.connection is not None for end in self._ends) and self.rssi() is not None

    def _supervise(self, delay_s: float) -> None:
        self._supervision = self._loop.call_later(delay_s, self._on_supervision_timeout)

    def _on_supervision_timeout(self) -> None:
        self._supervision = None
        reason = (
            hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR
            if self._is_established
            else hci.HCI_ErrorCode.CONNECTION_FAILED_TO_BE_ESTABLISHED_ERROR
        )
        self._close({end.controller: reason for end in self._ends})

    def establish(self) -> None:
        """Both ends are attached: from here on silence means a lost link, not one that never was."""
        self._is_established = True
        self.check_reach()

    # Connection events

    def _schedule(self) -> None:
        if self._event is None and self._is_open and self._is_established and self.is_busy and self._is_in_reach():
            interval_s = self.interval * INTERVAL_UNIT_S / self._radio.air_speed
            now = self._loop.time()
            past = math.floor((now - self._anchor) / interval_s) + 1
            self._event = self._loop.call_at(self._anchor + past * interval_s, self._on_event)

    def _on_event(self) -> None:
        self._event = None
        if not self._is_in_reach():
            return
        self._send_control_packets()
        self._send_data_packets()
        if self._is_open:
            self._say_goodbye()
        self._schedule()

    def _send_control_packets(self) -> None:
        for end, peer in (self._ends, self._ends[::-1]):
            while end.control and self._is_open:
                packet = end.control.popleft()
                if peer.connection is not None:
                    peer.controller.on_ll_control_pdu(peer.connection.peer_address, packet)

    def _send_data_packets(self) -> None:
        share = max(end.controller.busy_links() for end in self._ends)
        budget_s = self.interval * INTERVAL_UNIT_S / max(share, 1)
        # What a host answers within an event has to wait for the next one.
        waiting = [len(end.data) for end in self._ends]
        sent = [0, 0]
        is_first = True
        while any(waiting):
            for side in (0, 1):
                if not waiting[side]:
                    continue
                end, peer = self._ends[side], self._ends[1 - side]
                if peer.connection is None or not peer.controller.can_take_data():
                    waiting[side] = 0
                    continue
                packet = end.data[0]
                budget_s -= exchange_time_s(len(packet.data))
                if budget_s < 0 and not is_first:
                    waiting = [0, 0]
                    break
                is_first = False
                if self._radio.is_lost():
                    continue
                end.data.popleft()
                waiting[side] -= 1
                sent[side] += 1
                if self._radio.tap is not None:
                    self._radio.tap(end.controller.name, peer.controller.name, packet)
                peer.controller.deliver_data(peer.connection, packet)
        for end, count in zip(self._ends, sent, strict=True):
            if count and end.connection is not None:
                end.controller.report_completed(end.connection, count)

    def _say_goodbye(self) -> None:
        for end, peer in (self._ends, self._ends[::-1]):
            if end.terminate_reason is not None:
                local = hci.HCI_ErrorCode.CONNECTION_TERMINATED_BY_LOCAL_HOST_ERROR
                self._close({end.controller: local, peer.controller: end.terminate_reason})
                return

    def _close(self, reasons: dict[RadioController, int]) -> None:
        self.discard()
        for end in self._ends:
            connection, end.connection = end.connection, None
            if connection is not None:
                end.controller.on_link_closed(connection, reasons[end.controller])

    def _own_end(self, controller: RadioController) -> _End:
        return self._ends[0] if self._ends[0].controller is controller else self._ends[1]
