"""Legacy advertising of one virtual controller, as the link layer does it (Core 5.4, vol 6 part B 4.4.2)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bumble import hci
from bumble.controller import LegacyAdvertiser

if TYPE_CHECKING:
    from bitrelay.lab.controller import RadioController

INTERVAL_UNIT_S = 0.000625
MAX_RANDOM_DELAY_S = 0.010
LONGEST_INTERVAL = 0x4000

Type = hci.HCI_LE_Set_Advertising_Parameters_Command.AdvertisingType
Report = hci.HCI_LE_Advertising_Report_Event

REPORT_TYPES = {
    Type.ADV_IND: Report.EventType.ADV_IND,
    Type.ADV_SCAN_IND: Report.EventType.ADV_SCAN_IND,
    Type.ADV_NONCONN_IND: Report.EventType.ADV_NONCONN_IND,
}
"""Directed advertising is not offered: nothing in this system uses it."""


class RadioAdvertiser(LegacyAdvertiser):
    """Bumble's advertiser state with true intervals, random delay, scan responses and a limit of links."""

    controller: RadioController

    @property
    def is_connectable(self) -> bool:
        return self.enabled and self.advertising_type == Type.ADV_IND and self.controller.has_free_link

    def start(self) -> None:
        self.stop()
        self.enabled = True
        self.timer_handle = asyncio.get_running_loop().call_soon(self._on_timer_fired)

    def _on_timer_fired(self) -> None:
        delay_s = self.controller.radio.random.uniform(0.0, MAX_RANDOM_DELAY_S)
        interval = self.advertising_interval_min or LONGEST_INTERVAL
        self.timer_handle = asyncio.get_running_loop().call_later(
            interval * INTERVAL_UNIT_S + delay_s, self._on_timer_fired
        )
        self.send_advertising_data()

    def send_advertising_data(self) -> None:
        """One advertising event: every node in reach that listens gets it, unless the air spoils it."""
        if self.advertising_type == Type.ADV_IND and not self.is_connectable:
            return
        if (report_type := REPORT_TYPES.get(Type(self.advertising_type))) is None:
            return
        radio = self.controller.radio
        for hearer, rssi in radio.hearers(self.controller):
            if hearer.wants_advertisements and not radio.is_lost():
                hearer.on_advertisement(self, report_type, round(rssi))
