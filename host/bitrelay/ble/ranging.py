"""How far away a sender is, from how loud it is heard: a guess, good to a factor of two at best."""

MISSING_RSSI = -100
"""dBm that stand for a level the platform did not tell (DSC-18)."""

AT_ONE_METRE = -59.0
NEAREST_M = 0.1
FARTHEST_M = 100.0
EXPONENT = 2.0
"""Path-loss exponent of free space; up to 4 in buildings (DSC-19)."""

# What a level can be: BlueZ writes -127 and HCI +127 for "not known", and no receiver tells more than 20 dBm.
_LOWEST, _HIGHEST = -126, 20

# One advertisement is off by several dB, by channel and by who walks past. A quarter per sighting follows a walker
# within a second at the usual intervals.
_SMOOTHING = 0.25


def heard_level(rssi: int | None) -> int:
    """The level of one advertisement in dBm; MISSING_RSSI for none or an impossible one."""
    return rssi if rssi is not None and _LOWEST <= rssi <= _HIGHEST else MISSING_RSSI


def smoothed(level: float, rssi: int) -> float:
    """The running mean of a peer's level after one more sighting, in dBm."""
    return level + (rssi - level) * _SMOOTHING


def distance(rssi: float, exponent: float = EXPONENT) -> float:
    """Metres, from 0.1 to 100: 10 ** ((-59 - rssi) / (10 * exponent)) (DSC-19). Raises ValueError for an exponent
    outside 2 to 4."""
    if not 2.0 <= exponent <= 4.0:
        raise ValueError("the path-loss exponent must be from 2 to 4")
    return float(min(max(10 ** ((AT_ONE_METRE - rssi) / (10 * exponent)), NEAREST_M), FARTHEST_M))
