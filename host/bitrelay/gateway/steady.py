"""Work that must not end in silence: what raises by a fault of ours is told, and begun anew."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

_log = logging.getLogger(__name__)

AGAIN_S: Final = 1.0


async def steadily(work: Callable[[], Coroutine[Any, Any, None]], failed: Callable[[], None]) -> None:
    """Do it until it returns. failed: called each time that it raises; must not raise."""
    while True:
        try:
            await work()
            return
        except Exception:
            _log.exception("A task of the gateway has failed, by a fault of bitrelay's own; it goes on")
            failed()
            await asyncio.sleep(AGAIN_S)
