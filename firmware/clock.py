# Time on a board without a clock. ticks_ms wraps after 12 days and ticks_diff lies after 6, so whatever may be older
# than minutes is told by this: tenths of a second since the start, which outlast every board (2**30 is three years).
import time


class Clock:
    def __init__(self):
        self.tenths = 0
        self.now_s = 0
        self._left_ms = 0
        self._last = time.ticks_ms()

    # Called at least once per wrap of ticks_ms; the mesh loop does it ten times a second.
    def update(self):
        now = time.ticks_ms()
        self._left_ms += time.ticks_diff(now, self._last)
        self._last = now
        self.tenths += self._left_ms // 100
        self._left_ms %= 100
        self.now_s = self.tenths // 10

    def uptime_ms(self):
        return self.tenths * 100
