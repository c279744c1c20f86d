"""The parts of the NimBLE host that can be asked without a radio."""

import struct

import pytest
from bumble import hci

from bitrelay.lab.airlink import exchange_time_s
from bitrelay.lab.nimble_mbuf import BLOCK_COUNT, CONTROLLER_PACKETS, Reassembler, Transmitter, blocks_for
from bitrelay.lab.nimble_protocol import HEADER, MAX_BODY, MessageReader, pack
from bitrelay.lab.nimble_server import AttributeTable, CharacteristicDef, ServiceDef, normal_uuid, parse_services

UUID_128 = bytes(range(16))


def test_a_full_packet_and_its_answer_take_two_and_a_half_milliseconds():
    assert exchange_time_s(251) == pytest.approx(0.002468)
    assert exchange_time_s(0) == pytest.approx(0.00046)


def test_services_are_laid_out_as_nimble_does():
    table = AttributeTable(
        [
            ServiceDef(
                UUID_128,
                (
                    CharacteristicDef(b"\x01\xff", 0x1E, ((b"\x02\xff", 0x02),)),
                    CharacteristicDef(b"\x03\xff", 0x02),
                ),
            )
        ]
    )
    assert table.user_handles == [16, 18, 20]
    assert [(a.handle, a.uuid.hex()) for a in table.between(14, 99)] == [
        (14, "0028"),
        (15, "0328"),
        (16, "01ff"),
        (17, "0229"),
        (18, "02ff"),
        (19, "0328"),
        (20, "03ff"),
    ]
    service, declaration = table.between(14, 15)
    assert (service.value, service.group_end) == (UUID_128, 20)
    assert declaration.value == b"\x1e" + struct.pack("<H", 16) + b"\x01\xff"
    assert table.find(0) is None
    assert table.find(21) is None


@pytest.mark.parametrize(
    "given, normal",
    [
        (b"\x01\x02", b"\x01\x02"),
        (b"\x01\x02\x00\x00", b"\x01\x02"),
        (bytes.fromhex("FB349B5F8000008000100000") + b"\x01\x02\x00\x00", b"\x01\x02"),
        (UUID_128, UUID_128),
    ],
)
def test_a_uuid_has_one_form(given, normal):
    assert normal_uuid(given) == normal


@pytest.mark.parametrize("body", [b"", b"\x01", b"\x01\x03abc", b"\x01\x02\x01\x02\x01\x02\x03"])
def test_tables_of_services_that_are_none_are_refused(body):
    with pytest.raises((ValueError, struct.error)):
        parse_services(body)


class Wire:
    def __init__(self):
        self.packets = []
        self.freed = []
        self.transmitter = Transmitter(251, self.packets.append, self.freed.append)


def test_a_value_keeps_its_blocks_until_the_controller_has_all_of_it():
    wire = Wire()
    wire.transmitter.open(0)
    for _ in range(5):
        wire.transmitter.send(0, 4, bytes(503), blocks_for(500))
    # 507 bytes with their L2CAP header are three packets: four values fill the controller.
    assert len(wire.packets) == CONTROLLER_PACKETS
    assert wire.freed == [blocks_for(500)] * 4
    assert wire.transmitter.queued(0) == 1
    wire.transmitter.on_completed(0, 2)
    assert len(wire.freed) == 4
    wire.transmitter.on_completed(0, 1)
    assert len(wire.freed) == 5
    assert [packet.pb_flag for packet in wire.packets[:4]] == [0, 1, 1, 0]


def test_a_link_that_dies_gives_back_what_it_held():
    wire = Wire()
    for handle in (0, 1):
        wire.transmitter.open(handle)
    for _ in range(6):
        wire.transmitter.send(0, 4, bytes(503), blocks_for(500))
    wire.transmitter.send(1, 4, b"small", blocks_for(5))
    assert {packet.connection_handle for packet in wire.packets} == {0}
    wire.transmitter.close(0)
    assert sum(wire.freed) == 6 * blocks_for(500) + blocks_for(5)
    assert wire.packets[-1].connection_handle == 1
    wire.transmitter.send(0, 4, b"late", 2)
    assert wire.freed[-1] == 2


def test_three_values_of_500_bytes_fill_the_pool():
    assert BLOCK_COUNT // blocks_for(500) == 3


def packet(flag, data):
    return hci.HCI_AclDataPacket(0, flag, 0, len(data), data)


def test_fragments_are_put_together_and_disorder_is_dropped():
    reassembler = Reassembler(longest=20)
    assert reassembler.feed(packet(2, b"\x05\x00\x04\x00ab")) is None
    assert reassembler.feed(packet(1, b"cde")) == (4, b"abcde")
    assert reassembler.feed(packet(1, b"nothing before")) is None
    assert reassembler.feed(packet(2, b"\x05")) is None
    assert reassembler.feed(packet(2, b"\xff\x00\x04\x00too long")) is None
    assert reassembler.feed(packet(1, bytes(247))) is None
    assert reassembler.feed(packet(2, b"\x01\x00\x04\x00more than said")) is None
    assert reassembler.feed(packet(2, b"\x01\x00\x04\x00x")) == (4, b"x")


def test_messages_are_cut_wherever_the_stream_was():
    stream = pack(1, b"abc") + pack(2) + pack(3, bytes(300))
    reader = MessageReader()
    messages = [message for byte in stream for message in reader.feed(bytes([byte]))]
    assert messages == [(1, b"abc"), (2, b""), (3, bytes(300))]
    assert MessageReader().feed(stream) == messages
    with pytest.raises(ValueError):
        MessageReader().feed(HEADER.pack(MAX_BODY + 1, 0))
