"""Everything that can go wrong, and the exit code each of it ends a command with.

    BitrelayError
     +- CheckFailed          a check said no: a demo that lost a frame
     |   +- NotVerified      what runs on a board is not what was flashed
     |   +- ChallengeExpired the proof of work took longer than its challenge lives
     |   +- BrokenLedger     a ledger is not as its relayer signed it
     +- BadData              input that is not what it should be
     |   +- DamagedFirmware  a firmware file that was truncated or altered
     |   +- FirmwareMismatch a firmware file that is not the one its board file names
     |   +- TooNew           a file made by a newer release
     |   +- WrongPassphrase  a sealed file that this passphrase does not open
     |   +- IdentityRefused  an identity that is not what it says
     |   +- NoIdentity       this computer has no identity yet
     |   +- DamagedIdentity  an identity's file that was altered
     |   +- NotPrivate       a file with secrets that others can get at
     |   +- WrongAddress     an address that is none, or is of another transport
     |   +- BadDatagram      a datagram that is none of the DHT's
     +- NoFirmware           no firmware file, and no network to get it from
     +- DiskFull             no room for a file on this computer
     +- NoDevice             no device, or several to choose from
     +- NoBluetooth          this computer has no Bluetooth that can be used
     |   +- BluetoothDenied  it has, and does not let us use it
     +- PortError            the port cannot be opened, read or written
     |   +- PortBusy         another program has the port
     |   +- DeviceLost       the device went away while we talked
     +- DeviceError          the device answers, but not as it should
     |   +- NotARelay        what answers is not a relay's console
     |   +- RequestRefused   the relay answered with an error
     |   +- WrongChip        the firmware is for another chip than the board's
     |   +- FlashTooSmall    the board's flash does not hold the firmware
     |   +- NoBootloader     the board does not enter its bootloader
     |   +- PeerError        a peer does not do as it should
     |       +- IncompatiblePeer  it speaks another major version of the protocol
     |       +- HandshakeFailed   no secure session came about
     |       +- NoSession         there is no secure session with it
     |       +- MessageRefused    it sent what its session did not seal, or sent it twice
     |       +- NotConnected      there is no connection with it
     +- CommandFailed        the node that runs could not do what a command told it
     +- Unreachable          nobody can be reached at that address
     +- LimitReached         a limit of our own says no for now
     +- DeviceTimeout        no answer within the deadline
     +- TransportClosed      the transport was closed
     +- OutputClosed         whoever read our output has gone
     +- BrokenInstallation   files of this package are missing

docs/exit-codes.md shows the same table to the user.
"""

from enum import IntEnum, StrEnum


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
    WRONG_CHIP = 80
    BAD_FIRMWARE = 81
    FIRMWARE_MISMATCH = 82
    PORT_BUSY = 83
    DEVICE_LOST = 84
    NO_BOOTLOADER = 85
    FLASH_TOO_SMALL = 86
    DISK_FULL = 87
    NO_FIRMWARE = 88
    NOT_VERIFIED = 89
    TOO_NEW = 90
    WRONG_PASSPHRASE = 91
    NO_BLUETOOTH = 92
    BLUETOOTH_DENIED = 93
    HUNG_UP = 129
    INTERRUPTED = 130
    OUTPUT_CLOSED = 141
    TERMINATED = 143


EXIT_MEANING: dict[ExitCode, str] = {
    ExitCode.OK: "done",
    ExitCode.CHECK_FAILED: "it ran, and what was checked did not hold (a demo lost a frame)",
    ExitCode.USAGE: "wrong usage",
    ExitCode.BAD_DATA: "the input is not valid (a frame that cannot be decoded, a file that is missing or wrong)",
    ExitCode.NO_DEVICE: "no device found, no such port, or several to choose from",
    ExitCode.DEVICE_FAILED: "the device answered, but not as a relay should",
    ExitCode.INTERNAL: "a fault in bitrelay itself",
    ExitCode.IO_ERROR: "a port or file could not be opened, read or written",
    ExitCode.TIMEOUT: "the device did not answer in time",
    ExitCode.WRONG_CHIP: "the firmware, or the kind of board asked for, is for another chip than the board's",
    ExitCode.BAD_FIRMWARE: "the firmware file was truncated or altered",
    ExitCode.FIRMWARE_MISMATCH: "the firmware file has not the size or the SHA-256 that its board file names",
    ExitCode.PORT_BUSY: "another program has the port open",
    ExitCode.DEVICE_LOST: "the device went away",
    ExitCode.NO_BOOTLOADER: "the board did not enter its bootloader",
    ExitCode.FLASH_TOO_SMALL: "the board's flash is too small",
    ExitCode.DISK_FULL: "no room on this computer",
    ExitCode.NO_FIRMWARE: "no firmware: neither a network nor a copy in the cache",
    ExitCode.NOT_VERIFIED: "what runs on the board is not what was flashed",
    ExitCode.TOO_NEW: "the file was made by a newer release of bitrelay",
    ExitCode.WRONG_PASSPHRASE: "wrong passphrase",
    ExitCode.NO_BLUETOOTH: "no Bluetooth: no adapter, switched off, or its service does not run or answer",
    ExitCode.BLUETOOTH_DENIED: "no permission to use Bluetooth",
    ExitCode.HUNG_UP: "ended by SIGHUP (its terminal was closed)",
    ExitCode.INTERRUPTED: "stopped with Ctrl-C, or by SIGTERM or SIGHUP where there was something to clean up",
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


class NotVerified(CheckFailed):
    """Raised when the program that runs on a board, or what its flash holds, is not what was written."""

    exit_code = ExitCode.NOT_VERIFIED


class ChallengeExpired(CheckFailed):
    """Raised when a proof of work is not found while its challenge lives."""


class BrokenLedger(CheckFailed):
    """Raised when a proof-of-relay ledger is not as its relayer signed it.

    number: the first entry that is concerned; None if it is all of them.
    """

    def __init__(self, what: str, *, number: int | None) -> None:
        super().__init__(what)
        self.number = number


class BadData(BitrelayError, ValueError):
    """Raised when bytes or a file given by the user cannot be understood."""

    exit_code = ExitCode.BAD_DATA


class DamagedFirmware(BadData):
    """Raised when a firmware image's own sizes, checksum or hash do not hold."""

    exit_code = ExitCode.BAD_FIRMWARE


class FirmwareMismatch(BadData):
    """Raised when a firmware file's size or SHA-256 differs from the one in the board's file."""

    exit_code = ExitCode.FIRMWARE_MISMATCH


class TooNew(BadData):
    """Raised when a file was made by a newer release than this one."""

    exit_code = ExitCode.TOO_NEW


class WrongPassphrase(BadData):
    """Raised when a sealed file cannot be opened with the passphrase given."""

    exit_code = ExitCode.WRONG_PASSPHRASE


class IdentityRefused(BadData):
    """Raised when an identity is not what it says; reason is the name of one of `bitrelay.identity.verify.Refusal`."""

    def __init__(self, what: str, *, reason: str, device: str | None = None, hint: str | None = None) -> None:
        super().__init__(what, device=device, hint=hint)
        self.reason = reason


class NoIdentity(BadData):
    """Raised when this computer has no identity."""


class DamagedIdentity(BadData):
    """Raised when a file with an identity is not as it was written."""


class NotPrivate(BadData):
    """Raised when a file or folder for secrets belongs to somebody else, or others can read or replace it."""


class WrongAddress(BadData):
    """Raised when an address cannot be read, or is of a kind that the transport does not take."""


class DatagramFault(StrEnum):
    """Why a datagram of the DHT was not taken."""

    TOO_SHORT = "it is too short"
    TOO_LONG = "it is too long"
    OTHER_VERSION = "it is of another version"
    MALFORMED = "it cannot be read"
    STALE = "the clocks are too far apart, or it is old"
    FORGED = "its signature does not hold"


class BadDatagram(BadData):
    """Raised when a datagram is none of the DHT's, or not for this node; fault tells why."""

    def __init__(self, fault: DatagramFault, *, device: str | None = None, hint: str | None = None) -> None:
        super().__init__(f"the datagram is not valid: {fault}", device=device, hint=hint)
        self.fault = fault


class NoFirmware(BitrelayError):
    """Raised when a firmware file is not in the cache and cannot be downloaded."""

    exit_code = ExitCode.NO_FIRMWARE


class DiskFull(BitrelayError):
    """Raised when a file cannot be written for want of room."""

    exit_code = ExitCode.DISK_FULL


class NoDevice(BitrelayError):
    """Raised when there is no device to talk to, or no telling which one is meant."""

    exit_code = ExitCode.NO_DEVICE


class NoBluetooth(BitrelayError):
    """Raised when this computer has no Bluetooth adapter, or none that is switched on, served and answers."""

    exit_code = ExitCode.NO_BLUETOOTH


class BluetoothDenied(NoBluetooth):
    """Raised when the user or the system does not let this program use Bluetooth."""

    exit_code = ExitCode.BLUETOOTH_DENIED


class PortError(BitrelayError):
    """Raised when a port cannot be opened, read or written."""

    exit_code = ExitCode.IO_ERROR


class PortBusy(PortError):
    """Raised when another program has the port open."""

    exit_code = ExitCode.PORT_BUSY


class DeviceLost(PortError):
    """Raised when a device went away while it was being used."""

    exit_code = ExitCode.DEVICE_LOST


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


class WrongChip(DeviceError):
    """Raised when a firmware image is for another chip than the one on the board."""

    exit_code = ExitCode.WRONG_CHIP


class FlashTooSmall(DeviceError):
    """Raised when a board's flash has no room for the firmware and a filesystem."""

    exit_code = ExitCode.FLASH_TOO_SMALL


class NoBootloader(DeviceError):
    """Raised when a board does not enter its bootloader, for want of an auto-reset circuit or of a chip."""

    exit_code = ExitCode.NO_BOOTLOADER


class PeerError(DeviceError):
    """Raised when a peer does not do as the protocol says, or is not who it claims to be."""


class IncompatiblePeer(PeerError):
    """Raised when a peer speaks another major version of the protocol."""


class HandshakeFault(StrEnum):
    """Why a Noise handshake came to nothing."""

    TOO_SHORT = "a message is too short"
    TOO_LONG = "a message is too long"
    BAD_KEY = "a key in it is none"
    FORGED = "a message was forged or damaged, or the two ends began from different facts"
    OUT_OF_TURN = "it is not this end's turn"
    WRONG_PEER = "the peer is not the one it says it is"
    TOO_MANY = "there were too many handshakes"
    NO_ANSWER = "the peer did not answer in time"
    NO_HELLO = "the peer did not begin with its hello"
    HUNG_UP = "the peer hung up"
    OURSELVES = "it is this computer itself"


class HandshakeFailed(PeerError):
    """Raised when a Noise handshake fails; fault tells why."""

    def __init__(self, fault: HandshakeFault, *, device: str | None = None, hint: str | None = None) -> None:
        super().__init__(f"the secure handshake failed: {fault}", device=device, hint=hint)
        self.fault = fault


class NoSession(PeerError):
    """Raised when there is no secure session with a peer, or it has become too old to be used."""


class MessageFault(StrEnum):
    """Why a sealed message was not opened."""

    TOO_SHORT = "it is too short"
    TOO_LONG = "it is too long"
    REPLAYED = "it was there before"
    TOO_OLD = "it is too late to tell whether it was there before"
    FORGED = "it was not sealed in this session"


class MessageRefused(PeerError):
    """Raised when a sealed message cannot be opened; fault tells why."""

    def __init__(self, fault: MessageFault, *, device: str | None = None, hint: str | None = None) -> None:
        super().__init__(f"a sealed message was refused: {fault}", device=device, hint=hint)
        self.fault = fault


class NotConnected(PeerError):
    """Raised when there is no connection with a peer."""


class CommandFailed(BitrelayError):
    """Raised when a node that runs could not do what a command told it; exit_code as the node's own error has it."""

    def __init__(self, what: str, *, exit_code: ExitCode, device: str | None = None, hint: str | None = None) -> None:
        super().__init__(what, device=device, hint=hint)
        self.exit_code = exit_code


class Unreachable(BitrelayError):
    """Raised when nobody can be reached at an address: refused, no route, no such host."""

    exit_code = ExitCode.NO_DEVICE


class LimitReached(BitrelayError):
    """Raised when one of our own limits says no; limit is its name, retry_s when it is worth trying again.

    retry_s is None where no time helps, but that others end.
    """

    exit_code = ExitCode.TIMEOUT

    def __init__(
        self, what: str, *, limit: str, retry_s: float | None = None, device: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(what, device=device, hint=hint)
        self.limit = limit
        self.retry_s = retry_s


class DeviceTimeout(BitrelayError, TimeoutError):
    """Raised when a device does not answer within the deadline."""

    exit_code = ExitCode.TIMEOUT


class TransportClosed(BitrelayError):
    """Raised when a transport is used that was closed."""


class OutputClosed(BitrelayError):
    """Raised when the program that reads our output has gone."""

    exit_code = ExitCode.OUTPUT_CLOSED


class BrokenInstallation(BitrelayError):
    """Raised when files that belong to this package, or programs it needs, are not there."""
