"""What Bumble raises, as bleak says it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from bleak.exc import BleakError, BleakGATTProtocolError
from bumble import att, core, hci

BUMBLE_ERRORS = (hci.HCI_Error, core.BaseBumbleError)


@contextmanager
def bleak_errors() -> Iterator[None]:
    """Turn Bumble's errors into BleakError, those of the peer's attribute protocol into BleakGATTProtocolError."""
    try:
        yield
    except asyncio.CancelledError:
        # Bumble cancels what waits for an answer when the connection ends.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise BleakError("the connection ended") from None
    except att.ATT_Error as error:
        raise BleakGATTProtocolError(error.error_code) from error
    except BUMBLE_ERRORS as error:
        raise BleakError(f"{type(error).__name__}: {error}") from error
