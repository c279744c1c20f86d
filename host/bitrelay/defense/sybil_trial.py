"""Shows what the Sybil detector finds and how often it is wrong: attacks and honest days, many of each, from seeds."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log, sqrt
from random import Random
from statistics import median

from .arrivals import Arrival
from .sybil import MEMORY_S, Alarms, Finding, Limits, View, detect
from .sybil_traffic import ATTACKS, BEGIN_S, END_S, HONEST, ONE_OWNER, Attack, Usual, attack, in_order, usual
from .tails import poisson

_95_PERCENT = 1.96

Progress = Callable[[str], None]
Extra = Callable[[Random, Usual], list[Arrival]]


@dataclass(frozen=True, slots=True)
class HonestResult:
    """Alarms on honest days: in all, on how many of the days there was one, and for which reasons."""

    name: str
    days: int
    alarms: int
    days_with_alarm: int
    reasons: dict[str, int]

    @property
    def per_day(self) -> float:
        """False alarms a day."""
        return self.alarms / self.days


@dataclass(frozen=True, slots=True)
class AttackResult:
    """How an attack fared. Shares are 0 to 1, the interval is Wilson's of 95 %, delays are from the first arrival.

    An alarm is right if at least half of its ids are the attacker's; detected: right alarms have named at least half of
    those that had come. named: the share of the attacker's ids that right alarms named by the end. wronged: honest ids
    named along with them, per run.
    """

    name: str
    size: int
    runs: int
    detected: float
    interval: tuple[float, float]
    median_delay_s: float | None
    named: float
    wronged: float
    reasons: dict[str, int]


@dataclass(frozen=True, slots=True)
class Trial:
    """All of it: honest days, days of owners with many identities, attacks."""

    seed: int
    budget_per_day: float
    honest: tuple[HonestResult, ...]
    one_owner: tuple[HonestResult, ...]
    attacks: tuple[AttackResult, ...]

    @property
    def honest_days(self) -> int:
        """How many honest days were judged, of all kinds."""
        return sum(result.days for result in self.honest)

    @property
    def false_alarms(self) -> int:
        """Alarms on those days."""
        return sum(result.alarms for result in self.honest)

    @property
    def within_budget(self) -> bool:
        """Whether so many false alarms can come of the budget: more would by a chance of less than 1 in 100."""
        return poisson(self.false_alarms, self.honest_days * self.budget_per_day) > log(0.01)


def steps(runs: int, days: int) -> int:
    """How often run_trial calls tell."""
    return days * (len(HONEST) + len(ONE_OWNER)) + runs * len(ATTACKS)


def run_trial(seed: int, runs: int, days: int, limits: Limits = Limits(), tell: Progress = lambda _: None) -> Trial:
    """Judge so many runs of every attack and days of every honest kind.

    The same seed gives the same result. tell is called with what is done next.
    """

    def honest(name: str, what: Usual, extra: Extra | None) -> HonestResult:
        return judge_honest(name, what, extra, seed, days, limits, tell)

    return Trial(
        seed,
        limits.false_alarms_per_day,
        tuple(honest(name, what, extra) for name, (what, extra) in HONEST.items()),
        tuple(honest(name, what, extra) for name, (what, extra) in ONE_OWNER.items()),
        tuple(judge_attack(plan, seed, runs, limits, tell) for plan in ATTACKS),
    )


def judge_honest(
    name: str,
    what: Usual,
    extra: Extra | None,
    seed: int,
    days: int,
    limits: Limits = Limits(),
    tell: Progress = lambda _: None,
) -> HonestResult:
    """Alarms on so many independent days, each after a week of usual ones; extra is what comes on top on the day."""
    reasons: Counter[str] = Counter()
    days_with_alarm = 0
    for day in range(days):
        tell(f"{name}, day {day + 1} of {days}")
        random = Random(f"{seed} {name} {day}")
        arrivals = usual(random, what)
        if extra is not None:
            arrivals = in_order(arrivals + extra(random, what))
        alarms = [finding for _, finding in watch(arrivals, random.randbytes(32), 0.0, END_S, limits)]
        days_with_alarm += bool(alarms)
        reasons.update(finding.reason for finding in alarms)
    return HonestResult(name, days, reasons.total(), days_with_alarm, dict(sorted(reasons.items())))


def judge_attack(
    plan: Attack, seed: int, runs: int, limits: Limits = Limits(), tell: Progress = lambda _: None
) -> AttackResult:
    """The attack among usual traffic, so many times."""
    delays: list[float] = []
    named = wronged = 0
    reasons: Counter[str] = Counter()
    for number in range(runs):
        tell(f"{plan.name}, {plan.size} identities, run {number + 1} of {runs}")
        random = Random(f"{seed} {plan} {number}")
        own_id = random.randbytes(32)
        hostile = attack(random, plan, own_id)
        arrivals = in_order(usual(random, Usual()) + hostile)
        begin, end = hostile[0].first_seen, hostile[-1].first_seen + 2 * limits.interval_s
        delay, found, honest, why = _judge(watch(arrivals, own_id, begin, end, limits), hostile)
        if delay is not None:
            delays.append(delay)
        named += len(found)
        wronged += len(honest)
        reasons.update(why)
    return AttackResult(
        plan.name,
        plan.size,
        runs,
        len(delays) / runs,
        wilson(len(delays), runs),
        median(delays) if delays else None,
        named / (runs * plan.size),
        wronged / runs,
        dict(sorted(reasons.items())),
    )


def watch(
    arrivals: Sequence[Arrival], own_id: bytes, begin: float, end: float, limits: Limits = Limits()
) -> list[tuple[float, Finding]]:
    """The alarms of looks every interval from begin to end, with their times: what a running service would tell."""
    alarms = Alarms()
    told: list[tuple[float, Finding]] = []
    times = [arrival.first_seen for arrival in arrivals]
    now = begin
    seen = bisect_right(times, now)
    while now < end:
        now += limits.interval_s
        until = bisect_right(times, now)
        # Where nobody came, there is nobody new to suspect.
        if until > seen:
            oldest = bisect_right(times, now - MEMORY_S)
            view = View(arrivals[oldest:until], now, BEGIN_S, own_id)
            told += [(now, finding) for finding in alarms.fresh(detect(view, limits), now)]
        seen = until
    return told


def wilson(hits: int, runs: int) -> tuple[float, float]:
    """The 95 % interval of a share of which `hits` of `runs` were seen."""
    z2 = _95_PERCENT**2
    middle = (hits + z2 / 2) / (runs + z2)
    half = _95_PERCENT * sqrt(hits * (runs - hits) / runs + z2 / 4) / (runs + z2)
    return max(0.0, middle - half), min(1.0, middle + half)


def _judge(
    alarms: list[tuple[float, Finding]], hostile: list[Arrival]
) -> tuple[float | None, set[bytes], set[bytes], set[str]]:
    # When it was detected after its beginning, the hostile and honest ids named by alarms that were right, and why.
    bad = {arrival.peer_id for arrival in hostile}
    begin = hostile[0].first_seen
    delay: float | None = None
    found: set[bytes] = set()
    honest: set[bytes] = set()
    why: set[str] = set()
    for now, finding in alarms:
        guilty = bad.intersection(finding.ids)
        if 2 * len(guilty) < len(finding.ids):
            continue
        found |= guilty
        come = sum(arrival.first_seen <= now for arrival in hostile)
        if delay is None and 2 * len(found) >= come:
            delay = now - begin
        honest |= set(finding.ids) - bad
        why.add(finding.reason)
    return delay, found, honest, why
