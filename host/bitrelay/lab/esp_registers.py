"""The registers of virtual chips, as far as esptool reads and writes them (esptool/targets, esptool/loader.py).

Fuses that say which chip it is and its MAC address, the clock divider of the UART, the SPI controller through which
flash chips are asked who they are, and the RTC watchdog that esptool uses to reset chips without reset line.
"""

from dataclasses import dataclass

_MAGIC_ADDRESS = 0x40001000
_CRYSTAL_HZ = 40_000_000
_SPI_START = 1 << 18
_WATCHDOG_ON = 1 << 31
# A host may write wherever it likes; nobody needs more.
_MOST_REGISTERS = 4096

_READ_ID = 0x9F
_READ_SFDP = 0x5A
_SFDP_SIGNATURE = 0x50444653
# XMC, as on many boards: manufacturer 0x20, kind 0x40; the third byte is the power of two of the size.
_FLASH_ID = 0x4020


@dataclass(frozen=True)
class RegisterMap:
    """Where a chip has what. spi_* are offsets from spi, watchdog the configuration and the write protection.

    magic is what esptool tells chips without a chip id by; fuses are constant.
    """

    magic: int
    spi: int
    spi_user2: int
    spi_data: int
    uart_divider: int
    mac_low: int
    mac_high: int
    fuses: dict[int, int]
    watchdog: tuple[int, int] | None = None


REGISTER_MAPS = {
    "esp32": RegisterMap(
        magic=0x00F01D83,
        spi=0x3FF42000,
        spi_user2=0x24,
        spi_data=0x80,
        uart_divider=0x3FF40014,
        mac_low=0x3FF5A004,
        mac_high=0x3FF5A008,
        fuses={
            0x3FF5A00C: 1 << 9 | 1 << 13 | 1 << 15,  # ESP32-D0WD, 240 MHz
            0x3FF5A010: 0x80,  # of the internal 8 MHz clock, from which the crystal's frequency is calculated
            0x3FF5A014: 1 << 20 | 1 << 24,  # with the others: revision 3.1
            0x3FF6607C: 1 << 31,
            0x3FF5F06C: 800 << 7,  # RTC calibration: a crystal of 40 MHz
        },
    ),
    "esp32c3": RegisterMap(
        magic=0x6921506F,
        spi=0x60002000,
        spi_user2=0x20,
        spi_data=0x58,
        uart_divider=0x60000014,
        mac_low=0x60008844,
        mac_high=0x60008848,
        fuses={0x60008850: 4 << 18},  # revision 0.4
        watchdog=(0x60008090, 0x600080A8),
    ),
    "esp32s3": RegisterMap(
        magic=0x9,
        spi=0x60002000,
        spi_user2=0x20,
        spi_data=0x58,
        uart_divider=0x60000014,
        mac_low=0x60007044,
        mac_high=0x60007048,
        fuses={0x60007050: 2 << 18},  # revision 0.2
        watchdog=(0x60008098, 0x600080B0),
    ),
}


class Registers:
    """The registers of one chip since its reset; whatever is not known is zero until it is written."""

    def __init__(self, chip: str, mac: bytes, flash_size: int) -> None:
        """mac are the 6 bytes of the factory's MAC address, flash_size the bytes of the flash on the SPI bus."""
        self._map = REGISTER_MAPS[chip]
        self._flash_size = flash_size
        self._values = {
            _MAGIC_ADDRESS: self._map.magic,
            self._map.mac_low: int.from_bytes(mac[2:], "big"),
            self._map.mac_high: int.from_bytes(mac[:2], "big"),
            **self._map.fuses,
        }
        self.set_baud(115200)

    def read(self, address: int) -> int:
        """The 32 bits at an address."""
        return self._values.get(address, 0)

    def write(self, address: int, value: int, mask: int) -> bool:
        """Change the bits in mask. True if that armed the RTC watchdog, which resets the chip."""
        if address not in self._values and len(self._values) >= _MOST_REGISTERS:
            return False
        self._values[address] = value = self.read(address) & ~mask | value & mask
        if address == self._map.spi and value & _SPI_START:
            self._values[address] = 0
            self._values[self._map.spi + self._map.spi_data] = self._ask_flash()
        if self._map.watchdog is None:
            return False
        configuration, protection = self._map.watchdog
        return address == protection and value == 0 and bool(self.read(configuration) & _WATCHDOG_ON)

    def set_baud(self, baud: int) -> None:
        """The UART's divider for a rate in bits per second: esptool finds the crystal's frequency by it."""
        self._values[self._map.uart_divider] = round(_CRYSTAL_HZ / max(1, baud))

    def _ask_flash(self) -> int:
        # What the flash answers to the command that the SPI controller has been given.
        command = self.read(self._map.spi + self._map.spi_user2) & 0xFF
        if command == _READ_ID:
            return (self._flash_size.bit_length() - 1) << 16 | _FLASH_ID
        if command == _READ_SFDP and self.read(self._map.spi + 4) == 0:
            return _SFDP_SIGNATURE
        return 0
