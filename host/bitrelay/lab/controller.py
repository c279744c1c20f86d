"""A virtual Bluetooth LE controller on the virtual radio.

Bumble's Controller answers the HCI commands; what is replaced here is what makes a difference on the air: advertising
and scanning with true intervals and windows, connections that can fail, a limit of links, data that takes airtime,
completed-packets events that come when the air took the packets, and links that die. Legacy advertising only, as hosts
without extended advertising expect.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bumble import hci, ll
from bumble.controller import Connection, Controller
from bumble.core import PhysicalTransport

from bitrelay.lab.advertiser import RadioAdvertiser, Report
from bitrelay.lab.airlink import AirLink

if TYPE_CHECKING:
    from bitrelay.lab.radio import Radio

logger = logging.getLogger(__name__)

SCAN_UNIT_S = 0.000625
DATA_OCTETS = 251
DATA_TIME_US = 2120
"""Largest payload of a data packet and its time on the 1M PHY (Core 5.4, vol 6 part B 4.5.10)."""

PDU_FIRST = 2
"""Packet boundary flag of the first part of a PDU on its way to the host (Core 5.4, vol 4 part E 5.4.2)."""

NOT_OFFERED = (
    hci.LeFeatureMask.LE_EXTENDED_ADVERTISING
    | hci.LeFeatureMask.LE_PERIODIC_ADVERTISING
    | hci.LeFeatureMask.LE_2M_PHY
    | hci.LeFeatureMask.LE_CODED_PHY
    | hci.LeFeatureMask.LL_PRIVACY
)

Success = hci.HCI_StatusReturnParameters
Error = hci.HCI_ErrorCode


class RadioConnection(Connection):
    """A connection of one controller, carried by an air link."""

    def __init__(
        self, controller: RadioController, handle: int, role: hci.Role, peer: hci.Address, air: AirLink
    ) -> None:
        super().__init__(
            controller=controller,
            handle=handle,
            role=role,
            self_address=controller.own_address,
            peer_address=peer,
            link=controller.radio,
            transport=PhysicalTransport.LE,
            link_type=hci.HCI_Connection_Complete_Event.LinkType.ACL,
        )
        self.radio_controller = controller
        self.air = air
        air.attach(self)

    def on_hci_acl_data_packet(self, packet: hci.HCI_AclDataPacket) -> None:
        self.air.send_data(self.radio_controller, packet)

    def send_ll_control_pdu(self, packet: ll.ControlPdu) -> None:
        self.air.send_control(self.radio_controller, packet)


class RadioController(Controller):
    """One node's controller; made by Radio.add. A host is attached as to any Bumble controller.

    `can_take_data` may be replaced by a host that wants to slow its peers down: while it answers False nothing is
    delivered. `first_handle` is the lowest connection handle given out (0 on an ESP32).
    """

    le_features = Controller.le_features & ~NOT_OFFERED
    le_acl_data_packet_length = DATA_OCTETS
    supported_max_tx_octets = DATA_OCTETS
    supported_max_tx_time = DATA_TIME_US
    supported_max_rx_octets = DATA_OCTETS
    supported_max_rx_time = DATA_TIME_US
    suggested_max_tx_octets = DATA_OCTETS
    suggested_max_tx_time = DATA_TIME_US

    def __init__(self, name: str, radio: Radio, own_address: hci.Address, max_links: int) -> None:
        is_public = own_address.is_public
        super().__init__(name, link=radio, public_address=own_address if is_public else None)
        if not is_public:
            self.random_address = own_address
        self.radio = radio
        self.max_links = max_links
        self.first_handle = 1
        self.can_take_data: Callable[[], bool] = lambda: True
        self.le_legacy_advertiser: RadioAdvertiser = RadioAdvertiser(self)
        self._configured_address = own_address
        self._scan_started = 0.0
        self._reported: set[tuple[bytes, int]] = set()

    # Addresses and links

    @property
    def own_address(self) -> hci.Address:
        """The address this node uses on the air."""
        if self._configured_address.is_public:
            return self.public_address
        return self.random_address

    def answers_to(self, address: hci.Address) -> bool:
        return address in (self.public_address, self.random_address)

    def radio_connection(self, peer: hci.Address) -> RadioConnection | None:
        connection = self.le_connections.get(peer)
        return connection if isinstance(connection, RadioConnection) else None

    @property
    def has_free_link(self) -> bool:
        return len(self.le_connections) < self.max_links

    def busy_links(self) -> int:
        """How many links compete for this radio now."""
        return sum(1 for c in self.le_connections.values() if isinstance(c, RadioConnection) and c.air.is_busy)

    def allocate_connection_handle(self) -> int:
        taken = {connection.handle for connection in self.le_connections.values()}
        return next(handle for handle in itertools.count(self.first_handle) if handle not in taken)

    def power_off(self) -> None:
        """Stop at once and say nothing to anybody: a power cut."""
        self.le_legacy_advertiser.stop()
        self.le_scan_enable = False
        self.pending_le_connection = None
        connections = list(self.le_connections.values())
        self.le_connections.clear()
        for connection in connections:
            if isinstance(connection, RadioConnection):
                connection.air.vanish(self)

    # Packets from and to the host. Bumble formats each packet for a log that is off; this path is the lab's hottest.

    def on_hci_packet(self, packet: hci.HCI_Packet) -> None:
        if isinstance(packet, hci.HCI_AclDataPacket):
            connection = self.find_le_connection_by_handle(packet.connection_handle)
            # Data for a link that has just died is no news.
            if connection is not None:
                connection.on_hci_acl_data_packet(packet)
        elif isinstance(packet, hci.HCI_Command):
            self.on_hci_command_packet(packet)
        else:
            logger.debug("%s: packet of type %d ignored", self.name, packet.hci_packet_type)

    def send_hci_packet(self, packet: hci.HCI_Packet) -> None:
        sink: Any = self.hci_sink
        if sink is None:
            return
        if getattr(sink, "takes_packets", False):
            sink.on_hci_packet(packet)
        else:
            asyncio.get_running_loop().call_soon(sink.on_packet, bytes(packet))

    def on_hci_command(self, command: hci.HCI_Command) -> hci.HCI_StatusReturnParameters:
        logger.debug("%s: %s is not supported", self.name, command.name)
        return Success(Error.UNKNOWN_HCI_COMMAND_ERROR)

    def on_hci_reset_command(self, _command: hci.HCI_Reset_Command) -> hci.HCI_StatusReturnParameters:
        self.power_off()
        return Success(Error.SUCCESS)

    # Advertising and scanning

    @property
    def wants_advertisements(self) -> bool:
        return self.le_scan_enable or self.pending_le_connection is not None

    def on_hci_le_set_advertising_parameters_command(
        self, command: hci.HCI_LE_Set_Advertising_Parameters_Command
    ) -> hci.HCI_StatusReturnParameters:
        if self.le_legacy_advertiser.enabled:
            return Success(Error.COMMAND_DISALLOWED_ERROR)
        if not 0x20 <= command.advertising_interval_min <= command.advertising_interval_max <= 0x4000:
            return Success(Error.INVALID_COMMAND_PARAMETERS_ERROR)
        return super().on_hci_le_set_advertising_parameters_command(command)

    def on_hci_le_set_scan_enable_command(
        self, command: hci.HCI_LE_Set_Scan_Enable_Command
    ) -> hci.HCI_StatusReturnParameters:
        self._reported.clear()
        self._scan_started = asyncio.get_running_loop().time()
        return super().on_hci_le_set_scan_enable_command(command)

    def on_advertisement(self, advertiser: RadioAdvertiser, report_type: Report.EventType, rssi: int) -> None:
        """An advertisement reached this node."""
        if self.le_scan_enable and self._is_in_scan_window():
            self._report(advertiser.address, report_type, advertiser.advertising_data, rssi)
            wants_response = self.le_scan_type == hci.HCI_LE_Set_Scan_Parameters_Command.ACTIVE_SCANNING
            is_scannable = report_type != Report.EventType.ADV_NONCONN_IND
            # The request and the response can be lost, each on its way.
            if wants_response and is_scannable and not (self.radio.is_lost() or self.radio.is_lost()):
                self._report(advertiser.address, Report.EventType.SCAN_RSP, advertiser.scan_response_data, rssi)
        pending = self.pending_le_connection
        if (
            pending is not None
            and report_type == Report.EventType.ADV_IND
            and pending.peer_address == advertiser.address
            # The peer may have called us meanwhile: there is one link between two addresses.
            and advertiser.address not in self.le_connections
        ):
            self._connect(advertiser.controller, advertiser.address)

    def _is_in_scan_window(self) -> bool:
        elapsed = (asyncio.get_running_loop().time() - self._scan_started) / SCAN_UNIT_S
        return elapsed % self.le_scan_interval < self.le_scan_window

    def _report(self, address: hci.Address, report_type: Report.EventType, data: bytes, rssi: int) -> None:
        if self.filter_duplicates:
            key = (bytes(address), int(report_type))
            if key in self._reported:
                return
            self._reported.add(key)
        report = Report.Report(
            event_type=report_type, address_type=address.address_type, address=address, data=bytes(data), rssi=rssi
        )
        self.send_hci_packet(Report([report]))

    # Connecting

    def on_hci_le_create_connection_command(self, command: hci.HCI_LE_Create_Connection_Command) -> None:
        if self.pending_le_connection is not None:
            status = Error.COMMAND_DISALLOWED_ERROR
        elif command.peer_address in self.le_connections:
            status = Error.CONNECTION_ALREADY_EXISTS_ERROR
        elif not self.has_free_link:
            status = Error.CONNECTION_LIMIT_EXCEEDED_ERROR
        else:
            status = Error.SUCCESS
            self.pending_le_connection = command
        self._send_hci_command_status(status, command.op_code)

    def on_hci_le_create_connection_cancel_command(
        self, _command: hci.HCI_LE_Create_Connection_Cancel_Command
    ) -> hci.HCI_StatusReturnParameters:
        if (pending := self.pending_le_connection) is None:
            return Success(Error.COMMAND_DISALLOWED_ERROR)
        self.pending_le_connection = None
        # The command is answered first.
        asyncio.get_running_loop().call_soon(
            self._report_connection, None, Error.UNKNOWN_CONNECTION_IDENTIFIER_ERROR, pending.peer_address
        )
        return Success(Error.SUCCESS)

    def _connect(self, peer: RadioController, address: hci.Address) -> None:
        command = self.pending_le_connection
        assert isinstance(command, hci.HCI_LE_Create_Connection_Command)
        self.pending_le_connection = None
        # Most controllers, the ESP32's among them, take the longest interval that was offered.
        interval = command.connection_interval_max
        air = self.radio.open_air_link(self, peer, interval, command.max_latency, command.supervision_timeout)
        connection = self._add_connection(hci.Role.CENTRAL, address, air)
        if self.radio.is_lost() or not peer.accept_connection(self.own_address, air):
            air.fail_to_establish()
        else:
            air.establish()
        self._report_connection(connection, Error.SUCCESS, address)

    def accept_connection(self, initiator: hci.Address, air: AirLink) -> bool:
        """A connection request came; False if it is not answered: not advertising, full, or already connected."""
        if not self.le_legacy_advertiser.is_connectable or initiator in self.le_connections:
            return False
        self.le_legacy_advertiser.stop()
        connection = self._add_connection(hci.Role.PERIPHERAL, initiator, air)
        self._report_connection(connection, Error.SUCCESS, initiator)
        return True

    def _add_connection(self, role: hci.Role, peer: hci.Address, air: AirLink) -> RadioConnection:
        connection = RadioConnection(self, self.allocate_connection_handle(), role, peer, air)
        self.le_connections[peer] = connection
        return connection

    def _report_connection(
        self, connection: RadioConnection | None, status: hci.HCI_ErrorCode, peer: hci.Address
    ) -> None:
        self.send_hci_packet(
            hci.HCI_LE_Connection_Complete_Event(
                status=status,
                connection_handle=connection.handle if connection else 0,
                role=connection.role if connection else hci.Role.CENTRAL,
                peer_address_type=peer.address_type,
                peer_address=peer,
                connection_interval=connection.air.interval if connection else 0,
                peripheral_latency=connection.air.latency if connection else 0,
                supervision_timeout=connection.air.timeout if connection else 0,
                central_clock_accuracy=0,
            )
        )

    # Connected

    def on_hci_disconnect_command(self, command: hci.HCI_Disconnect_Command) -> None:
        connection = self.find_le_connection_by_handle(command.connection_handle)
        if not isinstance(connection, RadioConnection):
            self._send_hci_command_status(Error.UNKNOWN_CONNECTION_IDENTIFIER_ERROR, command.op_code)
            return
        self._send_hci_command_status(Error.SUCCESS, command.op_code)
        connection.air.terminate(self, command.reason)

    def on_link_closed(self, connection: RadioConnection, reason: int) -> None:
        """The air link is gone, for `reason`."""
        self.le_connections.pop(connection.peer_address, None)
        self.send_hci_packet(
            hci.HCI_Disconnection_Complete_Event(
                status=Error.SUCCESS, connection_handle=connection.handle, reason=reason
            )
        )

    def deliver_data(self, connection: RadioConnection, packet: hci.HCI_AclDataPacket) -> None:
        """A data packet of the peer arrived."""
        flag = packet.pb_flag or PDU_FIRST
        self.send_hci_packet(hci.HCI_AclDataPacket(connection.handle, flag, 0, len(packet.data), packet.data))

    def report_completed(self, connection: RadioConnection, count: int) -> None:
        """The air took `count` packets of the host."""
        self.send_hci_packet(hci.HCI_Number_Of_Completed_Packets_Event([connection.handle], [count]))

    def on_hci_le_connection_update_command(self, command: hci.HCI_LE_Connection_Update_Command) -> None:
        connection = self.find_le_connection_by_handle(command.connection_handle)
        if not isinstance(connection, RadioConnection):
            self._send_hci_command_status(Error.UNKNOWN_CONNECTION_IDENTIFIER_ERROR, command.op_code)
            return
        super().on_hci_le_connection_update_command(command)
        connection.air.update_parameters(
            command.connection_interval_max, command.max_latency, command.supervision_timeout
        )

    def on_hci_le_set_data_length_command(
        self, command: hci.HCI_LE_Set_Data_Length_Command
    ) -> hci.HCI_StatusAndConnectionHandleReturnParameters:
        known = self.find_le_connection_by_handle(command.connection_handle) is not None
        status = Error.SUCCESS if known else Error.UNKNOWN_CONNECTION_IDENTIFIER_ERROR
        return hci.HCI_StatusAndConnectionHandleReturnParameters(
            status=status, connection_handle=command.connection_handle
        )

    def on_hci_read_rssi_command(self, command: hci.HCI_Read_RSSI_Command) -> hci.HCI_Read_RSSI_ReturnParameters:
        connection = self.find_le_connection_by_handle(command.handle)
        level = connection.air.rssi() if isinstance(connection, RadioConnection) else None
        status = Error.SUCCESS if connection is not None else Error.UNKNOWN_CONNECTION_IDENTIFIER_ERROR
        return hci.HCI_Read_RSSI_ReturnParameters(status=status, handle=command.handle, rssi=round(level or -127))
