"""Where the files that go onto a board are: beside the package in a clone, inside it in a wheel."""

from pathlib import Path

from .errors import BrokenInstallation

_PACKAGE = Path(__file__).resolve().parent
_CLONE = _PACKAGE.parent.parent
_IN_WHEEL = _PACKAGE / "_tree"


def firmware_dir() -> Path:
    """The folder of the firmware's sources, main.py among them. Raises BrokenInstallation if it is gone."""
    return _find("firmware")


def boards_dir() -> Path:
    """The folder with one TOML file per supported board. Raises BrokenInstallation if it is gone."""
    return _find("boards")


def shared_dir() -> Path:
    """The folder of the package `shared_protocol`, whose files run on the board byte for byte."""
    import shared_protocol

    return Path(shared_protocol.__file__).resolve().parent


def _find(name: str) -> Path:
    in_wheel = _IN_WHEEL / name
    if in_wheel.is_dir():
        return in_wheel
    # pyproject.toml tells our clone from whatever else may lie two folders above an installed package.
    in_clone = _CLONE / name
    if in_clone.is_dir() and (_CLONE / "pyproject.toml").is_file():
        return in_clone
    raise BrokenInstallation(f"the files of {name}/ are missing from this installation", hint="Install bitrelay again")
