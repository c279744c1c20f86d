"""Of two connections between the same two peers, which one stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrelay.transports.agreement import MAX_HELD, MAX_SIZE, Numbers, Ready, stays

RUN, OTHER_RUN = b"run 0001", b"run 0002"
MINE = b"existing"


@pytest.mark.parametrize(
    ("on_existing", "said", "kept"),
    [
        # The other end has it, too.
        (Ready(RUN, 1), Ready(RUN, 2, (MINE,)), True),
        (Ready(RUN, 1), Ready(OTHER_RUN, 2, (b"another.", MINE)), True),
        # The other end has lost it.
        (Ready(RUN, 1), Ready(RUN, 2), False),
        # It was started anew.
        (Ready(RUN, 9), Ready(OTHER_RUN, 1), False),
        # What it said is older than the one we have.
        (Ready(RUN, 2), Ready(RUN, 1), True),
        (None, Ready(RUN, 1), False),
    ],
)
def test_which_one_stays(on_existing: Ready | None, said: Ready, kept: bool) -> None:
    assert stays(MINE, on_existing, said) is kept


def test_numbers_grow_and_runs_differ() -> None:
    numbers = Numbers()
    first, second = numbers.ready(()), numbers.ready((MINE,))
    assert first.run == second.run != Numbers().ready(()).run and first.number < second.number


@given(st.binary(min_size=8, max_size=8), st.integers(0, 2**64 - 1), st.lists(st.binary(min_size=8, max_size=8)))
def test_what_is_said_is_read(run: bytes, number: int, held: list[bytes]) -> None:
    encoded = Ready(run, number, tuple(held)).encode()
    assert len(encoded) <= MAX_SIZE
    assert Ready.parse(encoded) == Ready(run, number, tuple(held[-MAX_HELD:]))


@given(st.binary(max_size=2 * MAX_SIZE))
def test_no_bytes_raise(data: bytes) -> None:
    read = Ready.parse(data)
    assert read is None or read.encode() == data
