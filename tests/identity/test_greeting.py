"""Hellos over a link: two releases of our own protocol, peers of the future, peers that never say hello."""

from collections import deque

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from bitrelay.errors import HandshakeFailed, IncompatiblePeer
from bitrelay.identity.greeting import UNKNOWN, Greeting, Terms
from bitrelay.identity.noise import HandshakeState
from shared_protocol import frame, hello, versions
from shared_protocol.versions import BASIC_MESH, FULL, INCOMPATIBLE, LEGACY, LIMITED

NOW_MS = 1786000000000
ALL = versions.features_of(versions.CURRENT)
# A message of the phones, and of ours one per feature.
TYPES = (frame.TYPE_MESSAGE, frame.TYPE_IDENTITY, 0xB4, 0xB8, 0xBC)


class Node:
    """A peer of some release: it greets, then sends everything it has, as far as its terms allow."""

    def __init__(self, name: bytes, version: tuple[int, int, int], **more: object) -> None:
        self.name = name
        self.greeting = Greeting(name, version=version, **more)  # type: ignore[arg-type]
        self.version = version
        self.got: list[int] = []

    def frames(self) -> list[bytes]:
        made = [frame.encode(kind, 7, NOW_MS + kind, self.name, b"payload") for kind in TYPES]
        known = versions.features_of(self.version)
        return [each for each in made if versions.may_send(each[frame.TYPE], known) and self.greeting.terms.allow(each)]

    def receive(self, data: bytes) -> None:
        header = frame.Header()
        assert header.parse(data, len(data)) == len(data)
        if header.type == frame.TYPE_HELLO:
            self.greeting.on_frame(data)
        else:
            # A release cannot read what came after it.
            assert versions.may_send(header.type, versions.features_of(self.version))
            self.got.append(header.type)


def connect(one: Node, other: Node, silent: Node | None = None) -> None:
    """A link in memory comes up, hellos cross on it, both ends send what they may."""
    link: deque[tuple[Node, bytes]] = deque()
    for node, peer in ((one, other), (other, one)):
        opening = node.greeting.start(0.0, NOW_MS)
        if node is not silent:
            link.append((peer, opening))
    while link:
        to, data = link.popleft()
        to.receive(data)
    for node in (one, other):
        node.greeting.expire(60.0)
        assert node.greeting.settled
    for node, peer in ((one, other), (other, one)):
        for data in node.frames():
            peer.receive(data)


def agreed(node: Node) -> tuple[tuple[int, int, int], int, int]:
    return node.greeting.terms.version, node.greeting.terms.features, node.greeting.terms.mode


@pytest.mark.requirement("VER-09")
def test_two_peers_of_this_release_use_everything() -> None:
    one, other = Node(b"on-air-1", versions.CURRENT, peer_id=b"p" * 32, capabilities=2), Node(b"on-air-2", (1, 4, 0))
    connect(one, other)
    assert agreed(one) == agreed(other) == (versions.CURRENT, ALL, FULL)
    assert one.got == other.got == list(TYPES)
    assert other.greeting.terms == Terms((1, 4, 0), ALL, FULL, (1, 4, 0), b"on-air-1", b"p" * 32, 2)


@pytest.mark.requirement("VER-02", "VER-10", "VER-13", "VER-15")
@pytest.mark.parametrize("old_first", [False, True])
def test_this_release_and_the_first_one_interoperate_with_the_newer_features_off(old_first: bool) -> None:
    old, new = Node(b"on-air-1", versions.BASE), Node(b"on-air-2", versions.CURRENT, peer_id=b"p" * 32)
    # The first release says its version and nothing else.
    said = old.greeting.start(0.0, NOW_MS)
    assert said[frame.SENDER_V1 + 8 :] == bytes((1, 0, 0, 1, 0, 0, 0, 0, 0, 1))
    connect(*((old, new) if old_first else (new, old)))
    assert agreed(old) == agreed(new) == (versions.BASE, BASIC_MESH, LIMITED)
    assert old.got == new.got == [frame.TYPE_MESSAGE, frame.TYPE_IDENTITY]
    assert new.greeting.terms.remote == (1, 0, 0) and new.greeting.terms.on_air_id == b"on-air-1"


@pytest.mark.requirement("VER-11")
@pytest.mark.parametrize("old_first", [False, True])
def test_a_peer_that_never_says_hello_gets_the_least(old_first: bool) -> None:
    phone, new = Node(b"on-air-1", versions.BASE), Node(b"on-air-2", versions.CURRENT)
    connect(*((phone, new) if old_first else (new, phone)), silent=phone)
    assert agreed(new) == (versions.BASE, BASIC_MESH, LEGACY)
    assert new.greeting.terms == UNKNOWN
    assert phone.got == new.got == [frame.TYPE_MESSAGE, frame.TYPE_IDENTITY]


@pytest.mark.parametrize(
    ("future", "version", "features", "mode"),
    [((1, 9, 0), (1, 4, 0), ALL, LIMITED), ((2, 0, 0), (0, 0, 0), 0, INCOMPATIBLE)],
    ids=["1.9.0", "2.0.0"],
)
@pytest.mark.requirement("VER-12", "VER-14")
def test_a_peer_of_the_future(future: tuple[int, int, int], version: object, features: int, mode: int) -> None:
    new, later = Node(b"on-air-1", versions.CURRENT), Node(b"on-air-2", future, features=0xFFFFFFFF)
    connect(new, later)
    assert agreed(new) == agreed(later) == (version, features, mode)
    assert new.got == later.got == (list(TYPES) if features else [])
    terms = new.greeting.terms
    if mode == INCOMPATIBLE:
        with pytest.raises(IncompatiblePeer, match="speaks version 2.0.0 of the protocol"):
            terms.demand_compatible()
        assert terms.allow(new.greeting.start(0.0, NOW_MS))
    else:
        terms.demand_compatible()


def test_a_release_in_between() -> None:
    one, other = Node(b"on-air-1", (1, 2, 0)), Node(b"on-air-2", (1, 1, 0))
    connect(one, other)
    assert agreed(one) == agreed(other) == ((1, 1, 0), versions.features_of((1, 1, 0)), LIMITED)
    assert one.got == other.got == [frame.TYPE_MESSAGE, frame.TYPE_IDENTITY, 0xB4]


def test_waiting_ends_at_the_deadline_and_a_late_hello_still_counts() -> None:
    greeting, peer = Greeting(b"on-air-1", timeout_s=5), Greeting(b"on-air-2")
    assert greeting.deadline is None and greeting.expire(1e9) is None
    greeting.start(100.0, NOW_MS)
    assert greeting.deadline == 105.0
    assert greeting.expire(104.9) is None and greeting.terms == UNKNOWN and not greeting.settled
    assert greeting.expire(105.0) == UNKNOWN
    assert greeting.deadline is None and greeting.expire(106.0) is None
    terms = greeting.on_frame(peer.start(0.0, NOW_MS))
    assert terms is not None and terms.mode == FULL and greeting.terms is terms


def test_the_first_hello_of_a_link_counts() -> None:
    greeting = Greeting(b"on-air-1")
    greeting.start(0.0, NOW_MS)
    assert greeting.on_frame(Greeting(b"on-air-2").start(0.0, NOW_MS)) is not None
    assert greeting.on_frame(Greeting(b"on-air-2", version=(1, 0, 0)).start(0.0, NOW_MS)) is None
    assert greeting.terms.mode == FULL


def test_hellos_that_are_not_the_peers_do_not_count() -> None:
    greeting = Greeting(b"on-air-1")
    opening = greeting.start(0.0, NOW_MS)
    payload = hello.encode(on_air_id=b"on-air-2")
    refused = [
        opening,
        frame.encode(frame.TYPE_HELLO, 7, NOW_MS, b"on-air-2", payload),
        frame.encode(frame.TYPE_HELLO, 0, NOW_MS, b"on-air-2", payload),
        frame.encode(frame.TYPE_HELLO, 1, NOW_MS, b"on-air-3", payload),
        frame.encode(frame.TYPE_HELLO, 1, NOW_MS, b"on-air-2", payload[:9]),
        frame.encode(frame.TYPE_HELLO, 1, NOW_MS, b"on-air-2", payload, original_size=300),
    ]
    for received in refused:
        assert greeting.on_frame(received) is None
    assert greeting.refused == len(refused) and not greeting.settled
    assert greeting.on_frame(frame.encode(frame.TYPE_MESSAGE, 1, NOW_MS, b"on-air-2", payload)) is None
    assert greeting.refused == len(refused)
    assert not greeting.terms.allow(b"no frame")


@given(st.binary(max_size=120), st.booleans())
def test_no_bytes_raise(data: bytes, framed: bool) -> None:
    greeting = Greeting(b"on-air-1")
    if framed:
        data = frame.encode(frame.TYPE_HELLO, 1, NOW_MS, b"on-air-2", data)
    terms = greeting.on_frame(data)
    assert terms is None or terms.on_air_id == b"on-air-2"


def shake_hands(one: Greeting, other: Greeting) -> None:
    first = HandshakeState(initiator=True, static=X25519PrivateKey.generate(), prologue=one.prologue())
    second = HandshakeState(initiator=False, static=X25519PrivateKey.generate(), prologue=other.prologue())
    second.read_message(first.write_message())
    first.read_message(second.write_message())
    second.read_message(first.write_message())


@pytest.mark.parametrize("loses", ["nothing", "fields", "hello"])
def test_nobody_in_between_can_talk_two_peers_into_an_older_version(loses: str) -> None:
    one, other = Greeting(b"on-air-1"), Greeting(b"on-air-2")
    said = one.start(0.0, NOW_MS)
    one.on_frame(other.start(0.0, NOW_MS))
    if loses == "fields":
        said = frame.encode(frame.TYPE_HELLO, 1, NOW_MS, b"on-air-1", hello.encode((1, 0, 0)))
    if loses != "hello":
        other.on_frame(said)
    if loses == "nothing":
        shake_hands(one, other)
    else:
        with pytest.raises(HandshakeFailed):
            shake_hands(one, other)
