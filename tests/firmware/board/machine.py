# What firmware modules import from `machine`, for tests of single modules.
class WDT:
    def __init__(self, id=0, timeout=5000):
        pass

    def feed(self):
        pass


class Pin:
    OUT = 3

    def __init__(self, id, mode=-1):
        pass

    def value(self, level):
        pass


def reset_cause():
    return 1


def unique_id():
    return b"\xf0\xf1\xf2\xf3\xf4\x01"


def reset():
    raise SystemExit
