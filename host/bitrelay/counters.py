"""The names of a relay's counters, as STATS lists them: those of shared_protocol.counters, in lower case."""

from typing import Final

from shared_protocol import counters

NAMES: Final = tuple(
    name.lower()
    for name, _ in sorted(
        ((name, index) for name, index in vars(counters).items() if name.isupper() and name != "COUNT"),
        key=lambda pair: pair[1],
    )
)
