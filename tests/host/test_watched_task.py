"""A task that nobody waits for says so when it fails, and not when it is cancelled."""

import asyncio
import logging

import pytest

from bitrelay.watched_task import watched


async def fails() -> None:
    raise RuntimeError("a fault of ours")


async def test_a_failure_is_told_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        await asyncio.wait([watched(fails(), "The work has failed")])
        await asyncio.sleep(0)
    assert [record.message for record in caplog.records] == ["The work has failed"]
    assert "a fault of ours" in caplog.text


async def test_what_ends_well_or_is_cancelled_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    task = watched(asyncio.sleep(60), "The work has failed")
    assert await watched(asyncio.sleep(0, "done"), "The work has failed") == "done"
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert not caplog.records
