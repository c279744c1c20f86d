"""Relays on pseudo-terminals that hear a frame as soon as somebody listens, and keep what they are to send."""

import queue

from bitrelay.counters import NAMES
from shared_protocol import console as messages
from tests.host.fake_relay import INFO, FakeRelay, Values

COUNTERS = [0] * len(NAMES)
COUNTERS[NAMES.index("tx_frames")] = 30
COUNTERS[NAMES.index("drop_no_slot")] = 7
COUNTERS[NAMES.index("console_dropped")] = 4


class HearingRelay(FakeRelay):
    """heard: the frame. said: what it was given to send."""

    def __init__(self, heard: bytes | None = None) -> None:
        super().__init__()
        self.heard = heard
        self.said: queue.Queue[bytes] = queue.Queue()
        self.answers |= {
            messages.INFO: HearingRelay._info,
            messages.STATS: HearingRelay._stats,
            messages.LISTEN: HearingRelay._listen,
            messages.SEND: HearingRelay._send,
        }

    def _info(self, request_id: int, values: Values) -> None:
        self.reply(messages.INFO, request_id, INFO | {"peer_id": bytes(range(32))})

    def _stats(self, request_id: int, values: Values) -> None:
        self.reply(messages.STATS, request_id, {"slots_total": 20, "slots_free": 5, "counters": COUNTERS})

    def _listen(self, request_id: int, values: Values) -> None:
        self.reply(messages.LISTEN, request_id, {"on": values["on"]})
        if self.heard is not None:
            self.say(messages.EVENT_FRAME, 0, {"conn": 1, "frame": self.heard, "verdict": "forward"})

    def _send(self, request_id: int, values: Values) -> None:
        self.reply(messages.SEND, request_id, {"links": 1})
        self.said.put(values["frame"])
