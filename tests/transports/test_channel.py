"""The secure channel over a pipe in memory: who is at the far end, and what opens."""

import asyncio
import time
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bitrelay.errors import (
    DeviceLost,
    HandshakeFailed,
    HandshakeFault,
    IncompatiblePeer,
    MessageFault,
    MessageRefused,
)
from bitrelay.identity.greeting import Greeting
from bitrelay.identity.local import LocalIdentity
from bitrelay.identity.noise import HandshakeState
from bitrelay.transports import channel as channel_module
from bitrelay.transports.address import Tcp
from bitrelay.transports.channel import MAX_MESSAGE, Channel, Kind, secure
from bitrelay.transports.pipe import Pipe
from shared_protocol import frame, hello, identity_record
from tests.identity.mined import BITS, record_of, redated
from tests.transports.ends import identity, peer_id

Edit = Callable[[int, bytes], bytes]


class MemoryPipe(Pipe):
    """Two of them are one pipe. edit: changes what this end sends; takes its number."""

    def __init__(self, edit: Edit = lambda number, message: message) -> None:
        super().__init__(Tcp("192.0.2.1", 1))
        self.other: MemoryPipe | None = None
        self.inbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.edit = edit
        self.sent: list[bytes] = []

    async def room(self) -> None:
        pass

    def put(self, message: bytes) -> None:
        assert self.other is not None
        changed = self.edit(len(self.sent), message)
        self.sent.append(changed)
        self.other.inbox.put_nowait(changed)

    async def receive(self, limit: int) -> bytes:
        message = await self.inbox.get()
        if message is None:
            raise DeviceLost("the other end has gone")
        if len(message) > limit:
            raise MessageRefused(MessageFault.TOO_LONG)
        return message

    async def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        assert self.other is not None
        self.other.inbox.put_nowait(None)


def pipes(edit: Edit = lambda number, message: message) -> tuple[MemoryPipe, MemoryPipe]:
    """The dialler's, whose messages are edited, and the listener's."""
    dialler, listener = MemoryPipe(edit), MemoryPipe()
    dialler.other, listener.other = listener, dialler
    return dialler, listener


async def both(
    dialler: MemoryPipe, listener: MemoryPipe, *, one: LocalIdentity | None = None, now: float | None = None
) -> tuple[Channel | BaseException, Channel | BaseException]:
    """What comes of a handshake at both ends."""

    async def end(pipe: MemoryPipe, own: LocalIdentity, initiator: bool) -> Channel:
        try:
            return await secure(pipe, own, initiator=initiator, base=BITS, unix_s=lambda: now or time.time())
        except BaseException:
            pipe.abort()
            raise

    async with asyncio.timeout(10):
        ended = await asyncio.gather(
            end(dialler, one or identity(1), True), end(listener, identity(2), False), return_exceptions=True
        )
    return ended[0], ended[1]


async def channels() -> tuple[Channel, Channel]:
    dialler, listener = await both(*pipes())
    assert isinstance(dialler, Channel) and isinstance(listener, Channel)
    return dialler, listener


def fault(ended: object) -> HandshakeFault:
    assert isinstance(ended, HandshakeFailed)
    return ended.fault


@pytest.mark.requirement("SEC-13")
async def test_both_ends_know_one_another() -> None:
    dialler, listener = await channels()
    assert (dialler.peer_id, listener.peer_id) == (peer_id(2), peer_id(1))
    assert dialler.id == listener.id and dialler.initiator and not listener.initiator
    assert dialler.terms.version == listener.terms.version
    await dialler.send(Kind.DATA, bytes(MAX_MESSAGE))
    assert await listener.receive() == (Kind.DATA, bytes(MAX_MESSAGE))


async def test_the_record_is_not_readable_in_between() -> None:
    dialler, listener = pipes()
    await both(dialler, listener)
    for key in (identity(1).keys, identity(2).keys):
        # The hello says the PeerId; the keys and the work are sealed.
        assert all(key.signing_key not in said and key.noise_key not in said for said in dialler.sent + listener.sent)


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (b"", HandshakeFault.NO_HELLO),
        (b"\0" * 80, HandshakeFault.NO_HELLO),
        (bytes(1000), HandshakeFault.TOO_LONG),
    ],
)
async def test_who_does_not_begin_with_a_hello_is_refused(first: bytes, expected: HandshakeFault) -> None:
    _, listener = await both(*pipes(lambda number, said: first if number == 0 else said))
    assert fault(listener) is expected


@pytest.mark.requirement("VER-12")
async def test_another_major_version_is_refused_by_both() -> None:
    keys = identity(1).keys
    other = Greeting(keys.on_air_id, version=(2, 0, 0), minimum=(2, 0, 0), peer_id=keys.peer_id).start(0.0, 1)
    _, listener = await both(*pipes(lambda number, said: other if number == 0 else said))
    assert isinstance(listener, IncompatiblePeer)


@pytest.mark.requirement("SEC-11")
async def test_nobody_in_between_talks_two_ends_into_an_older_version() -> None:
    def older(number: int, said: bytes) -> bytes:
        if number:
            return said
        header = frame.Header()
        assert header.parse(said, len(said)) > 0
        at = header.payload_at
        assert hello.parse(said[at : at + header.payload_len]) is not None
        return said[:at] + bytes((1, 0, 0)) + said[at + 3 :]

    dialler, listener = await both(*pipes(older))
    assert fault(dialler) is HandshakeFault.FORGED and fault(listener) is HandshakeFault.HUNG_UP


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("at", [0, 20, 31, -1])
async def test_a_handshake_of_which_a_bit_was_changed_fails_at_the_one_who_hears_it(number: int, at: int) -> None:
    def flip(sent: int, said: bytes) -> bytes:
        changed = bytearray(said)
        if sent == number:
            changed[at] ^= 4
        return bytes(changed)

    dialler, listener = await both(*pipes(flip))
    assert not (isinstance(dialler, Channel) and isinstance(listener, Channel))
    assert isinstance(dialler if number < 2 else listener, HandshakeFailed | IncompatiblePeer)


async def test_a_hello_in_anothers_name_makes_nobody_another() -> None:
    keys = identity(3).keys
    greeting = Greeting(keys.on_air_id, peer_id=keys.peer_id)
    pair = pipes()
    end = asyncio.create_task(secure(pair[1], identity(2), initiator=False, base=BITS))
    await _dial_as(pair[0], greeting, greeting.start(0.0, 1), identity(1), record_of(identity(1)))
    assert (await end).peer_id == peer_id(1)


async def test_nobody_on_the_way_learns_who_either_end_is() -> None:
    seen: list[bytes] = []

    def look(number: int, message: bytes) -> bytes:
        seen.append(message)
        return message

    pair = pipes(look)
    pair[1].edit = look
    dialler, listener = await both(*pair)
    assert isinstance(dialler, Channel) and isinstance(listener, Channel)
    said = b"".join(seen)
    assert len(seen) == 5
    for channel in (dialler, listener):
        assert channel.peer_id not in said and channel.identity.on_air_id not in said


async def _dial_as(pipe: MemoryPipe, greeting: Greeting, said: bytes, own: LocalIdentity, record: bytes) -> None:
    pipe.put(said)
    greeting.on_frame(await pipe.receive(1000))
    handshake = HandshakeState(
        initiator=True,
        static=X25519PrivateKey.from_private_bytes(own.keys.noise_secret),
        prologue=greeting.prologue(),
    )
    pipe.put(handshake.write_message())
    handshake.read_message(await pipe.receive(1000))
    pipe.put(handshake.write_message(record))


@pytest.mark.parametrize(
    "record", [b"", bytes(identity_record.MAX_PAYLOAD), "another's"], ids=["none", "junk", "other"]
)
async def test_a_record_that_is_not_this_keys_is_refused(record: bytes | str) -> None:

    if isinstance(record, str):
        record = record_of(identity(3))
    own = identity(1)
    greeting = Greeting(own.keys.on_air_id, peer_id=own.keys.peer_id)
    pair = pipes()
    end = asyncio.create_task(secure(pair[1], identity(2), initiator=False, base=BITS))
    await _dial_as(pair[0], greeting, greeting.start(0.0, 1), own, record)
    with pytest.raises(HandshakeFailed) as failed:
        await end
    assert failed.value.fault is HandshakeFault.WRONG_PEER


async def test_an_identity_that_has_expired_is_refused() -> None:
    old = redated(identity(1), 0, lives_s=10)
    _, listener = await both(*pipes(), one=old, now=old.proof.expires_at + 1.0)
    assert fault(listener) is HandshakeFault.WRONG_PEER


@pytest.mark.parametrize("change", ["flipped", "repeated", "left out", "empty"])
async def test_what_was_not_sealed_in_this_order_does_not_open(change: str) -> None:
    dialler, listener = await channels()
    pipe = listener.pipe
    assert isinstance(pipe, MemoryPipe)
    await dialler.send(Kind.DATA, b"one")
    await dialler.send(Kind.DATA, b"two")
    one, two = await pipe.inbox.get(), await pipe.inbox.get()
    assert one is not None and two is not None
    said = {"flipped": [bytes((one[0] ^ 1,)) + one[1:]], "repeated": [one, one], "left out": [two], "empty": [b""]}
    for message in said[change]:
        pipe.inbox.put_nowait(message)
    with pytest.raises(MessageRefused):
        while True:
            assert await listener.receive() == (Kind.DATA, b"one")


async def test_keys_change_after_so_many_messages_in_both_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_module, "REKEY_AFTER", 3)
    dialler, listener = await channels()
    for number in range(10):
        await dialler.send(Kind.DATA, b"%d" % number)
        assert await listener.receive() == (Kind.DATA, b"%d" % number)
        await listener.send(Kind.ALIVE)
        assert await dialler.receive() == (Kind.ALIVE, b"")


async def test_without_keys_nothing_is_said_or_heard() -> None:
    dialler, listener = await channels()
    await listener.send(Kind.DATA, b"on its way")
    dialler.forget()
    with pytest.raises(DeviceLost):
        await dialler.send(Kind.DATA, b"in the clear")
    with pytest.raises(DeviceLost):
        await dialler.receive()
    assert isinstance(dialler.pipe, MemoryPipe) and not any(b"in the clear" in said for said in dialler.pipe.sent)
