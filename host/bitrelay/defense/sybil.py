"""Which of the identities that have come lately are probably one owner's: tests with a stated rate of false alarms.

Every test asks how likely what it sees would be in honest traffic, and the whole has a budget: at most
`Limits.false_alarms_per_day` alarms on traffic that keeps to the assumptions below, by the union bound, so less in
fact. What honest traffic is taken to be:

- identities are hashes, and challenges are 32 random bytes;
- the rate of new identities does not treble within a window, against the highest of the last two windows, the
  last six, the last day, the week and the prior; nobody brings more than `clump` at once;
- an identity that is older than a challenge lives was made at a time of its own, as refreshes are (`identity.service`
  spreads them), and not more of them than `overdue_share` are older than a refresh;
- over the internet, few identities share a network (a /24, a /48) or an address, but for networks that brought a third
  as many on the days before. Bluetooth links are exempt: behind one may be a whole mesh.

What comes fresh and all at once is a burst, whoever sends it: ten new boards switched on together are reported too.
What comes slowly, from everywhere, with ids left to chance, is found only by its number. docs/defense.md has the
figures.
"""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import log, log2

from . import tails
from .arrivals import Arrival
from .id_density import Crowd, crowd_near, crowds_anywhere, divergence

DETECTION_S = 300
DAY_S = 86_400
# What a detector is given: a week, so that the days before this one say what is usual.
MEMORY_S = 7 * DAY_S

# Times before the first look that count as if one identity an hour had come: a rate of nothing is no rate.
_PRIOR_COUNT, _PRIOR_S = 1.0, 3600.0
_REFERENCE_WINDOWS = (2, 6)
_TESTS = 6


class Reason(StrEnum):
    """Why identities are suspicious."""

    SHARED_CHALLENGE = "shared challenge"
    BURST = "burst"
    CROWDED_IDS = "crowded ids"
    ONE_NETWORK = "one network"
    MADE_TOGETHER = "made together"
    OVERDUE = "overdue"


@dataclass(frozen=True, slots=True)
class Limits:
    """What honest traffic is taken to look like, and how often it may be suspected (see the module).

    Rows POW-13, POW-14 and POW-15 give the times; windows and times in seconds.
    """

    false_alarms_per_day: float = 0.06
    interval_s: float = DETECTION_S
    # Fewer cannot take a key from k = 20, and are not worth an alarm. A shared challenge is proof at two.
    least: int = 5
    burst_windows_s: tuple[float, ...] = (60.0, 300.0, 900.0)
    volume_windows_s: tuple[float, ...] = (DAY_S,)
    growth: float = 3.0
    clump: int = 2
    challenge_s: float = 3600.0
    refresh_s: float = DAY_S
    made_windows_s: tuple[float, ...] = (60.0, 600.0, 3600.0)
    overdue_share: float = 0.1
    # Of one more identity in a network that has one, and at an address that has one, where nothing is known yet.
    network_ratio: float = 1 / 3
    address_ratio: float = 0.02

    @property
    def log_day(self) -> float:
        """The logarithm of the chance of a false alarm that one test has in a day."""
        return log(self.false_alarms_per_day / _TESTS)

    @property
    def log_look(self) -> float:
        """The same for one of the day's looks."""
        return self.log_day + log(min(1.0, self.interval_s / DAY_S))


@dataclass(frozen=True, slots=True)
class Finding:
    """Identities that are probably one owner's.

    subject: what they have in common. log_p: the logarithm of the chance that honest
    traffic looks so. expected: how many honest ones would be among as many. work_bits: log2 of the hashes that the
    proofs took.
    """

    reason: Reason
    subject: str
    ids: tuple[bytes, ...]
    expected: float
    log_p: float
    work_bits: float
    evidence: str


@dataclass(frozen=True, slots=True)
class View:
    """What the detector looks at, and what we know besides.

    arrivals: in the order of first_seen, none older than MEMORY_S. now: Unix seconds. since: when we began to watch.
    own_id and watched: ids and keys that somebody may crowd around. network_size: how many nodes the DHT has by an
    estimate, 0 if there is none.
    """

    arrivals: Sequence[Arrival]
    now: float
    since: float
    own_id: bytes | None = None
    watched: tuple[bytes, ...] = ()
    network_size: int = 0


def detect(view: View, limits: Limits = Limits()) -> list[Finding]:
    """What is suspicious now, most certain first; several findings may name the same identity (row POW-33)."""
    newcomers = [arrival for arrival in view.arrivals if not arrival.renewal]
    today = _between(newcomers, view.now - DAY_S, view.now)
    findings = [
        *_shared_challenges(view.arrivals),
        *_bursts(view, newcomers, today, limits),
        *_crowds(view, today, limits),
        *_networks(view, newcomers, today, limits),
        *_made_together(today, limits),
        *_overdue(today, limits),
    ]
    return sorted(findings, key=lambda finding: finding.log_p)


def _finding(reason: Reason, subject: str, who: Sequence[Arrival], expected: float, log_p: float, told: str) -> Finding:
    work = log2(sum(2.0**arrival.difficulty for arrival in who))
    return Finding(reason, subject, tuple(arrival.peer_id for arrival in who), expected, log_p, work, told)


def _shared_challenges(arrivals: Sequence[Arrival]) -> Iterator[Finding]:
    if len({arrival.challenge_data for arrival in arrivals}) == len(arrivals):
        return
    # The first to come with a challenge is not named: the others may have copied it to bring it under suspicion.
    holders: dict[bytes, dict[bytes, Arrival]] = defaultdict(dict)
    for arrival in arrivals:
        holders[arrival.challenge_data].setdefault(arrival.peer_id, arrival)
    for challenge, peers in holders.items():
        if len(peers) > 1:
            first, *others = peers.values()
            told = f"{len(peers)} identities solved one challenge; the first to come was {first.peer_id.hex()[:16]}"
            # Two of a million random challenges are equal by a chance of 2**-217.
            yield _finding(Reason.SHARED_CHALLENGE, challenge.hex(), others, 0.0, -217 * log(2), told)


def _bursts(view: View, newcomers: list[Arrival], today: list[Arrival], limits: Limits) -> Iterator[Finding]:
    # Fresh ones, of all and of each link, in short windows. Over a day, those of any age: stocks made long before come
    # to light by their number. There each link stands alone, since a festival brings many over many links. Half of the
    # budget is for all together, half for the links; those over which nobody came lately have no new burst.
    fresh = [arrival for arrival in newcomers if arrival.lag_s <= limits.challenge_s]
    remote = [arrival for arrival in newcomers if not arrival.local]
    short, long = limits.burst_windows_s, limits.volume_windows_s
    log_limit = limits.log_look - log(4)
    yield from _too_many(view, "all", fresh, short, log_limit, limits)
    yield from _too_many(view, "remote", remote, long, log_limit, limits)
    log_limit -= log(max(1, len({arrival.origin for arrival in today if arrival.local})))
    lately = _between(today, view.now - limits.interval_s, view.now)
    over: dict[str, list[Arrival]] = {arrival.origin: [] for arrival in lately if arrival.local}
    for arrival in newcomers:
        if arrival.origin in over:
            over[arrival.origin].append(arrival)
    for link, all_ages in over.items():
        fresh = [arrival for arrival in all_ages if arrival.lag_s <= limits.challenge_s]
        yield from _too_many(view, link, fresh, short, log_limit, limits)
        yield from _too_many(view, link, all_ages, long, log_limit, limits)


def _too_many(
    view: View, name: str, stream: list[Arrival], windows_s: tuple[float, ...], log_limit: float, limits: Limits
) -> Iterator[Finding]:
    # The least likely window that ends at one of the arrivals since the last look.
    times = [arrival.first_seen for arrival in stream]
    ends = range(bisect_right(times, view.now - limits.interval_s), bisect_right(times, view.now))
    best: tuple[float, int, int, float, float] | None = None
    for window_s in windows_s:
        for end in ends if window_s <= limits.interval_s else ends[-1:]:
            start = bisect_right(times, times[end] - window_s)
            count = end - start + 1
            if count < limits.least:
                continue
            mean, known = _usual(times, start, times[end] - window_s, view.since, window_s, limits)
            # The window was chosen because one came at its end: the others are what may surprise.
            log_p = _log_chance(count - 1, mean, known, limits)
            log_p += log(len(windows_s)) + (log(len(ends)) if window_s <= limits.interval_s else 0.0)
            if best is None or log_p < best[0]:
                best = (log_p, start, end, mean, window_s)
    if best is not None and best[0] < log_limit:
        log_p, start, end, mean, window_s = best
        told = f"{end - start + 1} new identities within {window_s:.0f} s where up to {mean:.1f} would be usual"
        yield _finding(Reason.BURST, name, stream[start : end + 1], mean, log_p, told)


def _usual(
    times: list[float], before: int, until: float, since: float, window_s: float, limits: Limits
) -> tuple[float, float]:
    # The mean count in a window of that length, as large as it may be, and on how many arrivals it is based. The
    # reference with the highest rate counts.
    since = min(since, until)
    best_mean, best_known = 0.0, _PRIOR_COUNT
    for reference_s in (*(number * window_s for number in _REFERENCE_WINDOWS), DAY_S, MEMORY_S):
        begin = max(since, until - reference_s)
        known = _PRIOR_COUNT + before - bisect_right(times, begin)
        mean = known / (_PRIOR_S + until - begin) * window_s * limits.growth
        if mean > best_mean:
            best_mean, best_known = mean, known
    return best_mean, best_known


def _log_chance(count: int, mean: float, known: float, limits: Limits) -> float:
    # Of so many arrivals or more, whose rate is known from `known` of them (its posterior is a Gamma distribution, so
    # the count's is a negative binomial one), if every one of them comes with its clump.
    clumps = -(-count // limits.clump)
    return tails.negative_binomial(clumps, mean / limits.clump, known / limits.clump)


def _crowds(view: View, today: list[Arrival], limits: Limits) -> Iterator[Finding]:
    # All ids of any day are among those of two, so that a day's many looks count as one at twice the population.
    by_id = {arrival.peer_id: arrival for arrival in today}
    ids = list(by_id)
    population = max(2 * len(ids), view.network_size)
    targets = [target for target in (view.own_id, *view.watched) if target is not None]
    log_limit = limits.log_day - log(2)
    named: set[bytes] = set()
    for target in targets:
        crowd = crowd_near(ids, target, population)
        if crowd is not None and len(crowd.ids) >= limits.least and crowd.log_p + log(len(targets)) < log_limit:
            named.update(crowd.ids)
            whose = "our own id" if target == view.own_id else f"the watched key {target.hex()[:16]}"
            told = f"{_begins(crowd)} as {whose}; divergence {divergence(ids, target, population):.2f} nats"
            yield _finding(
                Reason.CROWDED_IDS, target.hex(), [by_id[peer] for peer in crowd.ids], crowd.expected, crowd.log_p, told
            )
    for crowd in crowds_anywhere(ids, population, limits.least, log_limit):
        if named.isdisjoint(crowd.ids):
            prefix = bin(int.from_bytes(crowd.ids[0], "big") >> 256 - crowd.depth)[2:].zfill(crowd.depth)
            told = f"{_begins(crowd)}, {prefix}"
            yield _finding(
                Reason.CROWDED_IDS, prefix[:8], [by_id[peer] for peer in crowd.ids], crowd.expected, crowd.log_p, told
            )


def _begins(crowd: Crowd) -> str:
    return f"{len(crowd.ids)} ids begin with the same {crowd.depth} bits ({crowd.expected:.2f} expected)"


def _networks(view: View, newcomers: list[Arrival], today: list[Arrival], limits: Limits) -> Iterator[Finding]:
    # A provider that brought many on the days before may bring many today.
    begin_today = view.now - DAY_S
    per_day = DAY_S / max(_PRIOR_S, begin_today - max(view.since, view.now - MEMORY_S))
    before = Counter(arrival.origin for arrival in _between(newcomers, view.since, begin_today))
    networks: dict[str, list[Arrival]] = defaultdict(list)
    addresses: dict[str, list[Arrival]] = defaultdict(list)
    for arrival in today:
        if not arrival.local:
            networks[arrival.origin].append(arrival)
            for address in dict.fromkeys(arrival.addresses):
                addresses[address].append(arrival)
    yield from _full_places("the network", networks, _one_more(networks, limits), before, per_day, limits)
    yield from _full_places("the address", addresses, limits.address_ratio, Counter(), per_day, limits)


def _full_places(
    kind: str, places: dict[str, list[Arrival]], ratio: float, before: Counter[str], per_day: float, limits: Limits
) -> Iterator[Finding]:
    # before: how many each brought before today; times per_day that is a day's.
    for place, who in places.items():
        if len(who) < limits.least:
            continue
        log_p = tails.geometric(len(who) - 1, ratio)
        mean = 1 / (1 - ratio)
        if before[place]:
            usual = before[place] * per_day * limits.growth
            log_p = max(log_p, _log_chance(len(who), usual, before[place], limits))
            mean = max(mean, usual)
        # Of two days' places, see _crowds.
        log_p += log(2 * len(places))
        if log_p < limits.log_day - log(2):
            told = f"{len(who)} new identities within a day from {kind} {place}"
            yield _finding(Reason.ONE_NETWORK, place, who, mean, log_p, told)


def _one_more(groups: dict[str, list[Arrival]], limits: Limits) -> float:
    # The chance that a network has one identity more, from all networks but the fullest tenth (an attacker's own are
    # there), and never below what is taken for granted: a quiet day does not make two of a kind suspicious.
    prior_mean, prior_weight = limits.network_ratio / (1 - limits.network_ratio), 20
    sizes = sorted(len(who) for who in groups.values())
    kept = sizes[: len(sizes) - -(-len(sizes) // 10)]
    further = (sum(kept) - len(kept) + prior_weight * prior_mean) / (len(kept) + prior_weight)
    return max(limits.network_ratio, further / (1 + further))


def _made_together(today: list[Arrival], limits: Limits) -> Iterator[Finding]:
    # Stocks made in one go: many proofs from one short time, brought long after. A mesh that joins ours brings ids of
    # all ages.
    stock = sorted((a for a in today if limits.challenge_s < a.lag_s), key=lambda a: a.computed_at)
    times = [arrival.computed_at for arrival in stock]
    best: tuple[float, int, int, float, float] | None = None
    for window_s in limits.made_windows_s:
        # Ages of honest ones lie within a refresh; the rate at which they were made swings as arrivals do.
        mean = len(stock) * window_s / limits.refresh_s * limits.growth
        for end, made in enumerate(times):
            start = bisect_left(times, made - window_s)
            count = end - start + 1
            if count < limits.least:
                continue
            log_p = tails.poisson(-(-(count - 1) // limits.clump), mean / limits.clump)
            log_p += log(2 * len(stock) * len(limits.made_windows_s))
            if best is None or log_p < best[0]:
                best = (log_p, start, end, mean, window_s)
    if best is not None and best[0] < limits.log_day:
        log_p, start, end, mean, window_s = best
        told = f"{end - start + 1} proofs made within {window_s:.0f} s, and first seen more than an hour later"
        yield _finding(Reason.MADE_TOGETHER, f"{times[start]:.0f}", stock[start : end + 1], mean, log_p, told)


def _overdue(today: list[Arrival], limits: Limits) -> Iterator[Finding]:
    late = [arrival for arrival in today if arrival.lag_s > limits.refresh_s + limits.challenge_s]
    if len(late) >= limits.least:
        expected = len(today) * limits.overdue_share
        # The newcomers of a day's looks, see _crowds.
        log_p = tails.binomial(len(late), len(today), limits.overdue_share) + log(max(1, len(today)))
        if log_p < limits.log_day:
            told = f"{len(late)} of {len(today)} new identities are older than a refresh ({expected:.1f} expected)"
            yield _finding(Reason.OVERDUE, "all", late, expected, log_p, told)


def _between(arrivals: list[Arrival], after: float, until: float) -> list[Arrival]:
    begin = bisect_right(arrivals, after, key=lambda arrival: arrival.first_seen)
    end = bisect_right(arrivals, until, key=lambda arrival: arrival.first_seen)
    return arrivals[begin:end]


@dataclass(slots=True)
class Alarms:
    """Which findings are news: a look every few minutes sees the same ones for a day.

    A finding is news if a third of its ids or more were not told for that reason in the last day. Remembers at most
    `most` ids and reasons; those told longest ago go first.
    """

    most: int = 16_384
    _told: dict[tuple[Reason, bytes], float] = field(default_factory=dict)

    def fresh(self, findings: Sequence[Finding], now: float) -> list[Finding]:
        """Those of the findings that are news."""
        while self._told and next(iter(self._told.values())) <= now - DAY_S:
            del self._told[next(iter(self._told))]
        news = []
        for finding in findings:
            keys = [(finding.reason, peer) for peer in finding.ids]
            if 3 * sum(key not in self._told for key in keys) >= len(keys):
                news.append(finding)
                for key in keys:
                    self._told.pop(key, None)
                    self._told[key] = now
        while len(self._told) > self.most:
            del self._told[next(iter(self._told))]
        return news
