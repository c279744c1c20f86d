"""How well lookups do in a network of so many nodes: with colluders, with churn, on one path or on several.

The nodes are those of `bitrelay.dht`, with their tables, timers and limits; only the network and the time are made up.
The figures of a study depend on its plan alone, and are the same in each run; what it cost does not, and is not.
"""

import asyncio
import gc
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil, log2, sqrt
from random import Random

from ..dht.bucket import K
from ..dht.lookup import Plan as LookupPlan
from ..dht.messages import SignedValue
from ..dht.values import Kind, sign
from ..identity.keys import KEY_BYTES, IdentityKeys
from .dht_network import Conditions, MemoryNetwork
from .dht_population import Population, Telling
from .virtual_time import VirtualTimeLoop

MAX_NODES = 100_000
_MOST_VALUES = 200
_VALUE_S = 86_400


@dataclass(frozen=True, slots=True)
class Plan:
    """What to try.

    adversaries: the part of all nodes that collude; paths: of each lookup, and if there are several numbers, as many
    lookups with each, one after the other; nodes join and put with the highest. churn: sessions per node and hour, so
    that 1.0 is a median session of one hour; settle_s: virtual seconds before the first lookup; span_s: in which they
    begin. lying: whether those that collude tell false addresses of the others.
    """

    nodes: int
    lookups: int
    adversaries: float = 0.0
    paths: tuple[int, ...] = (1,)
    churn: float = 0.0
    seed: int = 1
    settle_s: float = 900.0
    span_s: float = 900.0
    conditions: Conditions = field(default_factory=Conditions)
    lying: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    """What came out.

    success: part of the lookups of random ids by honest nodes in whose result is the honest node nearest to the id, of
    those that were up from beginning to end; success_low: the lower end of its 95 % interval (Wilson). value_success:
    part of the gets by honest nodes that brought the value which an honest node had put. hops: questions one after the
    other that led to the nearest node found; messages: questions of one lookup. floor: the success of as many paths as
    long as hops_mean of which any adversary spoils a whole one. hops_most: what Kademlia should stay below. questions:
    of all nodes in all of the time so far; died: nodes that were replaced.
    """

    paths: int
    success: float
    success_low: float
    value_success: float
    hops_mean: float
    hops_p95: int
    messages_mean: float
    failures_mean: float
    value_messages_mean: float
    seconds_mean: float
    floor: float
    hops_most: float
    known_mean: float
    questions: int
    died: int
    virtual_seconds: float


@dataclass(frozen=True, slots=True)
class Cost:
    """What it took here. memory_per_node: bytes by which the process grew, for each node; cpu: processor seconds."""

    seconds: float
    build_seconds: float
    memory_per_node: int
    cpu_per_lookup: float
    cpu_per_question: float


@dataclass(slots=True)
class _Outcomes:
    right: int = 0
    hops: list[int] = field(default_factory=list)
    messages: list[int] = field(default_factory=list)
    failures: int = 0
    seconds: float = 0.0
    value_right: int = 0
    value_messages: int = 0


def run_study(plan: Plan, tell: Telling = lambda what, done, total: None) -> tuple[list[Figures], Cost]:
    """Run a study in a loop of its own. tell: called now and then."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(study(plan, tell))


async def study(plan: Plan, tell: Telling = lambda what, done, total: None) -> tuple[list[Figures], Cost]:
    """The same in the VirtualTimeLoop that runs. Cancelled, it ends at once."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    began, memory = time.perf_counter(), _memory()
    random = Random(plan.seed)
    network = MemoryNetwork(loop, Random(random.getrandbits(64)), plan.conditions)
    population = Population(
        network, Random(random.getrandbits(64)), adversaries=plan.adversaries, paths=max(plan.paths), lying=plan.lying
    )
    figures: list[Figures] = []
    with _seldom_collecting():
        await population.grow(plan.nodes, tell)
        built = time.perf_counter()
        churning = loop.create_task(population.churn(plan.churn)) if plan.churn else None
        try:
            await _pass(plan.settle_s, tell, "it settles")
            values = await _put(plan, population, random)
            cpu, questions = time.process_time(), network.questions
            for paths in plan.paths:
                outcomes = await _look_up(plan, paths, population, random, values, tell)
                figures.append(_figures(plan, paths, population, outcomes))
            cpu, questions = time.process_time() - cpu, network.questions - questions
        finally:
            if churning is not None:
                if churning.done():
                    churning.result()  # it failed
                churning.cancel()
                await asyncio.gather(churning, return_exceptions=True)
        memory = _memory() - memory
        await population.stop()
    per_question = cpu / max(1, questions)
    cost = Cost(
        seconds=time.perf_counter() - began,
        build_seconds=built - began,
        memory_per_node=memory // plan.nodes,
        cpu_per_lookup=per_question * figures[-1].messages_mean,
        cpu_per_question=per_question,
    )
    return figures, cost


async def _pass(seconds: float, tell: Telling, what: str) -> None:
    steps = 20
    for step in range(steps):
        tell(what, step, steps)
        await asyncio.sleep(seconds / steps)


async def _put(plan: Plan, population: Population, random: Random) -> list[SignedValue]:
    # Honest nodes put values, one a second.
    values: list[SignedValue] = []
    async with asyncio.TaskGroup() as group:
        for number in range(min(plan.lookups, _MOST_VALUES)):
            keys = IdentityKeys(random.randbytes(KEY_BYTES), random.randbytes(KEY_BYTES))
            name, now = f"value {number}", population.now()
            values.append(sign(keys, Kind.APPLICATION, name, b"v" * 64, now=now, lifetime_s=_VALUE_S))
            group.create_task(_put_one(population, values[-1]))
            await asyncio.sleep(1.0)
    return values


async def _put_one(population: Population, value: SignedValue) -> None:
    while True:
        owner = await population.pick_honest()
        await owner.node.put(value)
        if owner.attachment.is_up:  # else it died before it was done
            break


async def _look_up(
    plan: Plan, paths: int, population: Population, random: Random, values: list[SignedValue], tell: Telling
) -> _Outcomes:
    outcomes, how = _Outcomes(), LookupPlan(paths=paths)
    async with asyncio.TaskGroup() as group:
        for number in range(plan.lookups):
            tell("lookups", number, plan.lookups)
            await asyncio.sleep(plan.span_s / plan.lookups)
            target = random.randbytes(32)
            group.create_task(_find(population, target, how, outcomes))
            group.create_task(_get(population, values[number % len(values)], how, outcomes))
    return outcomes


async def _find(population: Population, target: bytes, how: LookupPlan, outcomes: _Outcomes) -> None:
    loop = asyncio.get_running_loop()
    while True:
        origin = await population.pick_honest()
        began = loop.time()
        found = await origin.node.lookup(target, plan=how)
        if origin.attachment.is_up:  # else it died meanwhile, and nobody waits for what it finds
            break
    head = population.head(target, began, origin)
    outcomes.right += head is None or head in {contact.node_id for contact in found.closest}
    outcomes.hops.append(found.hops)
    outcomes.messages.append(found.messages)
    outcomes.failures += found.failures
    outcomes.seconds += loop.time() - began


async def _get(population: Population, value: SignedValue, how: LookupPlan, outcomes: _Outcomes) -> None:
    while True:
        origin = await population.pick_honest()
        found = await origin.node.get(value.kind, value.name, owner=value.owner, plan=how)
        if origin.attachment.is_up:
            break
    outcomes.value_right += value in found.values
    outcomes.value_messages += found.messages


def _figures(plan: Plan, paths: int, population: Population, outcomes: _Outcomes) -> Figures:
    count = plan.lookups
    hops_mean = sum(outcomes.hops) / count
    known = sum(len(member.node.table) for member in population.joined)
    clean = (1 - plan.adversaries) ** hops_mean
    return Figures(
        paths=paths,
        success=outcomes.right / count,
        success_low=_wilson_low(outcomes.right, count),
        value_success=outcomes.value_right / count,
        hops_mean=hops_mean,
        hops_p95=sorted(outcomes.hops)[ceil(0.95 * count) - 1],
        messages_mean=sum(outcomes.messages) / count,
        failures_mean=outcomes.failures / count,
        value_messages_mean=outcomes.value_messages / count,
        seconds_mean=outcomes.seconds / count,
        floor=1 - (1 - clean) ** paths,
        hops_most=log2(max(1.0, plan.nodes / K)) / 2 + 1,
        known_mean=known / max(1, len(population.joined)),
        questions=population.network.questions,
        died=population.died,
        virtual_seconds=population.network.loop.time(),
    )


def _wilson_low(right: int, count: int) -> float:
    z = 1.96
    part = right / count
    middle = part + z * z / (2 * count)
    return (middle - z * sqrt(part * (1 - part) / count + z * z / (4 * count * count))) / (1 + z * z / count)


def _memory() -> int:
    # The most this process has had, in bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@contextmanager
def _seldom_collecting() -> Iterator[None]:
    # Millions of objects that all live on: the collector would look at them again and again, and find nothing.
    before = gc.get_threshold()
    gc.set_threshold(100_000, 50, 1000)
    try:
        yield
    finally:
        gc.set_threshold(*before)
