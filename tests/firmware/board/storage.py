# The board's files in the working directory, which the test makes, and a power cut at any moment of writing them.
import os

from firmware import files, settings, stored, transfer

FOLDER = ""
SETTINGS = "settings.json"
TRIAL = "trial.json"
IDENTITY = "identity.bin"


class PowerCut(BaseException):
    pass


def write(text, path=SETTINGS):
    with open(path, "wb") as f:
        f.write(text.encode() if isinstance(text, str) else text)


def read(path=SETTINGS):
    with open(path, "rb") as f:
        return f.read()


def is_there(path):
    try:
        os.stat(path)
    except OSError:
        return False
    return True


def remove_all():
    for name in os.listdir():
        os.remove(name)


# The settings after a start.
def start(booted=True):
    return settings.Settings(FOLDER, booted)


# Stands for `os` and `open` in the modules that write. The power goes before operation number `at` (a write leaves half
# of what was to be written); done is how many there were.
class Power:
    def __init__(self, at):
        self.at = at
        self.done = 0

    def __enter__(self):
        for module in (files, settings, stored, transfer):
            module.os = self
            module.open = self._open
        return self

    def __exit__(self, kind, error, trace):
        for module in (files, settings, stored, transfer):
            module.os = os
            del module.open
        return isinstance(error, PowerCut)

    def step(self):
        self.done += 1
        if self.done > self.at:
            raise PowerCut

    def stat(self, path):
        return os.stat(path)

    def rename(self, old, new):
        self.step()
        os.rename(old, new)

    def remove(self, path):
        self.step()
        os.remove(path)

    def _open(self, path, mode="r"):
        if "r" in mode:
            return open(path, mode)
        self.step()
        return _File(self, open(path, mode))


class _File:
    def __init__(self, power, file):
        self._power = power
        self._file = file

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self._file.close()

    def write(self, data):
        try:
            self._power.step()
        except PowerCut:
            self._file.write(data[: len(data) // 2])
            raise
        self._file.write(data)
