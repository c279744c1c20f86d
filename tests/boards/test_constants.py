"""Constants of a board's sources become their values, and only they."""

import pytest

from bitrelay.boards.constants import inline_constants
from bitrelay.errors import BadData

KINDS = "from shared.interpreter import const\n\nONE = const(1)\nTWO = const(ONE + 1)\n_OWN = const(-3)\n"
OTHERS = "from shared.interpreter import const\n\nONE = const(100)\n"


def inlined(source: str) -> str:
    return inline_constants({"shared.kinds": KINDS, "shared.others": OTHERS, "user": source})["user"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from shared.kinds import TWO\nx = TWO\n", "\nx = (2)\n"),
        ("from shared.kinds import ONE, f\nx = ONE, f\n", "from shared.kinds import f\nx = (1), f\n"),
        ("from shared import kinds as k\nx = k.TWO + k.g()\n", "from shared import kinds as k\nx = (2) + k.g()\n"),
        ("from shared import kinds as k\nx = k.TWO.bit_length()\n", "\nx = (2).bit_length()\n"),
        ("def f():\n    from shared.kinds import ONE\n    return ONE\n", "def f():\n    pass\n    return (1)\n"),
        ("from shared.kinds import (\n    ONE,\n)\nx = ONE\n", "\n\n\nx = (1)\n"),
        ("x.ONE = 1\ny = x.ONE\n", "x.ONE = 1\ny = x.ONE\n"),
    ],
)
def test_a_constant_becomes_its_value_and_lines_stay(source: str, expected: str) -> None:
    assert inlined(source) == expected


def test_a_module_of_constants_is_empty_but_for_its_lines() -> None:
    assert inline_constants({"shared.kinds": KINDS})["shared.kinds"].split() == []


@pytest.mark.parametrize(
    "source",
    [
        "from shared.kinds import ONE\ndef f(ONE):\n    return ONE\n",
        "from shared.kinds import ONE\ndef f():\n    ONE = 5\n    return ONE\n",
        "def f():\n    from shared.kinds import ONE\n    return ONE\n"
        "def g():\n    from shared.others import ONE\n    return ONE\n",
        "from shared.kinds import ONE\nfor ONE in (1, 2):\n    pass\n",
        "from shared import kinds as k\nk = 3\n",
    ],
)
def test_a_name_that_is_something_else_as_well_is_an_error_with_its_line(source: str) -> None:
    with pytest.raises(BadData, match=r"user, line \d: (ONE|k) is a constant"):
        inlined(source)
