# Watchdog, clock, LED, and how late the loop is: a relay that hangs is reset, one that lives shows it.
import gc

import machine
from micropython import const

CHECK_MS = const(1000)
# A watchdog cannot be switched off on an ESP32. When the REPL has the board, it gets this long; then the relay is back.
_REPL_S = const(3600)

RESET_CAUSES = ("?", "power on", "hard reset", "watchdog", "deep sleep", "soft reset")


def reset_cause():
    cause = machine.reset_cause()
    return RESET_CAUSES[cause] if 0 <= cause < len(RESET_CAUSES) else str(cause)


class Health:
    def __init__(self, clock, links, watchdog_s, led_pin, log):
        self.clock = clock
        self.links = links
        self.loop_late_ms = 0
        self.wdt = machine.WDT(timeout=watchdog_s * 1000)
        self.led = None
        if led_pin >= 0:
            try:
                self.led = machine.Pin(led_pin, machine.Pin.OUT)
            except ValueError:
                log.warning("led_pin %d: this chip has no such output" % led_pin)

    # Called every CHECK_MS by the loop that forwards, so that a loop that stands still starves the watchdog.
    def check(self, late_ms):
        self.wdt.feed()
        if late_ms > self.loop_late_ms:
            self.loop_late_ms = late_ms
        if self.led is not None:
            # Steady with a link, on and off each second without.
            self.led.value(1 if self.links.ready else self.clock.now_s & 1)


def give_to_repl():
    machine.WDT(timeout=_REPL_S * 1000)


# (free, used) bytes; collected first, since garbage is neither.
def heap():
    gc.collect()
    return gc.mem_free(), gc.mem_alloc()
