"""Tasks that nobody waits for: one that a fault of ours ended must not end in silence."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

_log = logging.getLogger(__name__)

Value = TypeVar("Value")


def watched(work: Coroutine[Any, Any, Value], told: str) -> asyncio.Task[Value]:
    """Run it as a task. told: what is logged, with the traceback, if it raises; to be cancelled is no failure."""

    def ended(task: asyncio.Task[Value]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error(told, exc_info=error)

    task = asyncio.get_running_loop().create_task(work)
    task.add_done_callback(ended)
    return task
