"""Random walks of frames over three meshes that two gateways join: whatever the order, nothing comes twice or back."""

from collections import defaultdict
from random import Random

import pytest

from bitrelay.gateway.bridge import Bridge, Down, Drop
from bitrelay.gateway.bridge_frame import BridgeFrame
from bitrelay.gateway.config import DownlinkConfig
from bitrelay.gateway.downlink import offer_of
from bitrelay.gateway.message import Outcome
from bitrelay.lab.phone_identity import PhoneIdentity
from shared_protocol.frame import TTL, TYPE_FRAGMENT, TYPE_MESSAGE, TYPE_NOISE_ENCRYPTED

from .bridge_frames import WALL, frame, gateway, made, mesh

SERVED = {gateway(1): ("A", "B"), gateway(2): ("B", "C")}
PHONES = [PhoneIdentity(f"phone {number}") for number in range(4)]


class World:
    """What is said, heard, sent and injected waits in one bag, from which chance draws. `early`: whether a notice of
    what a gateway injects reaches the other one before the air does."""

    def __init__(self, seed: int, early: bool) -> None:
        self.rng = Random(seed)
        self.early = early
        self.now = 0.0
        configs = {
            name: mesh(
                name,
                DownlinkConfig(
                    enabled=True,
                    frames_per_minute=self.rng.choice((60, 6000)),
                    airtime_percent=100,
                    queue=self.rng.choice((3, 100)),
                ),
            )
            for name in "ABC"
        }
        self.bridges = {}
        for own, names in SERVED.items():
            self.bridges[own] = Bridge(own, [configs[name] for name in names])
            self.bridges[own].offers = {name: offer_of(configs[name]) for name in configs if name not in names}
        self.bag: list[tuple[str, tuple[object, ...]]] = []
        self.said: dict[bytes, tuple[str, BridgeFrame]] = {}
        self.went: dict[tuple[bytes, str], list[bytes]] = defaultdict(list)

    @property
    def wall_ms(self) -> int:
        return WALL + int(self.now * 1000)

    def step(self) -> None:
        self.now += self.rng.choice((0.0, 0.01, 0.5))
        if self.bag and self.rng.random() < 0.7:
            what, arguments = self.bag.pop(self.rng.randrange(len(self.bag)))
            getattr(self, what)(*arguments)
        elif self.rng.random() < 0.4:
            self.say()
        else:
            self.feed(*self.rng.choice([(own, name) for own, names in SERVED.items() for name in names]))
        if self.rng.random() < 0.05:
            self.bridges[self.rng.choice(list(SERVED))].forget(self.now)

    def say(self) -> None:
        name, phone = self.rng.choice("ABC"), self.rng.choice(PHONES)
        type = self.rng.choice((0x01, TYPE_MESSAGE, TYPE_MESSAGE, TYPE_NOISE_ENCRYPTED, TYPE_FRAGMENT))
        if type == 0x01:
            found = made(phone.announce(self.wall_ms))
        else:
            recipient = self.rng.choice(PHONES).peer_id if type == TYPE_NOISE_ENCRYPTED else None
            ttl = self.rng.randrange(1, 8)
            found = frame(type, ttl, self.wall_ms, phone.peer_id, self.rng.randbytes(20), recipient=recipient)
        if found.key in self.said:  # nobody says the same in two meshes at once
            return
        self.said[found.key] = (name, found)
        self.air(name, found.value, self.rng.randrange(1, 3))

    def air(self, name: str, value: bytes, times: int) -> None:
        for own, names in SERVED.items():
            if name in names:
                self.bag += [("hear", (own, name, value))] * times

    def hear(self, own: bytes, name: str, value: bytes) -> None:
        found = made(value)
        heard = self.bridges[own].heard(name, found, self.now, self.wall_ms)
        if found.key in self.went[own, name]:
            assert heard.targets == ()
            assert heard.drop in (Drop.FROM_INTERNET, Drop.TTL, Drop.STALE)
        assert name not in heard.targets
        for each in (*heard.before, found) if heard.targets else ():
            for target in heard.targets:
                for gate, names in SERVED.items():
                    if target in names and (target not in SERVED[own] or gate == own):
                        arrival = ("arrive", (gate, target, each.value, name, own))
                        self.bag += [arrival] * self.rng.randrange(1, 3)

    def arrive(self, own: bytes, name: str, value: bytes, origin: str, whence: bytes) -> None:
        outcome = self.bridges[own].arrived(name, made(value), origin, whence, self.now, self.wall_ms)
        if made(value).key in self.went[own, name]:
            assert outcome is not Outcome.QUEUED

    def feed(self, own: bytes, name: str) -> None:
        bridge = self.bridges[own]
        down = bridge.next_down(name, self.now, self.wall_ms)
        if not isinstance(down, Down):
            return
        if self.rng.random() < 0.1:
            bridge.not_sent(name, down, self.now)
            return
        self.went[own, name].append(down.frame.key)
        self.check(name, down)
        for other, names in SERVED.items():
            if other != own and name in names:
                if self.early:
                    self.notice(other, name, down.frame.key)
                else:
                    self.bag.append(("notice", (other, name, down.frame.key)))
        self.air(name, down.value, 1)

    def notice(self, own: bytes, name: str, key: bytes) -> None:
        self.bridges[own].brought(name, [key], self.now)

    def check(self, name: str, down: Down) -> None:
        origin, original = self.said[down.frame.key]
        assert name != origin
        assert down.value[:TTL] + down.value[TTL + 1 :] == original.value[:TTL] + original.value[TTL + 1 :]
        assert 1 <= down.value[TTL] < down.frame.ttl <= original.ttl


@pytest.mark.parametrize("early", [True, False], ids=["told before", "told some time"])
def test_nothing_comes_twice_or_back_and_only_its_ttl_changes(early: bool) -> None:
    crossings = 0
    for seed in range(40):
        world = World(seed, early)
        for _ in range(400):
            world.step()
        for keys in world.went.values():
            assert len(keys) == len(set(keys))
            crossings += len(keys)
        if early:
            both = world.went[gateway(1), "B"] + world.went[gateway(2), "B"]
            assert len(both) == len(set(both))
    assert crossings > 1000
