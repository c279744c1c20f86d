"""A running node keeps its identity fresh, remembers its peers, and tells what happens."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from bitrelay.defense.sybil import Reason
from bitrelay.errors import ChallengeExpired, DamagedIdentity, DeviceTimeout, IdentityRefused, NoIdentity
from bitrelay.identity.challenge import Challenge
from bitrelay.identity.difficulty import DifficultyAdjusted, DifficultyConfig
from bitrelay.identity.events import IdentityEvent, IdentityRefreshed, Subscription, SybilAttemptDetected
from bitrelay.identity.generate import IdentityGenerated
from bitrelay.identity.keys import IdentityKeys
from bitrelay.identity.local import LocalIdentity, load_identity, update_identity
from bitrelay.identity.mining import SolutionFound, mine
from bitrelay.identity.peer_cache import PeerCache
from bitrelay.identity.service import IdentityService, Registration, Times, own_identity
from tests.identity.mined import BITS, NOW, Clock, QuickMiner, local_identity, record_of, redated, settle

HOUR, DAY = 3600, 86_400
DEADLINE_S = 30
OWN = local_identity(0)


@dataclass
class Node:
    """A service with everything around it made up."""

    service: IdentityService
    clock: Clock
    miner: QuickMiner
    saved: list[LocalIdentity] = field(default_factory=list)
    registered: list[Registration] = field(default_factory=list)
    heard: Subscription = field(init=False)

    def __post_init__(self) -> None:
        self.heard = self.service.events.subscribe()

    def events(self) -> list[IdentityEvent]:
        found = list(self.heard._events)
        self.heard._events.clear()
        return found


Make = Callable[..., Node]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    made: list[Node] = []

    def build(**settings: object) -> Node:
        clock = Clock()
        miner = QuickMiner(clock)
        node: Node

        async def obtain(tell: Callable[[IdentityEvent], None]) -> LocalIdentity:
            return OWN

        async def register(told: Registration) -> None:
            node.registered.append(told)

        given: dict[str, object] = {
            "mine": miner,
            "save": lambda local: node.saved.append(local),
            "register": register,
            "addresses": lambda: ("198.51.100.7:8765",),
            "difficulty": DifficultyConfig.development(),
            "clock": clock,
            "sleep": clock.sleep,
            "source": Random(1),
            # As often as a day's passing needs.
            "times": Times(adjust_s=600, retry_s=600),
        }
        options = given | settings
        service = IdentityService(
            options.pop("obtain", obtain),  # type: ignore[arg-type]
            PeerCache(tmp_path / "peers.sqlite"),
            **options,  # type: ignore[arg-type]
        )
        node = Node(service, clock, miner)
        made.append(node)
        return node

    yield build
    for node in made:
        await node.service.stop()
        node.service.cache.close()


# Start and end


@pytest.mark.requirement("POW-37", "POW-38")
async def test_the_start_registers_real_addresses_and_the_computed_score(make: Make) -> None:
    node = make()
    await node.service.start()
    await settle()
    assert node.service.running
    (told,) = node.registered
    assert told.identity == OWN.proof
    assert told.record == record_of(OWN)
    assert told.addresses == ("198.51.100.7:8765",)
    assert told.score == OWN.proof.score(NOW) == pytest.approx(0.425)


async def test_registration_is_tried_again_until_it_works(make: Make) -> None:
    tries = []

    async def register(told: Registration) -> None:
        tries.append(told)
        if len(tries) < 3:
            raise DeviceTimeout("no node answers")

    node = make(register=register)
    await node.service.start()
    await node.clock.pass_by(1800)
    assert len(tries) == 3


async def test_what_was_refreshed_while_it_was_registered_is_registered_anew(make: Make) -> None:
    told: list[Registration] = []
    answered = asyncio.Event()

    async def register(registration: Registration) -> None:
        told.append(registration)
        await answered.wait()

    node = make(register=register)
    await node.service.start()
    await settle()
    await node.service.refresh()
    answered.set()
    await node.clock.pass_by(1200)
    assert [registration.identity for registration in told] == [OWN.proof, node.service.local.proof]


@pytest.mark.requirement("POW-25")
async def test_it_runs_between_start_and_stop_and_may_start_again(make: Make) -> None:
    node = make()
    with pytest.raises(NoIdentity):
        _ = node.service.local
    for _ in range(2):
        await node.service.start()
        await node.service.start()
        assert node.service.running
        await node.service.stop()
        await node.service.stop()
        assert not node.service.running
    assert [event async for event in node.heard] == []
    assert len(asyncio.all_tasks()) == 1


async def test_a_start_that_fails_leaves_nothing_running(make: Make) -> None:
    async def obtain(tell: Callable[[IdentityEvent], None]) -> LocalIdentity:
        raise DamagedIdentity("own.identity is damaged")

    node = make(obtain=obtain)
    with pytest.raises(DamagedIdentity):
        await node.service.start()
    assert not node.service.running
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.requirement("POW-37")
async def test_the_first_start_makes_an_identity_and_the_next_one_has_it(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "home" / "own.identity"
    node = make(obtain=own_identity(path, BITS, Clock()))
    await node.service.start()
    found, generated = node.events()
    assert isinstance(found, SolutionFound)
    assert isinstance(generated, IdentityGenerated)
    assert node.service.local == generated.local
    await node.service.stop()
    again = make(obtain=own_identity(path, BITS, Clock()))
    await again.service.start()
    assert again.service.local == generated.local
    assert again.events() == []


# Refresh


@pytest.mark.requirement("POW-14", "POW-27", "POW-32")
async def test_the_identity_is_refreshed_when_it_is_a_day_old(make: Make) -> None:
    node = make()
    await node.service.start()
    await node.clock.pass_by(DAY)
    assert node.miner.challenges == []
    await node.clock.pass_by(HOUR + 600)
    fresh = node.service.local
    assert node.saved == [fresh]
    assert fresh.keys == OWN.keys
    assert fresh.proof.refresh_count == 1
    assert fresh.proof.created_at > NOW + DAY
    assert fresh.proof.expires_at == fresh.proof.created_at + 7 * DAY
    (challenge,) = node.miner.challenges
    assert challenge.challenge_data != OWN.proof.pow_solution.challenge.challenge_data
    found, refreshed = node.events()
    assert isinstance(found, SolutionFound)
    assert refreshed == IdentityRefreshed(OWN.proof.peer_id, fresh.proof)
    assert [told.identity for told in node.registered] == [OWN.proof, fresh.proof]
    await node.clock.pass_by(3 * (DAY + HOUR))
    assert node.service.local.proof.refresh_count == 4


@pytest.mark.requirement("POW-32")
async def test_a_refresh_with_the_real_miner_is_in_the_file(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "home" / "own.identity"
    clock = Clock()

    async def mine_now(challenge: Challenge, keys: IdentityKeys) -> SolutionFound:
        return await mine(challenge, keys, workers=1, clock=clock)

    obtain = own_identity(path, BITS, clock)
    node = make(obtain=obtain, mine=mine_now, save=lambda local: update_identity(path, local), clock=clock)
    await node.service.start()
    before = node.service.local
    await node.service.refresh()
    assert load_identity(path) == node.service.local != before


async def test_nodes_that_started_together_do_not_refresh_together(make: Make) -> None:
    refreshed = set()
    for seed in range(4):
        node = make(source=Random(seed))
        await node.service.start()
        await node.clock.pass_by(DAY + HOUR + 60)
        refreshed.add(node.service.local.proof.created_at // 60)
    assert len(refreshed) == 4


async def test_an_identity_that_is_overdue_is_refreshed_at_once(make: Make) -> None:
    node = make()
    node.clock.now += 9 * DAY
    await node.service.start()
    await settle()
    assert node.service.local.proof.refresh_count == 1
    assert not node.service.local.proof.expired(int(node.clock()))


async def test_work_that_comes_too_late_is_begun_anew(make: Make) -> None:
    tries = []

    async def mine(challenge: Challenge, keys: IdentityKeys) -> SolutionFound:
        tries.append(challenge.challenge_data)
        if len(tries) == 1:
            raise ChallengeExpired("too late")
        return await QuickMiner(node.clock)(challenge, keys)

    node = make(mine=mine)
    await node.service.start()
    await node.clock.pass_by(DAY + 2 * HOUR)
    assert len(set(tries)) == 2
    assert node.service.local.proof.refresh_count == 1


async def test_an_error_of_any_kind_ends_no_task(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    tries = {"register": 0, "mine": 0}

    async def register(told: Registration) -> None:
        tries["register"] += 1
        if tries["register"] == 1:
            raise KeyError("a fault")

    async def mine(challenge: Challenge, keys: IdentityKeys) -> SolutionFound:
        tries["mine"] += 1
        if tries["mine"] == 1:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return await QuickMiner(node.clock)(challenge, keys)

    node = make(register=register, mine=mine)
    await node.service.start()
    await node.clock.pass_by(DAY + 2 * HOUR)
    assert node.service.local.proof.refresh_count == 1
    assert tries == {"register": 3, "mine": 2}
    assert node.service.faults == 2
    assert "Not registered in the DHT, by a fault" in caplog.text
    assert "The identity was not refreshed, by a fault" in caplog.text
    assert all(not task.done() for task in node.service._tasks)


def test_refreshes_stop_counting_where_a_record_has_no_more_room() -> None:
    most = (1 << 32) - 1
    old = local_identity(1, refresh_count=most - 1)
    once = old.renewed(old.proof.pow_solution)
    assert (once.proof.refresh_count, once.renewed(old.proof.pow_solution).proof.refresh_count) == (most, most)


# Peers


async def test_an_admitted_peer_is_remembered_and_a_liar_is_not(make: Make) -> None:
    node = make()
    await node.service.start()
    peer = local_identity(1)
    assert node.service.admit(record_of(peer), "ip4:192.0.2.0/24") == peer.proof
    assert node.service.cache.may_connect(peer.proof.peer_id, NOW)
    with pytest.raises(IdentityRefused):
        node.service.admit(record_of(local_identity(2))[:-1] + b"\0", "ip4:192.0.2.0/24")
    assert node.service.cache.peer_ids() == [peer.proof.peer_id]


async def test_our_own_record_makes_us_no_peer(make: Make) -> None:
    node = make()
    await node.service.start()
    node.service.admit(node.service.record(), "ip4:192.0.2.0/24")
    assert len(node.service.cache) == 0


async def test_nothing_below_the_base_is_admitted(make: Make) -> None:
    node = make(difficulty=DifficultyConfig())
    await node.service.start()
    with pytest.raises(IdentityRefused):
        node.service.admit(record_of(local_identity(1)), "ip4:192.0.2.0/24")


@pytest.mark.requirement("POW-25")
async def test_a_challenge_of_ours_admits_one_peer(make: Make) -> None:
    node = make()
    await node.service.start()
    challenge = node.service.issue_challenge("ip4:192.0.2.0/24")
    first, second = (local_identity(number, NOW, challenge=challenge) for number in (1, 2))
    assert node.service.answer_challenge(record_of(first), "ip4:192.0.2.0/24") == first.proof
    assert node.service.answer_challenge(record_of(second), "ip4:192.0.2.0/24") is None
    assert node.service.answer_challenge(record_of(local_identity(3)), "ip4:192.0.2.0/24") is None
    assert node.service.cache.peer_ids() == [first.proof.peer_id]


async def test_what_has_expired_is_pruned_while_it_runs(make: Make) -> None:
    node = make(times=Times(DAY, DAY, HOUR, DAY))
    await node.service.start()
    node.service.admit(record_of(local_identity(1)), "ip4:192.0.2.0/24")
    node.service.issue_challenge("ip4:192.0.2.0/24")
    await node.clock.pass_by(2 * HOUR)
    assert len(node.service.issued) == 0
    assert len(node.service.cache) == 1
    await node.clock.pass_by(7 * DAY)
    assert len(node.service.cache) == 0


# Difficulty


@pytest.mark.requirement("POW-29", "POW-31")
async def test_difficulty_follows_the_times_of_admitted_peers(make: Make) -> None:
    node = make()
    await node.service.start()
    for number in range(1, 25):
        # Solved within 5 s at 8 bits.
        node.service.admit(record_of(local_identity(number)), f"ip4:192.0.{number}.0/24")
        node.service.admit(record_of(local_identity(number)), f"ip4:192.0.{number}.0/24")
    assert len(node.service._control._times) == 24
    await node.clock.pass_by(HOUR)
    assert node.service.difficulty.current == BITS + 1
    assert DifficultyAdjusted(8, 9) in node.events()
    assert node.service.issue_challenge("here").difficulty == 9


async def test_one_proof_is_one_time_whatever_its_dates(make: Make) -> None:
    node = make()
    await node.service.start()
    peer = local_identity(1)
    for later_s in range(100):
        node.clock.now = NOW + later_s
        node.service.admit(record_of(redated(peer, later_s)), "ip4:192.0.2.0/24")
    assert len(node.service._control._times) == 1
    assert len(node.service.cache.arrivals(NOW + 100)) == 1


@pytest.mark.parametrize("answered", [True, False])
async def test_a_challenge_of_ours_is_timed_by_our_clock(make: Make, answered: bool) -> None:
    node = make()
    await node.service.start()
    challenge = node.service.issue_challenge("ip4:192.0.2.0/24")
    node.clock.now = NOW + 40
    # Solved at once, if one believes the peer.
    record = record_of(local_identity(1, NOW, challenge=challenge))
    bring = node.service.answer_challenge if answered else node.service.admit
    assert bring(record, "ip4:192.0.2.0/24") is not None
    (time,) = node.service._control._times
    assert (time.difficulty, time.seconds) == (BITS, 40.0)


# Sybils


@pytest.mark.requirement("POW-30", "POW-33")
async def test_identities_that_share_a_challenge_are_told_within_five_minutes(make: Make) -> None:
    node = make()
    await node.service.start()
    challenge = Challenge.fresh(BITS, NOW - 5, bytes(range(32)))
    sybils = [local_identity(number, challenge=challenge) for number in range(1, 4)]
    for number, local in enumerate(sybils):
        node.clock.now = NOW + number
        node.service.admit(record_of(local), f"ip4:192.0.{number}.0/24")
    await node.clock.pass_by(300)
    event = await asyncio.wait_for(anext(node.heard), DEADLINE_S)
    assert isinstance(event, SybilAttemptDetected)
    assert set(event.suspicious) == {local.proof.peer_id for local in sybils[1:]}
    assert [finding.reason for finding in event.findings] == [Reason.SHARED_CHALLENGE]
    assert node.service.suspicious == set(event.suspicious)
    await node.clock.pass_by(3000)
    assert node.events() == []


async def test_an_arrival_that_cannot_be_read_does_not_end_the_look_for_sybils(make: Make, tmp_path: Path) -> None:
    node = make()
    await node.service.start()
    challenge = Challenge.fresh(BITS, NOW - 5, bytes(range(32)))
    for local in (local_identity(9), *(local_identity(number, challenge=challenge) for number in (1, 2))):
        node.service.admit(record_of(local), "ip4:192.0.2.0/24")
    node.service.cache._do("UPDATE arrivals SET addresses = 'x' WHERE number = 1")
    await node.clock.pass_by(300)
    event = await asyncio.wait_for(anext(node.heard), DEADLINE_S)
    assert isinstance(event, SybilAttemptDetected)
    assert event.suspicious == (local_identity(2).proof.peer_id,)
    assert node.service.faults == 0


async def test_a_look_for_sybils_that_failed_is_made_up_for(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    node = make()
    await node.service.start()
    challenge = Challenge.fresh(BITS, NOW - 5, bytes(range(32)))
    for number in (1, 2):
        node.service.admit(record_of(local_identity(number, challenge=challenge)), "ip4:192.0.2.0/24")
    with monkeypatch.context() as broken:
        broken.setattr(node.service.cache, "arrivals", lambda now: 1 // 0)
        await node.clock.pass_by(300)
    assert node.service.faults == 1
    assert node.events() == []
    await node.clock.pass_by(300)
    assert isinstance(await asyncio.wait_for(anext(node.heard), DEADLINE_S), SybilAttemptDetected)


# The log


@pytest.mark.requirement("POW-40")
async def test_events_are_logged(make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "home" / "own.identity"
    node = make(obtain=own_identity(path, BITS, Clock()))
    await node.service.start()
    challenge = Challenge.fresh(BITS, NOW - 5, bytes(range(32)))
    for number in range(1, 25):
        local = local_identity(number, challenge=challenge if number < 3 else None)
        node.service.admit(record_of(local), f"ip4:192.0.{number}.0/24")
    await node.clock.pass_by(HOUR)
    while not isinstance(await asyncio.wait_for(anext(node.heard), DEADLINE_S), SybilAttemptDetected):
        pass
    await settle()
    own = node.service.local
    assert f"Identity {own.proof.peer_id.hex()} made, 8 bits" in caplog.text
    assert "Difficulty of new proofs of work: 9 bits, was 8" in caplog.text
    assert "Possible Sybil attempt, shared challenge (1 ids): 2 identities solved one challenge" in caplog.text
    assert own.keys.signing_seed.hex() not in caplog.text


async def test_trouble_with_the_disk_ends_no_task(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    node = make()
    await node.service.start()
    node.service.cache.close()
    await node.clock.pass_by(1200)
    assert "cannot use" in caplog.text
    assert all(not task.done() for task in node.service._tasks)


async def test_a_cache_that_was_set_aside_is_told(make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "peers.sqlite").write_bytes(b"damaged" * 1000)
    await make().service.start()
    assert "damaged and are set aside as" in caplog.text
