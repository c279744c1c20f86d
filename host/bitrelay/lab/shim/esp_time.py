# The `time` of a virtual ESP32: whole seconds since 2000, zero at power on until somebody sets the clock.
import os

import utime
from micropython import const
from utime import sleep, sleep_ms, sleep_us, ticks_add, ticks_cpu, ticks_diff, ticks_ms, ticks_us  # noqa: F401

_SECONDS_1970_TO_2000 = const(946684800)
_NS = const(1_000_000_000)

# Seconds to add to the computer's clock (since 1970); the lab keeps it across resets as a board's RTC does.
offset = int(os.getenv("BITRELAY_CLOCK"))


def time():
    return utime.time_ns() // _NS + offset


def time_ns():
    return utime.time_ns() + offset * _NS


def set_time(seconds):
    global offset
    offset = seconds - utime.time_ns() // _NS


def gmtime(seconds=None):
    if seconds is None:
        seconds = time()
    return utime.gmtime(seconds + _SECONDS_1970_TO_2000)[:8]


localtime = gmtime


def mktime(when):
    return int(utime.mktime(tuple(when[:8]) + (0,))) - _SECONDS_1970_TO_2000
