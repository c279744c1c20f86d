"""The virtual air: who hears whom, how loudly, and what is lost.

A Radio joins virtual controllers (see `controller`) the way a room joins real ones. Nodes have names; either they have
positions, and then the distance decides, or edges were drawn between them, and then only edges count. Everything random
comes from one seeded generator, so that the same seed gives the same decisions in the same order.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from bumble import hci, ll
from bumble.controller import Controller
from bumble.link import LocalLink

from bitrelay.lab.airlink import AirLink
from bitrelay.lab.controller import RadioController
from bitrelay.lab.hci_pty import HciPty

RSSI_AT_ONE_METRE = -40.0
RSSI_FLOOR = -95.0
"""dBm under which a 1M PHY receiver decodes nothing (ESP32 datasheet: -94 to -97 dBm)."""


@dataclass
class _Node:
    controller: RadioController
    position: tuple[float, float]


def _pair(a: str, b: str) -> tuple[str, str]:
    return (a, b) if a < b else (b, a)


class Radio(LocalLink):
    """All nodes of one scenario and the air between them.

    `loss` is the chance (0 to 1, not 1) that one receiver misses one packet; a lost data packet is sent again and costs
    airtime, a lost advertisement is gone. `exponent` is that of the log-distance path loss (2 in the open, 2.7 to 4 in
    buildings). `air_speed` divides every airtime: 1.0 is the 1M PHY; more is for measuring software without the limits
    of the air. `tap` hears (sender, receiver, packet) of each data packet the moment it is across.
    """

    def __init__(self, seed: int = 0, loss: float = 0.0, exponent: float = 2.7, air_speed: float = 1.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.random = random.Random(seed)
        self.exponent = exponent
        self.air_speed = air_speed
        self.tap: Callable[[str, str, hci.HCI_AclDataPacket], None] | None = None
        self.loss = 0.0
        self.set_loss(loss)
        self._nodes: dict[str, _Node] = {}
        self._edges: dict[tuple[str, str], float] = {}
        self._jammed: set[tuple[str, str]] = set()
        self._air_links: set[AirLink] = set()
        self._ptys: dict[str, HciPty] = {}

    # Nodes

    def add(
        self,
        name: str,
        address: str,
        position: tuple[float, float] | None = None,
        max_links: int = 4,
        random_address: bool = False,
    ) -> RadioController:
        """Add a node and give back its controller, to which a host is then attached.

        `address` is "F0:F1:..", public unless `random_address`. `position` is in metres, the origin if none is given.
        `max_links` counts both roles; a controller that is full does not advertise and does not answer. Raises
        ValueError for a name or address in use.
        """
        if name in self._nodes:
            raise ValueError(f"a node named {name!r} is on the air already")
        kind = hci.Address.RANDOM_DEVICE_ADDRESS if random_address else hci.Address.PUBLIC_DEVICE_ADDRESS
        own = hci.Address(address, kind)
        if any(bytes(own) == bytes(node.controller.own_address) for node in self._nodes.values()):
            raise ValueError(f"address {address} is on the air already")
        controller = RadioController(name, self, own, max_links)
        self._nodes[name] = _Node(controller, position or (0.0, 0.0))
        return controller

    def remove(self, name: str) -> None:
        """Take a node off the air without a word: its peers find out by their supervision timeout."""
        node = self._nodes.pop(name)
        if pty := self._ptys.pop(name, None):
            pty.close()
        node.controller.power_off()
        self.remove_controller(node.controller)
        self._edges = {pair: rssi for pair, rssi in self._edges.items() if name not in pair}
        self._jammed = {pair for pair in self._jammed if name not in pair}

    def close(self) -> None:
        """Take everything off the air; no timer, file or task of the radio is left."""
        for name in list(self._nodes):
            self.remove(name)
        for link in list(self._air_links):
            link.discard()

    def attach_pty(self, controller: RadioController) -> str:
        """Offer the controller's HCI (H4, raw) on a pseudo terminal and give back its path, for MICROPYBTUART."""
        pty = HciPty(controller)
        self._ptys[controller.name] = pty
        return pty.path

    # Who hears whom

    def move(self, name: str, x: float, y: float) -> None:
        """Put a node somewhere else, in metres."""
        self._nodes[name].position = (x, y)
        self._topology_changed()

    def connect_edge(self, a: str, b: str, rssi: float = -60.0) -> None:
        """Let two nodes hear each other at `rssi` dBm. From the first edge on, positions no longer count."""
        self._check_names(a, b)
        self._edges[_pair(a, b)] = rssi
        self._topology_changed()

    def disconnect_edge(self, a: str, b: str) -> None:
        """Remove the edge between two nodes, if there is one."""
        self._check_names(a, b)
        # An edge that was removed still makes the map one of edges.
        self._edges[_pair(a, b)] = -math.inf
        self._topology_changed()

    def jam(self, a: str, b: str, on: bool = True) -> None:
        """Let nothing pass between two nodes while `on`, whatever the map says."""
        self._check_names(a, b)
        if on:
            self._jammed.add(_pair(a, b))
        else:
            self._jammed.discard(_pair(a, b))
        self._topology_changed()

    def set_loss(self, loss: float) -> None:
        """Set the chance that a receiver misses a packet. Raises ValueError outside 0 <= loss < 1."""
        if not 0.0 <= loss < 1.0:
            raise ValueError("loss must be at least 0 and less than 1")
        self.loss = loss

    def rssi(self, a: str, b: str) -> float | None:
        """How loudly two nodes hear each other, in dBm, or None if they do not."""
        if a not in self._nodes or b not in self._nodes or _pair(a, b) in self._jammed:
            return None
        if self._edges:
            level = self._edges.get(_pair(a, b), -math.inf)
        else:
            distance = math.dist(self._nodes[a].position, self._nodes[b].position)
            level = RSSI_AT_ONE_METRE - 10 * self.exponent * math.log10(max(distance, 1.0))
        return level if level >= RSSI_FLOOR else None

    def is_lost(self) -> bool:
        """Decide about one packet at one receiver."""
        return self.loss > 0.0 and self.random.random() < self.loss

    def _check_names(self, *names: str) -> None:
        for name in names:
            if name not in self._nodes:
                raise ValueError(f"no node named {name!r} is on the air")

    def _topology_changed(self) -> None:
        for link in list(self._air_links):
            link.check_reach()

    # What controllers ask of the air

    def hearers(self, sender: RadioController) -> list[tuple[RadioController, float]]:
        """The nodes that hear `sender` now, each with its level in dBm."""
        heard = []
        for name, node in self._nodes.items():
            if node.controller is not sender and (level := self.rssi(sender.name, name)) is not None:
                heard.append((node.controller, level))
        return heard

    def open_air_link(
        self, central: RadioController, peripheral: RadioController, interval: int, latency: int, timeout: int
    ) -> AirLink:
        """A link between two controllers; `interval` in 1.25 ms and `timeout` in 10 ms, as in HCI."""
        link = AirLink(self, central, peripheral, interval, latency, timeout)
        self._air_links.add(link)
        return link

    def forget_air_link(self, link: AirLink) -> None:
        """Called by a link that both ends have left."""
        self._air_links.discard(link)

    # The parts of LocalLink that its controllers call

    def remove_controller(self, controller: Controller) -> None:
        self.controllers.discard(controller)

    def find_le_controller(self, address: hci.Address) -> Controller | None:
        for node in self._nodes.values():
            if node.controller.answers_to(address):
                return node.controller
        return None

    def send_ll_control_pdu(
        self, sender_address: hci.Address, receiver_address: hci.Address, packet: ll.ControlPdu
    ) -> None:
        sender = self.find_le_controller(sender_address)
        if isinstance(sender, RadioController) and (connection := sender.radio_connection(receiver_address)):
            connection.send_ll_control_pdu(packet)
