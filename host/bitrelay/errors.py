"""Everything that can go wrong, and the exit code each of it ends a command with.

    BitrelayError
     +- CheckFailed          a check said no: a demo that lost a frame
     +- BadData              input that is not what it should be
     +- NoDevice             no device, or several to choose from
     +- PortError            the port cannot be opened, read or written
     |   +- DeviceLost       the device went away while we talked
     +- DeviceError          the device answers, but not as it should
     |   +- NotARelay        what answers is not a relay's console
     |   +- RequestRefused   the relay answered with an error
     +- DeviceTimeout        no answer within the deadline
     +- OutputClosed         whoever read our output has gone
     +- BrokenInstallation   files of this package are missing

docs/exit-codes.md shows the same table to the user.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """What a command's exit status means; numbers from 64 on are those of BSD's sysexits.h where it has one."""

    OK = 0
    CHECK_FAILED = 1
    USAGE = 2
    BAD_DATA = 65
    NO_DEVICE = 66
    DEVICE_FAILED = 69
    INTERNAL = 70
    IO_ERROR = 74
    TIMEOUT = 75
    HUNG_UP = 129
    INTERRUPTED = 130
    OUTPUT_CLOSED = 141
    TERMINATED = 143


EXIT_MEANING: dict[ExitCode, str] = {
    ExitCode.OK: "done",
    ExitCode.CHECK_FAILED: "it ran, and what was checked did not hold (a demo lost a frame)",
    ExitCode.USAGE: "wrong usage",
    ExitCode.BAD_DATA: "the input is not valid (a frame that cannot be decoded, a scenario with an error)",
    ExitCode.NO_DEVICE: "no device found, no such port, or several to choose from",
    ExitCode.DEVICE_FAILED: "the device answered, but not as a relay should",
    ExitCode.INTERNAL: "a fault in bitrelay itself",
    ExitCode.IO_ERROR: "the port could not be opened, or the device went away",
    ExitCode.TIMEOUT: "the device did not answer in time",
    ExitCode.HUNG_UP: "ended by SIGHUP (its terminal was closed)",
    ExitCode.INTERRUPTED: "stopped with Ctrl-C",
    ExitCode.OUTPUT_CLOSED: "the reader of the output has gone (a closed pipe)",
    ExitCode.TERMINATED: "ended by SIGTERM (kill)",
}


class BitrelayError(Exception):
    """Raised when an operation failed for a reason the user can understand.

    what: one clause, what happened; device: the port or name it happened on; hint: what to do next.
    """

    exit_code: ExitCode = ExitCode.INTERNAL

    def __init__(self, what: str, *, device: str | None = None, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.device = device
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.device}: {self.what}" if self.device else self.what
        return f"{text}. {self.hint}" if self.hint else text


class CheckFailed(BitrelayError):
    """Raised when everything ran and the result is not what it must be."""

    exit_code = ExitCode.CHECK_FAILED


class BadData(BitrelayError, ValueError):
    """Raised when bytes or a file given by the user cannot be understood."""

    exit_code = ExitCode.BAD_DATA


class NoDevice(BitrelayError):
    """Raised when there is no device to talk to, or no telling which one is meant."""

    exit_code = ExitCode.NO_DEVICE


class PortError(BitrelayError):
    """Raised when a port cannot be opened, read or written."""

    exit_code = ExitCode.IO_ERROR


class DeviceLost(PortError):
    """Raised when a device went away while it was being used."""


class DeviceError(BitrelayError):
    """Raised when a device does something a relay does not."""

    exit_code = ExitCode.DEVICE_FAILED


class NotARelay(DeviceError):
    """Raised when something answers on the port and it is not a relay's console."""


class RequestRefused(DeviceError):
    """Raised when the relay answers a request with an error; code is the relay's own word for it."""

    def __init__(self, what: str, *, code: str, device: str | None = None, hint: str | None = None) -> None:
        super().__init__(what, device=device, hint=hint)
        self.code = code


class DeviceTimeout(BitrelayError, TimeoutError):
    """Raised when a device does not answer within the deadline."""

    exit_code = ExitCode.TIMEOUT


class OutputClosed(BitrelayError):
    """Raised when the program that reads our output has gone."""

    exit_code = ExitCode.OUTPUT_CLOSED


class BrokenInstallation(BitrelayError):
    """Raised when files that belong to this package, or programs it needs, are not there."""
