"""Overhears the virtual air: every value that one node writes to another or notifies it of, when it is across.

It changes nothing of what it hears, and no timing.
"""

from collections.abc import Callable

from bumble import hci
from bumble.att import ATT_CID, Opcode

_L2CAP_HEADER = 4
# Opcode and handle come before the value (Core 5.4, vol 3 part F 3.4).
_VALUE_AT = 3
_CARRY_VALUES = frozenset(
    bytes((opcode,))
    for opcode in (
        Opcode.ATT_WRITE_REQUEST,
        Opcode.ATT_WRITE_COMMAND,
        Opcode.ATT_HANDLE_VALUE_NOTIFICATION,
        Opcode.ATT_HANDLE_VALUE_INDICATION,
    )
)
_CONTINUES = 1  # packet boundary flag of all but the first part of a PDU


class AirTap:
    """Set as Radio.tap. on_value gets (sender, receiver, value) the moment its last packet is across."""

    def __init__(self, on_value: Callable[[str, str, bytes], None]) -> None:
        self._on_value = on_value
        # What has come of a PDU that is not whole yet, by sender and receiver.
        self._parts: dict[tuple[str, str], bytes] = {}

    def __call__(self, sender: str, receiver: str, packet: hci.HCI_AclDataPacket) -> None:
        """One data packet is across."""
        way = (sender, receiver)
        begun = self._parts.pop(way, b"")
        data = bytes(packet.data)
        if packet.pb_flag == _CONTINUES:
            if not begun:
                return
            data = begun + data
        size = _L2CAP_HEADER + int.from_bytes(data[:2], "little")
        if len(data) < size:
            self._parts[way] = data
            return
        channel, opcode = int.from_bytes(data[2:_L2CAP_HEADER], "little"), data[_L2CAP_HEADER:][:1]
        if channel == ATT_CID and opcode in _CARRY_VALUES:
            self._on_value(sender, receiver, data[_L2CAP_HEADER + _VALUE_AT : size])
