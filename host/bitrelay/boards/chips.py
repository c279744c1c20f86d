"""The chips that boards are made with."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Chip:
    """A chip: name as esptool spells it in options, title as Espressif prints it.

    image_id is the number in the header of its images (esp_app_format.h), bootloader_offset where its flash has the
    second-stage bootloader, mpy_arch what mpy-cross calls native code of a stock MicroPython for it.
    """

    name: str
    title: str
    image_id: int
    bootloader_offset: int
    mpy_arch: str


CHIPS = {
    chip.name: chip
    for chip in (
        Chip("esp32", "ESP32", 0, 0x1000, "xtensawin"),
        Chip("esp32c3", "ESP32-C3", 5, 0x0, "rv32imc"),
        Chip("esp32s3", "ESP32-S3", 9, 0x0, "xtensawin"),
        Chip("esp32c6", "ESP32-C6", 13, 0x0, "rv32imc"),
    )
}


def chip_title(image_id: int) -> str:
    """What the chip with this number in its images is called."""
    return next((chip.title for chip in CHIPS.values() if chip.image_id == image_id), f"chip number {image_id}")
