"""What goes over the virtual air is overheard whole, once, and by the moment it is across."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from bumble import hci

from bitrelay.lab.air_tap import AirTap
from bitrelay.lab.phone import Phone
from bitrelay.lab.radio import Radio
from bitrelay.lab.traffic import probe_of
from shared_protocol.frame import MAX_TTL, encode

FIRST, CONTINUED = 0, 1
WRITE, NOTIFY, READ = 0x52, 0x1B, 0x0A
ATT, SIGNALLING = 4, 5


def pdu(value: bytes, opcode: int = WRITE, channel: int = ATT) -> bytes:
    body = bytes((opcode, 9, 0)) + value
    return len(body).to_bytes(2, "little") + channel.to_bytes(2, "little") + body


def packets(whole: bytes, size: int = 251) -> list[hci.HCI_AclDataPacket]:
    return [
        hci.HCI_AclDataPacket(1, CONTINUED if at else FIRST, 0, len(whole[at : at + size]), whole[at : at + size])
        for at in range(0, len(whole), size)
    ]


@pytest.mark.parametrize(
    ("sent", "heard"),
    [
        (packets(pdu(b"x" * 20)), [b"x" * 20]),
        (packets(pdu(b"x" * 512, NOTIFY)), [b"x" * 512]),
        (packets(pdu(b"x" * 20), 3), [b"x" * 20]),
        (packets(pdu(b"x", READ)), []),
        (packets(pdu(b"x", channel=SIGNALLING)), []),
        (packets(pdu(b"a" * 300))[:1] + packets(pdu(b"b")), [b"b"]),
        (packets(pdu(b"a" * 300))[1:] + packets(pdu(b"b")), [b"b"]),
        (packets(bytes(4)) + packets(bytes(2)), []),
    ],
)
def test_values_are_put_together_from_their_packets(sent: list[hci.HCI_AclDataPacket], heard: list[bytes]) -> None:
    values: list[tuple[str, str, bytes]] = []
    tap = AirTap(lambda *value: values.append(value))
    for packet in sent:
        tap("a", "b", packet)
    assert values == [("a", "b", value) for value in heard]


def test_each_way_of_each_link_is_apart() -> None:
    values: list[tuple[str, str, bytes]] = []
    tap = AirTap(lambda *value: values.append(value))
    ways = {("a", "b"): b"1" * 300, ("b", "a"): b"2" * 300, ("a", "c"): b"3" * 300}
    for number in range(2):
        for (sender, receiver), value in ways.items():
            tap(sender, receiver, packets(pdu(value))[number])
    assert values == [(*way, value) for way, value in ways.items()]


async def test_phones_are_overheard(radio: Radio, make_phone: Callable[..., Awaitable[Phone]]) -> None:
    heard: asyncio.Queue[tuple[str, str, bytes]] = asyncio.Queue()
    radio.tap = AirTap(lambda *value: heard.put_nowait(value))
    a, b = await make_phone("a"), await make_phone("b")
    await a.wait_links(1, 8)
    await b.wait_links(1, 8)
    long = encode(0x7F, MAX_TTL, a.now_ms(), a.identity.peer_id, bytes(470))
    for phone, frame in ((a, long), (b, probe_of(b))):
        await phone.send(frame)
        while (value := await asyncio.wait_for(heard.get(), 8))[2] != frame:
            pass
        assert value[:2] == (phone.name, "b" if phone is a else "a")
