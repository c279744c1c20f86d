"""Who is up in a study, when almost nobody is."""

import asyncio
from random import Random

from bitrelay.simulator.dht_network import MemoryNetwork
from bitrelay.simulator.dht_population import Population
from bitrelay.simulator.virtual_time import VirtualTimeLoop


async def of_two(seed: int = 1) -> tuple[Population, "asyncio.Task[None]"]:
    """An honest node and a colluder that die again and again, and who lets them."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    population = Population(MemoryNetwork(loop, Random(seed)), Random(seed), adversaries=0.5, paths=1)
    await population.grow(2, lambda what, done, total: None)
    return population, loop.create_task(population.churn(6000.0))


async def end(churning: "asyncio.Task[None]", population: Population) -> None:
    churning.cancel()
    await asyncio.gather(churning, return_exceptions=True)
    await population.stop()


def test_nobody_up_and_no_honest_node_up_are_waited_out() -> None:
    async def test() -> None:
        population, churning = await of_two()
        colluders_only = 0
        for _ in range(500):
            await asyncio.sleep(1.0)
            colluders_only += bool(population.joined) and all(member.colludes for member in population.joined)
            assert not (await population.pick_honest()).colludes
        assert colluders_only, "it was tried"
        assert not churning.done(), "although all were gone at once"
        assert population.died > 20
        await end(churning, population)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(test())
