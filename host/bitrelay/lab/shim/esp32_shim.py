# Puts the modules of an ESP32 in place of, or beside, those of the unix port.
import os
import sys
from collections import namedtuple


class _Layer:
    # A module with some names replaced: for those that are too big to copy and too rarely used to cost time.
    def __init__(self, under, over):
        self._under = under
        self._over = over

    def __getattr__(self, name):
        found = self._over.get(name)
        return getattr(self._under, name) if found is None else found


def install():
    # machine and time become modules of their own, so that a bluetooth shim can lay its waits over theirs.
    import esp_machine
    import esp_time

    real = sys.implementation
    name, board = os.getenv("BITRELAY_MACHINE").split(",")
    fields = ("name", "version", "_machine", "_mpy", "_build", "_thread")
    implementation = namedtuple("implementation", fields)(
        real[0], real[1], "Generic %s module with %s" % (name, name), real._mpy, board, "GIL"
    )
    uname = namedtuple("uname", ("sysname", "nodename", "release", "version", "machine"))(
        "esp32", "esp32", "%d.%d.%d" % real[1][:3], sys.version, implementation._machine
    )
    loaded = sys.modules
    loaded["machine"] = esp_machine
    loaded["time"] = esp_time
    loaded["os"] = _Layer(os, {"uname": lambda: uname, "sync": lambda: None})
    loaded["sys"] = _Layer(sys, {"platform": "esp32", "implementation": implementation})
