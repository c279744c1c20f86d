# Time on a board without a clock: seconds since start that do not wrap (ticks_ms does, every 12 days).
import time


class Clock:
    def __init__(self):
        self.now_s = 0
        self._left_ms = 0
        self._last = time.ticks_ms()

    # Called at least once per wrap of ticks_ms; the health task does it every second.
    def update(self):
        now = time.ticks_ms()
        self._left_ms += time.ticks_diff(now, self._last)
        self._last = now
        self.now_s += self._left_ms // 1000
        self._left_ms %= 1000
