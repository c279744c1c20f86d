"""Flashes several boards at once; one that fails does not hold up the others."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bitrelay.errors import BitrelayError

from .flasher import flash
from .job import FlashEvent, FlashOptions, FlashResult, Target


@dataclass(frozen=True)
class FlashFailure:
    """A board that was not flashed, and why."""

    port: str
    error: BitrelayError


Outcome = FlashResult | FlashFailure


async def flash_all(
    targets: Sequence[Target],
    options: FlashOptions,
    on_event: Callable[[FlashEvent], None] = lambda event: None,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Flash all targets at once, and return what became of each, in their order; on_outcome hears it as it comes."""

    async def one(target: Target) -> Outcome:
        outcome: Outcome
        try:
            outcome = await flash(target, options, on_event)
        except BitrelayError as error:
            error.device = error.device or target.port
            outcome = FlashFailure(target.port, error)
        on_outcome(outcome)
        return outcome

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(target)) for target in targets]
    return [task.result() for task in tasks]
