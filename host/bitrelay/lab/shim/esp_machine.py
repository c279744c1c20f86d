# The `machine` of a virtual ESP32. What a pin, the watchdog or a reset does outside the processor is told to the lab,
# one line each: reset | soft | bootloader | sleep MS | wdt MS | feed | pin N LEVEL | clock OFFSET
import os

import esp_time
from micropython import const
from umachine import idle, mem8, mem16, mem32, time_pulse_us  # noqa: F401
from utime import sleep_ms as _sleep_ms

PWRON_RESET = const(1)
HARD_RESET = const(2)
WDT_RESET = const(3)
DEEPSLEEP_RESET = const(4)
SOFT_RESET = const(5)

_control = open(int(os.getenv("BITRELAY_CONTROL")), "wb")
_cause = int(os.getenv("BITRELAY_RESET_CAUSE"))
_unique_id = bytes(int(os.getenv("BITRELAY_UNIQUE_ID")[i : i + 2], 16) for i in range(0, 12, 2))
_frequency = 160_000_000


def _power_gone(line):
    _control.write(line)
    while True:  # the lab ends this process: nothing after a reset may run
        try:
            _sleep_ms(1000)
        except KeyboardInterrupt:
            pass


def reset():
    _power_gone(b"reset\n")


def soft_reset():
    raise SystemExit


def bootloader(timeout=0):
    _power_gone(b"bootloader\n")


def deepsleep(ms=0):
    _power_gone(b"sleep %d\n" % ms)


def lightsleep(ms=0):
    import time

    time.sleep_ms(ms)


def reset_cause():
    return _cause


def unique_id():
    return _unique_id


def freq(hz=None):
    global _frequency
    if hz is None:
        return _frequency
    if hz not in (20_000_000, 40_000_000, 80_000_000, 160_000_000, 240_000_000):
        raise ValueError("frequency must be 20MHz, 40MHz, 80Mhz, 160MHz or 240MHz")
    _frequency = hz
    return None


def disable_irq():
    return 0


def enable_irq(state):
    pass


class WDT:
    def __init__(self, id=0, timeout=5000):
        if id != 0:
            raise ValueError
        if timeout <= 0:
            raise ValueError("WDT timeout too short")
        _control.write(b"wdt %d\n" % timeout)

    def feed(self):
        _control.write(b"feed\n")


class Pin:
    IN = const(1)
    OUT = const(3)
    OPEN_DRAIN = const(7)
    PULL_DOWN = const(1)
    PULL_UP = const(2)
    IRQ_RISING = const(1)
    IRQ_FALLING = const(2)
    _levels = {}

    def __init__(self, id, mode=-1, pull=-1, value=None):
        if not 0 <= id < 49:
            raise ValueError("invalid pin")
        self.id = id
        self.init(mode, pull, value)

    def init(self, mode=-1, pull=-1, value=None):
        if pull == self.PULL_UP and self.id not in self._levels:
            self._levels[self.id] = 1
        if value is not None:
            self.value(value)

    def value(self, level=None):
        if level is None:
            return self._levels.get(self.id, 0)
        level = 1 if level else 0
        if self._levels.get(self.id) != level:
            self._levels[self.id] = level
            _control.write(b"pin %d %d\n" % (self.id, level))
        return None

    __call__ = value

    def on(self):
        self.value(1)

    def off(self):
        self.value(0)

    def irq(self, handler=None, trigger=3, wake=None, hard=False):
        pass


class RTC:
    def datetime(self, when=None):
        if when is None:
            now = esp_time.gmtime()
            return now[:3] + (now[6],) + now[3:6] + (0,)
        esp_time.set_time(esp_time.mktime(when[:3] + when[4:7] + (0, 0)))
        _control.write(b"clock %d\n" % esp_time.offset)
        return None

    def init(self, when):
        self.datetime(when)
