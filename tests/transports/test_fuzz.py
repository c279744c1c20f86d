"""A small run of the fuzzer; `python tests/transports/fuzz.py --count 1000000` is the large one."""

import pytest

from tests.transports.fuzz import TRANSPORTS, fuzz


@pytest.mark.parametrize("scheme", TRANSPORTS)
async def test_mutated_frames_raise_nothing_and_leave_nothing(scheme: str) -> None:
    assert (await fuzz(scheme, 2000, seed=3))["frames"] >= 2000
