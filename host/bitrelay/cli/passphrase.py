"""Where the passphrase of a sealed identity comes from: a file, the environment, or the keyboard."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ..errors import BadData

VARIABLE = "BITRELAY_PASSPHRASE"

PassphraseOption = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        help=f"Read the passphrase from this file, without it from {VARIABLE} or the keyboard.",
        show_default=False,
    ),
]

_LONGEST = 4096


def passphrase_source(file: Path | None, *, twice: bool = False) -> Callable[[], str]:
    """What gives the passphrase when it is called. twice: somebody who types it has to do so twice.

    Raises BadData now if there is none to be had, or it is empty; the function returned does so for what is typed.
    """
    if file is not None:
        given = _read(file)
        return lambda: given
    from_environment = os.environ.get(VARIABLE)
    if from_environment is not None:
        checked = _not_empty(from_environment, VARIABLE)
        return lambda: checked
    if sys.stdin is None or not sys.stdin.isatty():
        raise BadData("there is nobody to ask for a passphrase", hint=f"Set {VARIABLE}, or give --passphrase-file")
    return lambda: _typed(twice)


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            raw = opened.read(_LONGEST + 1)
        text = raw.decode()
    except OSError as error:
        raise BadData(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadData(f"{file}: not UTF-8 text") from None
    if len(raw) > _LONGEST:
        raise BadData(f"{file}: too long for a passphrase")
    # An editor ends the last line whether one wants it or not.
    return _not_empty(text.removesuffix("\n").removesuffix("\r"), str(file))


def _typed(twice: bool) -> str:
    from getpass import getpass

    try:
        given = _not_empty(getpass("Passphrase of the identity: "), "what was typed")
        if twice and getpass("Once more: ") != given:
            raise BadData("the two passphrases differ")
    except EOFError:
        raise BadData("no passphrase was typed") from None
    return given


def _not_empty(text: str, where: str) -> str:
    if not text:
        raise BadData(f"the passphrase is empty: {where}")
    return text
