"""Made-up traffic to try the Sybil detector on: honest arrivals of several kinds, and attacks, from a seeded generator.

Nothing here knows how the detector works. Times are seconds; the day that is judged begins at 0, and a week lies before
it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi
from random import Random

from .arrivals import Arrival, address_group, link_group
from .sybil import DAY_S, MEMORY_S

BEGIN_S, END_S = -float(MEMORY_S), float(DAY_S)
_MINUTE_S, _HOUR_S = 60.0, 3600.0
_RELAYS = 8
_ZIPF = [1 / rank for rank in range(1, 201)]


@dataclass(frozen=True, slots=True)
class Usual:
    """What arrives on any day. swing: how much busier noon is than the mean (midnight is as much quieter).

    Of the newcomers, fresh_share made their identity for coming here and overdue_share are older than a refresh; the
    others have any age up to one. paired_share bring a second one along. local_share come over Bluetooth; of those that
    do not, provider_share have the same provider, with one network.
    """

    per_day: float = 120.0
    swing: float = 0.8
    fresh_share: float = 0.35
    overdue_share: float = 0.05
    paired_share: float = 0.1
    local_share: float = 0.4
    provider_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Attack:
    """One owner's identities and how they come. The defaults give nothing away but their number.

    over_s: the time they come in. made_over_s: the time their proofs took to make, ending made_before_s before the
    first comes; 0 for each made just before it comes. networks: how many /24 they come from, 0 for one each. near: they
    were ground to share so many bits with our own id or a key of the attacker's choice.
    """

    name: str
    size: int
    over_s: float = 12 * _HOUR_S
    made_over_s: float = 0.0
    made_before_s: float = 0.0
    shared_challenge: bool = False
    networks: int = 0
    one_address: bool = False
    bits: int = 0
    near_own: bool = False


def usual(random: Random, what: Usual) -> list[Arrival]:
    """A week and a day of it, in order."""
    arrivals: list[Arrival] = []
    for time in _times(random, what):
        arrivals.append(_honest(random, what, time))
        if random.random() < what.paired_share:
            arrivals.append(_honest(random, what, time + random.uniform(0, 5 * _MINUTE_S)))
    return in_order(arrivals)


def crowd(random: Random, what: Usual, size: int = 300) -> list[Arrival]:
    """A festival: newcomers within some hours, from 45 minutes' standard deviation around noon, half of them fresh."""
    people = Usual(fresh_share=0.5, local_share=0.7, overdue_share=what.overdue_share)
    return [_honest(random, people, random.gauss(DAY_S / 2, 45 * _MINUTE_S)) for _ in range(size)]


def joined_mesh(random: Random, what: Usual, size: int = 40) -> list[Arrival]:
    """A mesh that comes into reach: its members, made at times of their own, within ten minutes over one link."""
    begin = random.uniform(0, DAY_S - _HOUR_S)
    members = Usual(fresh_share=_HOUR_S / DAY_S, overdue_share=what.overdue_share)
    return [
        _honest(random, members, begin + random.uniform(0, 10 * _MINUTE_S), link_group("relay0", "bridge"))
        for _ in range(size)
    ]


def restarted_fleet(random: Random, what: Usual, size: int = 40) -> list[Arrival]:
    """A fleet we know that was off for a day: all renew their proofs within the minutes that solving takes."""
    begin = random.uniform(0, DAY_S - _HOUR_S)
    renewed = []
    for _ in range(size):
        time = begin + random.expovariate(1 / 120.0)
        renewed.append(_arrival(random, time, time - 1, link_group("relay1", "fleet"), renewal=True))
    return renewed


def refreshes(random: Random, what: Usual, size: int = 400) -> list[Arrival]:
    """Peers we know that renew their proofs once a day."""
    times = sorted(random.uniform(0, DAY_S) for _ in range(size))
    return [
        _arrival(random, time, time - random.expovariate(1 / 60.0), _network(random), renewal=True) for time in times
    ]


def new_fleet(random: Random, what: Usual, size: int = 30) -> list[Arrival]:
    """Boards out of the box, switched on together: honest, and one owner's. Each comes when its proof is done."""
    begin = random.uniform(0, DAY_S - _HOUR_S)
    fleet = []
    for _ in range(size):
        time = begin + random.expovariate(1 / 60.0)
        fleet.append(_arrival(random, time, time - 1, link_group("relay2", "fleet")))
    return fleet


# Names, and what comes on top of a usual day; at what rate that is.
HONEST: dict[str, tuple[Usual, Callable[[Random, Usual], list[Arrival]] | None]] = {
    "usual day, 120 newcomers": (Usual(), None),
    "quiet, 10 a day": (Usual(per_day=10), None),
    "busy, 500 a day": (Usual(per_day=500), None),
    "a provider with one network for a third": (Usual(provider_share=0.33), None),
    "festival, 300 more in hours": (Usual(), crowd),
    "a mesh of 40 joins": (Usual(), joined_mesh),
    "a known fleet of 40 restarts": (Usual(), restarted_fleet),
    "400 refreshes": (Usual(), refreshes),
}
# Honest, but one owner's many identities: an alarm is right by what can be seen.
ONE_OWNER: dict[str, tuple[Usual, Callable[[Random, Usual], list[Arrival]]]] = {
    "10 new boards at once": (Usual(), lambda random, what: new_fleet(random, what, 10)),
    "30 new boards at once": (Usual(), new_fleet),
}

ATTACKS: tuple[Attack, ...] = (
    *(Attack("burst within a minute", size, over_s=_MINUTE_S) for size in (5, 10, 20, 50)),
    *(Attack("burst within ten minutes", size, over_s=10 * _MINUTE_S) for size in (10, 20, 50)),
    *(Attack("slow drip over 12 h", size) for size in (50, 200, 500, 1000)),
    *(Attack("one challenge shared", size, shared_challenge=True) for size in (2, 5, 20)),
    *(
        Attack(f"ground to {bits} bits of a key", size, bits=bits)
        for bits, size in ((4, 20), (6, 20), (8, 8), (8, 20), (12, 8), (16, 5), (16, 20))
    ),
    *(
        Attack(f"ground to {bits} bits of our id", size, bits=bits, near_own=True)
        for bits, size in ((4, 20), (6, 20), (8, 8), (12, 5), (16, 5))
    ),
    *(Attack("one network", size, networks=1) for size in (8, 12, 16, 32)),
    *(Attack("four networks", size, networks=4) for size in (32, 64)),
    *(Attack("one address", size, networks=1, one_address=True) for size in (5, 8, 16)),
    *(
        Attack("made in 10 min, hours before", size, made_over_s=10 * _MINUTE_S, made_before_s=6 * _HOUR_S)
        for size in (10, 20, 50)
    ),
    *(
        Attack("stock of days", size, made_over_s=2 * DAY_S, made_before_s=1.1 * DAY_S)
        for size in (10, 20, 50)
    ),
    *(
        Attack(
            "mixture: made in 1 h, 3 networks, 6 bits, in 2 h",
            size,
            over_s=2 * _HOUR_S,
            made_over_s=_HOUR_S,
            made_before_s=5 * _HOUR_S,
            networks=3,
            bits=6,
        )
        for size in (10, 20, 50)
    ),
    *(
        Attack("made over a day, released in 10 min", size, 10 * _MINUTE_S, DAY_S - 3 * _HOUR_S, 2 * _HOUR_S)
        for size in (50, 500)
    ),
)  # fmt: skip


def attack(random: Random, plan: Attack, own_id: bytes) -> list[Arrival]:
    """Its arrivals, beginning at a random time of the judged day's first half."""
    begin = random.uniform(0, DAY_S / 2 - _HOUR_S)
    target = own_id if plan.near_own else random.randbytes(32)
    challenge = random.randbytes(32)
    networks = [_network(random) for _ in range(plan.networks)]
    arrivals = []
    for _ in range(plan.size):
        seen = begin + random.uniform(0, plan.over_s)
        made = begin - plan.made_before_s - random.uniform(0, plan.made_over_s) if plan.made_over_s else seen - 5
        origin = random.choice(networks) if networks else _network(random)
        arrivals.append(
            Arrival(
                peer_id=_ground(random, target, plan.bits),
                challenge_data=challenge if plan.shared_challenge else random.randbytes(32),
                difficulty=16,
                computed_at=made,
                created_at=made,
                first_seen=seen,
                origin=origin,
                addresses=("203.0.113.9:8765",) if plan.one_address else (_address(random),),
            )
        )
    return in_order(arrivals)


def in_order(arrivals: list[Arrival]) -> list[Arrival]:
    """Arrivals by the time they were first seen, as a detector gets them."""
    return sorted(arrivals, key=lambda arrival: arrival.first_seen)


def _times(random: Random, what: Usual) -> list[float]:
    # Poisson with a daily swing, by thinning.
    highest = what.per_day * (1 + what.swing) / DAY_S
    times, time = [], BEGIN_S
    while (time := time + random.expovariate(highest)) < END_S:
        rate = 1 - what.swing * cos(2 * pi * time / DAY_S)
        if random.random() * (1 + what.swing) < rate:
            times.append(time)
    return times


def _honest(random: Random, what: Usual, time: float, origin: str | None = None) -> Arrival:
    kind = random.random()
    if kind < what.fresh_share:
        age = random.expovariate(1 / 300.0)
    elif kind < what.fresh_share + what.overdue_share:
        age = random.uniform(DAY_S, 6 * DAY_S)
    else:
        age = random.uniform(0, DAY_S)
    if origin is None:
        local = random.random() < what.local_share
        origin = link_group(f"relay{random.randrange(_RELAYS)}", "peer") if local else _shared_network(random, what)
    return _arrival(random, time, time - age, origin)


def _arrival(random: Random, seen: float, made: float, origin: str, renewal: bool = False) -> Arrival:
    addresses = () if origin.startswith("ble:") else (_address(random),)
    return Arrival(random.randbytes(32), random.randbytes(32), 16, made, made, seen, origin, addresses, renewal)


def _shared_network(random: Random, what: Usual) -> str:
    # Some come from providers and universities with few networks for many: those follow Zipf's law.
    kind = random.random()
    if kind < what.provider_share:
        return address_group("192.0.2.1")
    if kind < what.provider_share + 0.2:
        return address_group(f"198.51.{random.choices(range(200), _ZIPF)[0]}.1")
    return _network(random)


def _network(random: Random) -> str:
    return address_group(_host(random))


def _host(random: Random) -> str:
    return f"{random.randrange(1, 190)}.{random.randrange(256)}.{random.randrange(256)}.{random.randrange(256)}"


def _address(random: Random) -> str:
    return f"{_host(random)}:{random.randrange(1024, 65536)}"


def _ground(random: Random, target: bytes, bits: int) -> bytes:
    # What trying keys until the id begins with these bits comes to.
    rest = 256 - bits
    number = int.from_bytes(target, "big") >> rest << rest | random.getrandbits(rest)
    return number.to_bytes(32, "big")
