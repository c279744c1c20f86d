"""The first nodes: from lists, files and names; whoever does not answer is left out."""

import asyncio
from pathlib import Path

import pytest

from bitrelay.dht.bootstrap import MOST_ADDRESSES, first_contacts, read_addresses, resolved, udp_address
from bitrelay.dht.messages import Contact
from bitrelay.errors import BadData, DeviceTimeout, WrongAddress
from bitrelay.transports.address import Udp


def test_a_file_of_known_peers_is_read(tmp_path: Path) -> None:
    path = tmp_path / "peers"
    path.write_text("# first nodes\n\nudp://192.0.2.1:8766  # at home\n[2001:db8::1]:1\nrelay.example\n")
    assert read_addresses(path) == (Udp("192.0.2.1", 8766), Udp("2001:db8::1", 1), Udp("relay.example", 8766))


@pytest.mark.parametrize("text", ["tcp://192.0.2.1:1", "udp://192.0.2.1:99999", "what is this", "udp://1.2.3"])
def test_a_line_that_is_no_address_is_told_with_its_number(tmp_path: Path, text: str) -> None:
    path = tmp_path / "peers"
    path.write_text(f"udp://192.0.2.1:8766\n{text}\n")
    with pytest.raises(BadData, match="line 2"):
        read_addresses(path)
    with pytest.raises(WrongAddress):
        udp_address(text)


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadData):
        read_addresses(tmp_path / "nothing")
    with pytest.raises(BadData):
        read_addresses(tmp_path)
    (tmp_path / "long").write_bytes(bytes(1 << 17))
    with pytest.raises(BadData, match="too long"):
        read_addresses(tmp_path / "long")


async def test_names_are_resolved_and_unknown_ones_are_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    async def known(host: str, port: int, **options: object) -> object:
        if host == "slow.example":
            await asyncio.Event().wait()
        if host != "relay.example":
            raise OSError("no such host")
        places = ["192.0.2.1", "192.0.2.1", *(f"2001:db8::{number}" for number in range(1, 9))]
        return [(0, 0, 0, "", (place, port)) for place in places]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", known)
    assert await resolved(Udp("192.0.2.9", 7)) == (Udp("192.0.2.9", 7),)
    assert await resolved(Udp("nobody.example", 7)) == ()
    assert await resolved(Udp("slow.example", 7), timeout=0.01) == ()
    places = await resolved(Udp("relay.example", 7))
    assert places[:2] == (Udp("192.0.2.1", 7), Udp("2001:db8::1", 7))
    assert len(places) == 4


@pytest.mark.requirement("DSC-26")
async def test_all_are_greeted_and_those_who_answer_are_the_first_nodes() -> None:
    asked: list[Udp] = []

    async def greet(address: Udp) -> Contact:
        asked.append(address)
        if address.port % 2:
            raise DeviceTimeout("nobody is there")
        return Contact(bytes([address.port % 8]) * 32, (address,))

    addresses = [Udp("192.0.2.1", number) for number in range(1, MOST_ADDRESSES + 100)]
    found = await first_contacts(addresses + addresses, greet)
    assert sorted(asked) == sorted(addresses[:MOST_ADDRESSES])
    assert {contact.node_id for contact in found} == {bytes([number]) * 32 for number in (0, 2, 4, 6)}
    assert await first_contacts([], greet) == ()
