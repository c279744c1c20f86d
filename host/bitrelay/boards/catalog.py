"""The kinds of board there are: one TOML file each, in boards/. Adding a board is adding a file."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitrelay.errors import BadData, WrongChip
from bitrelay.toml_source import Rule, Source, Table
from bitrelay.tree import boards_dir

from .chips import CHIPS, Chip

SERIAL_KINDS = ("uart-bridge", "usb-serial-jtag", "native-usb")
BAUD_RATES = (115_200, 230_400, 460_800, 921_600, 1_500_000, 2_000_000)

_MIB = 1 << 20
_FLASH_SIZES = {f"{size}MB": size * _MIB for size in (2, 4, 8, 16, 32)}
_MAX_FIRMWARE = 16 * _MIB
_MAX_PIN = 48
_MAX_LINKS = 9
_SECTIONS = ("micropython", "flash", "pins", "limits", "serial")


@dataclass(frozen=True)
class FirmwarePin:
    """The one build of MicroPython a board is flashed with. size is None where it is not known.

    board is the name micropython.org gives it, source says whose word size and sha256 are.
    """

    board: str
    version: str
    url: str
    size: int | None
    sha256: str
    flash_offset: int
    source: str

    @property
    def file_name(self) -> str:
        """The name the file has where it is published, and in the cache."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class BoardModel:
    """A kind of board, as its file describes it; sizes in bytes, pins by GPIO number.

    name is that of its file, generic says that it stands for its chip when nothing else is known. manual is what a
    person does to get it into its bootloader, as an instruction without capital or full stop.
    """

    name: str
    file: Path
    title: str
    chip: Chip
    generic: bool
    firmware: FirmwarePin
    min_flash: int
    baud: int
    led: int | None
    button: int | None
    battery_pin: int | None
    battery_divider: float | None
    links: int
    serial_kind: str
    adapters: tuple[str, ...]
    manual: str


def load_boards() -> list[BoardModel]:
    """All boards, in the order of their files' names. Raises TomlError for whatever is wrong in one."""
    boards = [read_board(file) for file in sorted(boards_dir().glob("*.toml"))]
    generic: dict[str, BoardModel] = {}
    for board in boards:
        first = generic.setdefault(board.chip.name, board) if board.generic else board
        if first is not board:
            raise BadData(f"{board.file}: {first.file.name} is the generic board of {board.chip.title} already")
    return boards


def find_board(chip: Chip, wanted: str | None = None) -> BoardModel:
    """The board to flash on a chip: the one called `wanted`, which may be a file of the user's own, or the generic one.

    Raises BadData if there is none of that name, WrongChip if it has another chip, TomlError.
    """
    board = named_board(wanted) if wanted is not None else _generic_board(chip)
    if board.chip is not chip:
        raise WrongChip(
            f"{board.name} is a board with an {board.chip.title}, and this one has an {chip.title}",
            hint="Leave --board out, or choose one of " + (_names(chip) or "none"),
        )
    return board


def named_board(name: str) -> BoardModel:
    """The board of this name or, with ".toml" at its end, of this file. Raises BadData, TomlError."""
    if name.endswith(".toml"):
        return read_board(Path(name))
    boards = load_boards()
    for board in boards:
        if board.name == name:
            return board
    raise BadData(f"no board is called {name!r}", hint="There are: " + ", ".join(board.name for board in boards))


def read_board(file: Path) -> BoardModel:
    """Read and check one file. Raises TomlError with file and line."""
    source = Source(file)
    sections = source.sections(_SECTIONS)
    top = source.root().read(_TOP)
    firmware = sections["micropython"].read(_MICROPYTHON)
    flash = sections["flash"].read(_FLASH)
    pins = sections["pins"].read(_PINS)
    serial = sections["serial"].read(_SERIAL)
    chip: Chip = top["chip"]
    _check(sections, chip, firmware, pins)
    return BoardModel(
        name=file.stem,
        file=file,
        title=top["title"],
        chip=chip,
        generic=top.get("generic", False),
        firmware=FirmwarePin(**({"size": None} | firmware)),
        min_flash=flash["min_size"],
        baud=flash["baud"],
        led=pins.get("led"),
        button=pins.get("button"),
        battery_pin=pins.get("battery"),
        battery_divider=pins.get("battery_divider"),
        links=sections["limits"].read(_LIMITS)["links"],
        serial_kind=serial["kind"],
        adapters=serial["adapters"],
        manual=serial["manual"],
    )


def _check(sections: dict[str, Table], chip: Chip, firmware: dict[str, Any], pins: dict[str, Any]) -> None:
    # What no key can be told by itself.
    if firmware["flash_offset"] != chip.bootloader_offset:
        raise sections["micropython"].error("flash_offset", f"an {chip.title} boots from 0x{chip.bootloader_offset:x}")
    if firmware["version"] not in firmware["url"]:
        raise sections["micropython"].error("url", f"this is not the file of version {firmware['version']}")
    if ("battery" in pins) != ("battery_divider" in pins):
        raise sections["pins"].error("battery", "battery and battery_divider go together")


def _generic_board(chip: Chip) -> BoardModel:
    for board in load_boards():
        if board.generic and board.chip is chip:
            return board
    raise BadData(f"no board file is for an {chip.title} in general", hint=f"Choose with --board: {_names(chip)}")


def _names(chip: Chip) -> str:
    return ", ".join(board.name for board in load_boards() if board.chip is chip)


# --- what each key takes ---


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("text")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _number(lowest: int, highest: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
            raise ValueError(f"a whole number from {lowest} to {highest}")
        return value

    return read


def _one_of(choices: Any) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, str | int) or value not in choices:
            raise ValueError("one of " + ", ".join(str(choice) for choice in choices))
        return choices[value] if isinstance(choices, dict) else value

    return read


def _url(value: Any) -> str:
    if not isinstance(value, str) or not value.startswith("https://") or not value.endswith(".bin"):
        raise ValueError("the https:// address of a .bin file")
    return value


def _sha256(value: Any) -> str:
    if not isinstance(value, str) or len(value) != 64 or set(value) - set("0123456789abcdef"):
        raise ValueError("64 hex digits in lower case")
    return value


def _version(value: Any) -> str:
    if not isinstance(value, str) or [part.isdigit() for part in value.split(".")] != [True] * 3:
        raise ValueError('three numbers as in "1.29.0"')
    return value


def _divider(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 100:
        raise ValueError("how many times the pin's voltage the battery has, from 1 to 100")
    return float(value)


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise ValueError("a list of names")
    return tuple(value)


_TOP = {
    "title": Rule(_text, required=True),
    "chip": Rule(_one_of(CHIPS), required=True),
    "generic": Rule(_flag),
}
_MICROPYTHON = {
    "board": Rule(_text, required=True),
    "version": Rule(_version, required=True),
    "url": Rule(_url, required=True),
    "size": Rule(_number(1, _MAX_FIRMWARE)),
    "sha256": Rule(_sha256, required=True),
    "source": Rule(_text, required=True),
    "flash_offset": Rule(_number(0, _MAX_FIRMWARE), required=True),
}
_FLASH = {
    "min_size": Rule(_one_of(_FLASH_SIZES), required=True),
    "baud": Rule(_one_of(BAUD_RATES), required=True),
}
_PINS = {
    "led": Rule(_number(0, _MAX_PIN)),
    "button": Rule(_number(0, _MAX_PIN)),
    "battery": Rule(_number(0, _MAX_PIN)),
    "battery_divider": Rule(_divider),
}
_LIMITS = {"links": Rule(_number(1, _MAX_LINKS), required=True)}
_SERIAL = {
    "kind": Rule(_one_of(SERIAL_KINDS), required=True),
    "adapters": Rule(_texts, required=True),
    "manual": Rule(_text, required=True),
}
