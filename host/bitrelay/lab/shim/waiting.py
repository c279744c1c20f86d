# `time`, `select` and `machine.idle` of a board whose Bluetooth events come through a socket: whoever waits lets them
# in.
#
# On an ESP32 the handler runs on another task, whatever the program does. Here it runs while the program waits, looks
# at the clock, or calls `bluetooth`; a loop that does none of these is as deaf as a board whose interpreter is stuck in
# C.
import sys

import uselect
import utime
from micropython import const

_IOCTL_POLL = const(3)
_POLL_IN_OUT = const(5)
# Objects without a file descriptor are asked again that often; events wake the wait at once.
_SOFT_PERIOD_MS = const(20)

_radio = None
_last_look = 0


def ticks_ms():
    global _last_look
    now = utime.ticks_ms()
    if now != _last_look:
        _last_look = now
        _radio.dispatch()
    return now


def sleep_ms(ms):
    if _radio.in_handler:
        utime.sleep_ms(ms)
        return
    end = utime.ticks_add(utime.ticks_ms(), ms)
    while True:
        _radio.dispatch()
        left = utime.ticks_diff(end, utime.ticks_ms())
        if left <= 0:
            return
        _wait(left)


def _wait(ms):
    if _radio.is_open:
        _radio.wait(ms)
    else:
        utime.sleep_ms(ms)


def sleep(seconds):
    sleep_ms(int(seconds * 1000))


def sleep_us(us):
    if us < 1000:
        utime.sleep_us(us)
    else:
        sleep_ms(us // 1000)


def idle():
    if not _radio.in_handler:
        _wait(1)
        _radio.dispatch()


# A poller that also wakes for Bluetooth events. Objects with an ioctl method of their own (asyncio.ThreadSafeFlag) are
# kept apart, so that the system's poll can sleep until something arrives.
class poll:
    def __init__(self):
        self._hard = uselect.poll()
        self._hard.register(_radio.sock, uselect.POLLIN)
        self._soft = []
        self._at = 0
        self._rest = None

    def _find(self, obj):
        for entry in self._soft:
            if entry[0] is obj:
                return entry
        return None

    def register(self, obj, flags=_POLL_IN_OUT):
        if not hasattr(obj, "ioctl"):
            self._hard.register(obj, flags)
            return
        entry = self._find(obj)
        if entry:
            entry[1] = flags
        else:
            self._soft.append([obj, flags, 0])

    def modify(self, obj, flags):
        entry = self._find(obj)
        if entry:
            entry[1] = flags
        else:
            self._hard.modify(obj, flags)

    def unregister(self, obj):
        entry = self._find(obj)
        if entry:
            self._soft.remove(entry)
        else:
            self._hard.unregister(obj)

    def ipoll(self, timeout=-1):
        sock = _radio.sock
        soft = self._soft
        end = utime.ticks_add(utime.ticks_ms(), timeout) if timeout > 0 else 0
        while True:
            _radio.dispatch()
            ready = 0
            for entry in soft:
                entry[2] = entry[0].ioctl(_IOCTL_POLL, entry[1])
                if entry[2]:
                    ready = 1
            left = 0 if ready or timeout == 0 else timeout
            if left > 0:
                left = max(0, utime.ticks_diff(end, utime.ticks_ms()))
            is_over = left == 0
            if soft and (left < 0 or left > _SOFT_PERIOD_MS):
                left = _SOFT_PERIOD_MS
            hard = 0
            for item in self._hard.ipoll(left):
                if item[0] is not sock:
                    hard = 1
                elif not _radio.is_open:
                    self._hard.unregister(sock)
                    break
            if hard or is_over:
                break
        self._at = len(soft) if ready else 0
        self._rest = self._hard.ipoll(0) if hard else None
        return self

    def __iter__(self):
        return self

    def __next__(self):
        # From the end, since asyncio unregisters what it was just given.
        while self._at > 0:
            self._at -= 1
            entry = self._soft[self._at]
            if entry[2]:
                return entry[0], entry[2]
        if self._rest is None:
            raise StopIteration
        item = next(self._rest)
        return next(self._rest) if item[0] is _radio.sock else item

    def poll(self, timeout=-1):
        return [(item[0], item[1]) for item in self.ipoll(timeout)]


def select(rlist, wlist, xlist, timeout=None):
    poller = poll()
    wanted = {}
    for flag, objects in ((uselect.POLLIN, rlist), (uselect.POLLOUT, wlist), (0, xlist)):
        for obj in objects:
            wanted[id(obj)] = wanted.get(id(obj), 0) | flag
            poller.register(obj, wanted[id(obj)])
    ready = {id(obj): flags for obj, flags in poller.poll(-1 if timeout is None else int(timeout * 1000))}

    def those(objects, flags):
        return [obj for obj in objects if ready.get(id(obj), 0) & flags]

    failed = uselect.POLLERR | uselect.POLLHUP
    return those(rlist, uselect.POLLIN | failed), those(wlist, uselect.POLLOUT | failed), those(xlist, failed)


class _LookAlike:
    def __init__(self, module):
        for name in dir(module):
            setattr(self, name, getattr(module, name))


# Replace what waits in a module; one that is built in cannot be changed and gets a look-alike.
def _patch(name, replaced):
    module = sys.modules.get(name) or __import__(name)
    for function in replaced:
        try:
            setattr(module, function.__name__, function)
        except AttributeError:
            module = sys.modules[name] = _LookAlike(module)
            setattr(module, function.__name__, function)


def install(radio):
    global _radio
    _radio = radio
    _patch("time", (sleep, sleep_ms, sleep_us, ticks_ms))
    _patch("select", (select, poll))
    _patch("machine", (idle,))
