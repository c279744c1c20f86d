"""Messages of the DHT as bytes, and back: what a datagram (`wire`) carries. docs/protocol.md has the layout.

Whatever comes is hostile: every size is checked before anything is made of it, and reading raises BadDatagram alone.
"""

import ipaddress
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from ..errors import BadDatagram, DatagramFault, WrongAddress
from ..transports.address import Udp
from .messages import (
    MAX_ADDRESSES,
    MAX_CONTACTS,
    MAX_DATA,
    MAX_NAME,
    Answer,
    Contact,
    FindNode,
    FindValue,
    Nodes,
    Ping,
    Pong,
    Question,
    Refusal,
    Refused,
    SignedValue,
    Store,
    Stored,
    Values,
)
from .node_id import ID_SIZE

MAX_VALUES: Final = 9
"""In one answer: of the smallest there are, a datagram has room for no more."""

_SIGNATURE: Final = 64
_TIMES: Final = struct.Struct(">QQQH")
_FAMILIES: Final = {4: 4, 6: 16}  # the byte that says which kind of address follows: how long it is
_REFUSALS: Final = {
    1: Refusal.TOO_MANY,
    2: Refusal.BAD_VALUE,
    3: Refusal.OLD_VALUE,
    4: Refusal.NO_ROOM,
    5: Refusal.TOO_FAR,
    6: Refusal.NOT_PROVEN,
}
_NUMBERS: Final = {reason: number for number, reason in _REFUSALS.items()}

Message = Question | Answer


class Reader:
    """Takes pieces off the front of bytes. Raises BadDatagram when there are fewer than are wanted."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        """The next bytes."""
        end = self._at + size
        if end > len(self._data):
            raise malformed()
        piece = self._data[self._at : end]
        self._at = end
        return piece

    def byte(self, most: int = 255) -> int:
        """The next byte, which is at most this."""
        value = self.take(1)[0]
        if value > most:
            raise malformed()
        return value

    @property
    def left(self) -> int:
        """How many bytes there still are."""
        return len(self._data) - self._at

    def end(self) -> None:
        """Raises BadDatagram if anything is left."""
        if self.left:
            raise malformed()


def malformed() -> BadDatagram:
    """The error for bytes that cannot be read."""
    return BadDatagram(DatagramFault.MALFORMED)


def kind_of(message: Message) -> int:
    """The number of a message's kind: below 0x80 a question, from there on an answer."""
    return _KINDS[type(message)]


def is_question(kind: int) -> bool:
    """Whether this kind asks."""
    return not kind & 0x80


def encode_body(message: Message) -> bytes:
    """A message without its kind. Raises ValueError for what no datagram can carry."""
    match message:
        case Ping() | Stored():
            return b""
        case Pong(observed):
            return b"" if observed is None else _address(observed)
        case FindNode(target):
            return _exactly(target, ID_SIZE)
        case FindValue(key, after):
            return _exactly(key, ID_SIZE) + _exactly(after, ID_SIZE)
        case Store(value):
            return encode_value(value)
        case Nodes(contacts):
            return _contacts(contacts)
        case Values(values, more, contacts):
            if len(values) > MAX_VALUES:
                raise ValueError("too many values")
            body = b"".join(map(encode_value, values))
            return bytes((more, len(values))) + body + _contacts(contacts)
        case Refused(reason):
            return bytes((_NUMBERS[reason],))


def decode_body(kind: int, body: bytes) -> Message:
    """The message of this kind in these bytes. Raises BadDatagram."""
    decode = _DECODERS.get(kind)
    if decode is None:
        raise malformed()
    reader = Reader(body)
    message = decode(reader)
    reader.end()
    return message


def fitted(answer: Answer, size: int) -> Answer:
    """The answer with as much left out as it takes for its body to have at most this size.

    Of values the last go, and `more` says so; of contacts first all addresses but the best, then the last contacts.
    """
    while len(encode_body(answer)) > size:
        match answer:
            case Values(values, _, contacts) if len(values) > 1 or (values and not contacts):
                answer = Values(values[:-1], True, contacts)
            case Values(_, _, contacts) | Nodes(contacts) if contacts:
                answer = replace(answer, contacts=_fewer(contacts))
            case _:
                raise ValueError("the answer does not fit")
    return answer


def encode_value(value: SignedValue) -> bytes:
    """A value with its signature. Raises ValueError for sizes that none has."""
    name = value.name.encode()
    if not 0 <= value.kind <= 255 or len(name) > MAX_NAME or len(value.data) > MAX_DATA:
        raise ValueError("the value is too large")
    try:
        times = _TIMES.pack(value.sequence, value.created_at, value.expires_at, len(value.data))
    except struct.error:
        raise ValueError("the numbers of a value are 64-bit") from None
    owner, signature = _exactly(value.owner, ID_SIZE), _exactly(value.signature, _SIGNATURE)
    return b"".join((bytes((value.kind, len(name))), name, owner, times, value.data, signature))


def decode_value(reader: Reader) -> SignedValue:
    """The next value; whether it is true is for others to find out. Raises BadDatagram."""
    kind, size = reader.byte(), reader.byte(MAX_NAME)
    try:
        name = reader.take(size).decode()
    except UnicodeDecodeError:
        raise malformed() from None
    owner = reader.take(ID_SIZE)
    sequence, created_at, expires_at, length = _TIMES.unpack(reader.take(_TIMES.size))
    if length > MAX_DATA:
        raise malformed()
    data = reader.take(length)
    return SignedValue(kind, name, owner, sequence, created_at, expires_at, data, reader.take(_SIGNATURE))


def encode_contact(contact: Contact) -> bytes:
    """A node's id and addresses. Raises ValueError if those are too many, or names."""
    if len(contact.addresses) > MAX_ADDRESSES:
        raise ValueError("too many addresses")
    return b"".join(
        (_exactly(contact.node_id, ID_SIZE), bytes((len(contact.addresses),)), *map(_address, contact.addresses))
    )


def decode_contact(reader: Reader) -> Contact:
    """The next contact. Raises BadDatagram."""
    node_id = reader.take(ID_SIZE)
    return Contact(node_id, tuple(_read_address(reader) for _ in range(reader.byte(MAX_ADDRESSES))))


def _exactly(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise ValueError(f"{size} bytes are wanted, not {len(data)}")
    return data


def _address(address: Udp) -> bytes:
    ip = ipaddress.ip_address(address.host)  # a ValueError for a name
    return b"".join((bytes((ip.version,)), ip.packed, address.port.to_bytes(2, "big")))


def _read_address(reader: Reader) -> Udp:
    size = _FAMILIES.get(reader.byte())
    if size is None:
        raise malformed()
    ip = ipaddress.ip_address(reader.take(size))
    try:
        return Udp(str(ip), int.from_bytes(reader.take(2), "big"))
    except WrongAddress:
        raise malformed() from None


def _contacts(contacts: tuple[Contact, ...]) -> bytes:
    if len(contacts) > MAX_CONTACTS:
        raise ValueError("too many contacts")
    return bytes((len(contacts),)) + b"".join(map(encode_contact, contacts))


def _read_contacts(reader: Reader) -> tuple[Contact, ...]:
    return tuple(decode_contact(reader) for _ in range(reader.byte(MAX_CONTACTS)))


def _fewer(contacts: tuple[Contact, ...]) -> tuple[Contact, ...]:
    if any(len(contact.addresses) > 1 for contact in contacts):
        return tuple(Contact(contact.node_id, contact.addresses[:1]) for contact in contacts)
    return contacts[:-1]


def _read_pong(reader: Reader) -> Pong:
    return Pong(_read_address(reader) if reader.left else None)


def _read_values(reader: Reader) -> Values:
    more = bool(reader.byte(1))
    values = tuple(decode_value(reader) for _ in range(reader.byte(MAX_VALUES)))
    return Values(values, more, _read_contacts(reader))


def _read_refused(reader: Reader) -> Refused:
    reason = _REFUSALS.get(reader.byte())
    if reason is None:
        raise malformed()
    return Refused(reason)


_KINDS: Final[dict[type[Message], int]] = {
    Ping: 0x01,
    FindNode: 0x02,
    FindValue: 0x03,
    Store: 0x04,
    Pong: 0x81,
    Nodes: 0x82,
    Values: 0x83,
    Stored: 0x84,
    Refused: 0xFF,
}
_DECODERS: Final[dict[int, Callable[[Reader], Message]]] = {
    0x01: lambda reader: Ping(),
    0x02: lambda reader: FindNode(reader.take(ID_SIZE)),
    0x03: lambda reader: FindValue(reader.take(ID_SIZE), reader.take(ID_SIZE)),
    0x04: lambda reader: Store(decode_value(reader)),
    0x81: _read_pong,
    0x82: lambda reader: Nodes(_read_contacts(reader)),
    0x83: _read_values,
    0x84: lambda reader: Stored(),
    0xFF: _read_refused,
}
