"""Why a chip starts, where it starts from, and what its ROM prints about both.

The words are those of the ROMs (ESP-IDF, components/esp_rom/*/include/*/rom/rtc.h), the numbers those of
machine.reset_cause() on MicroPython's ESP32 port.
"""

from dataclasses import dataclass
from enum import Enum


class Reset(Enum):
    """A kind of reset."""

    POWER_ON = "power on"
    SOFTWARE = "software"
    WATCHDOG = "task watchdog"
    DEEP_SLEEP = "deep sleep"
    RTC_WATCHDOG = "RTC watchdog"
    SOFT = "soft reset"

    @property
    def cause(self) -> int:
        """What machine.reset_cause() returns."""
        return _CAUSES[self]

    @property
    def reads_boot_pin(self) -> bool:
        """Whether the boot pin decides where the chip starts from; after the others it is what it was before."""
        return self in (Reset.POWER_ON, Reset.RTC_WATCHDOG)


_CAUSES = {
    Reset.POWER_ON: 1,
    Reset.SOFTWARE: 2,
    Reset.WATCHDOG: 3,
    Reset.RTC_WATCHDOG: 3,
    Reset.DEEP_SLEEP: 4,
    Reset.SOFT: 5,
}


@dataclass(frozen=True)
class RomWords:
    """What the ROM of a chip prints. from_flash and from_uart are the boot pins' number and their meaning."""

    greeting: str
    from_flash: tuple[int, str]
    from_uart: tuple[int, str]
    resets: dict[Reset, tuple[int, str]]

    def banner(self, reset: Reset, download: bool) -> bytes:
        """The first lines after a reset, with what follows when the serial bootloader waits."""
        code, why = self.resets[reset]
        straps, where = self.from_uart if download else self.from_flash
        text = f"{self.greeting}\r\nrst:0x{code:x} ({why}),boot:0x{straps:x} ({where})\r\n"
        return (text + ("waiting for download\r\n" if download else "")).encode()


_NEWER = {
    Reset.POWER_ON: (0x1, "POWERON"),
    Reset.DEEP_SLEEP: (0x5, "DSLEEP"),
    Reset.WATCHDOG: (0x8, "TG1WDT_SYS_RST"),
    Reset.SOFTWARE: (0xC, "RTC_SW_CPU_RST"),
    Reset.RTC_WATCHDOG: (0x10, "RTCWDT_RTC_RST"),
}

ROM_WORDS = {
    "esp32": RomWords(
        "ets Jul 29 2019 12:21:46\r\n",
        (0x13, "SPI_FAST_FLASH_BOOT"),
        (0x3, "DOWNLOAD_BOOT(UART0/UART1/SDIO_REI_REO_V2)"),
        {
            Reset.POWER_ON: (0x1, "POWERON_RESET"),
            Reset.DEEP_SLEEP: (0x5, "DEEPSLEEP_RESET"),
            Reset.WATCHDOG: (0x8, "TG1WDT_SYS_RESET"),
            Reset.SOFTWARE: (0xC, "SW_CPU_RESET"),
            Reset.RTC_WATCHDOG: (0x10, "RTCWDT_RTC_RESET"),
        },
    ),
    "esp32c3": RomWords(
        "ESP-ROM:esp32c3-api1-20210207\r\nBuild:Feb  7 2021",
        (0xC, "SPI_FAST_FLASH_BOOT"),
        (0x5, "DOWNLOAD(USB/UART0/1)"),
        _NEWER,
    ),
    "esp32s3": RomWords(
        "ESP-ROM:esp32s3-20210327\r\nBuild:Mar 27 2021",
        (0x8, "SPI_FAST_FLASH_BOOT"),
        (0x0, "DOWNLOAD(USB/UART0)"),
        _NEWER,
    ),
}
