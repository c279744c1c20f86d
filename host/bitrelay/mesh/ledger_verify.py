"""Whether a proof-of-relay ledger is as its relayer signed it, from an export or from the ledger itself."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from ..errors import BadData, BrokenLedger, PortError
from ..identity.keys import KEY_BYTES, SIGNATURE_BYTES, peer_id_of
from .ledger_export import ENTRY_KEYS, FORMAT, SEAL_KEYS, export
from .relay_chain import HASH_BYTES, ID_BYTES, Chain, RelayEvent, Seal, claim_image, is_sealed, ledger_id

MOST_LINE: Final = 4096
"""Bytes of a line of an export."""

_SQLITE: Final = b"SQLite format 3\0"
_HEADER_KEYS: Final = {"ledger", "relayer", "signing_key", "begun_ms", "anchor", "claim"}
_END_KEYS: Final = {"end", "head"}
_BYTES: Final = {"packet_hash": HASH_BYTES, "source": ID_BYTES, "destination": ID_BYTES, "hash": HASH_BYTES} | {
    "relayer": HASH_BYTES,
    "signing_key": KEY_BYTES,
    "head": HASH_BYTES,
    "signature": SIGNATURE_BYTES,
}
_TEXTS: Final = {"origin", "target"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found in a ledger. broken: why not all of it is in order, and from which entry on.

    relayer: its PeerId, None if not even the header can be read. begun_ms: Unix. pruned: up to where entries were let
    go. last: up to where entries are in order; fees: of those, in all; head: the hash of the last. claimed: up to
    where they are claimed. compared: whether an earlier export could be compared: not if its end has been pruned.
    """

    relayer: bytes | None = None
    begun_ms: int = 0
    pruned: int = 0
    last: int = 0
    head: bytes = b""
    fees: int = 0
    claimed: int = 0
    compared: bool = False
    broken: BrokenLedger | None = None

    @property
    def entries(self) -> int:
        """How many are in order."""
        return self.last - self.pruned


def verify(records: Iterable[Mapping[str, object]], earlier: Verdict | None = None) -> Verdict:
    """Check the objects of an export, in order: numbers, chain, every seal.

    earlier: of an export made before, which the end of this ledger must go on from: without one, nobody can tell that
    the newest blocks were taken away. Raises what iterating raises, but for BrokenLedger.
    """
    check = _Check(earlier)
    try:
        for record in records:
            check.take(record)
        check.finish()
    except BrokenLedger as error:
        number = error.number
        if number is None and check.chain is not None:
            number = check.chain.number + 1
        return check.verdict(BrokenLedger(error.what, number=number))
    return check.verdict(None)


def verify_file(path: Path, earlier: Verdict | None = None) -> Verdict:
    """Check a ledger, while a gateway writes it or not, or the file of an export.

    Raises PortError if it cannot be read, PortBusy, TooNew.
    """
    try:
        with open(path, "rb") as file:
            if file.read(len(_SQLITE)) != _SQLITE:
                file.seek(0)
                return verify(read_lines(file), earlier)
    except OSError as error:
        raise PortError(f"cannot read {path}: {error.strerror}") from None
    return verify(_told_as_broken(path), earlier)


def read_lines(file: BinaryIO) -> Iterator[Mapping[str, object]]:
    """The objects of an export. Raises BrokenLedger at the first line that is none."""
    number = 0
    while line := file.readline(MOST_LINE + 1):
        number += 1
        try:
            if len(line) > MOST_LINE:
                raise ValueError
            record = json.loads(line, object_pairs_hook=_object)
        except (ValueError, RecursionError):
            raise BrokenLedger(f"line {number} is not of a ledger", number=None) from None
        if not isinstance(record, dict):
            raise BrokenLedger(f"line {number} is not of a ledger", number=None)
        yield record


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    # Of a key that is there twice, others may read the other value.
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _told_as_broken(path: Path) -> Iterator[Mapping[str, object]]:
    try:
        yield from export(path)
    except BadData as error:
        raise BrokenLedger(error.what, number=None) from None


class _Check:
    """One ledger while it is checked. chain: None until the header was read."""

    def __init__(self, earlier: Verdict | None) -> None:
        self.chain: Chain | None = None
        self._earlier = earlier
        self._compared = False
        self._relayer: bytes | None = None
        self._begun_ms = 0
        self._pruned = 0
        self._claim: Seal | None = None
        self._sealed_head = b""
        self._fees = self._pending_fees = 0
        self._ended = False

    def take(self, record: Mapping[str, object]) -> None:
        """The next object. Raises BrokenLedger."""
        keys = set(record)
        if self._ended:
            raise BrokenLedger("something follows its end", number=None)
        if self.chain is None:
            self.chain = self._begin(record)
        elif keys == set(ENTRY_KEYS):
            self._entry(self.chain, record)
        elif keys == set(SEAL_KEYS):
            self.chain.seal(_seal(record))
            self._sealed_head = self.chain.head
            self._fees += self._pending_fees
            self._pending_fees = 0
        elif keys == _END_KEYS:
            self._end(self.chain, record)
        else:
            raise BrokenLedger("something in it is neither an entry nor a seal", number=None)

    def finish(self) -> None:
        """Nothing follows. Raises BrokenLedger."""
        if self.chain is None:
            raise BrokenLedger("it is empty", number=None)
        if not self._ended:
            raise BrokenLedger("it ends early", number=None)

    def verdict(self, broken: BrokenLedger | None) -> Verdict:
        """What was found so far."""
        if self.chain is None:
            return Verdict(broken=broken)
        claimed = self._claim.last if self._claim else 0
        facts = (self._relayer, self._begun_ms, self._pruned, self.chain.sealed, self._sealed_head, self._fees)
        return Verdict(*facts, claimed, self._compared, broken)

    def _begin(self, record: Mapping[str, object]) -> Chain:
        if set(record) != _HEADER_KEYS:
            raise BrokenLedger("it does not begin with a header", number=None)
        if type(record["ledger"]) is not int or record["ledger"] != FORMAT:
            raise BrokenLedger(f"its format is not {FORMAT}, the one this release knows", number=None)
        key, begun_ms = _bytes(record, "signing_key"), _whole(record, "begun_ms")
        relayer = _bytes(record, "relayer")
        if relayer != peer_id_of(key):
            raise BrokenLedger("its relayer's PeerId is not that of its key", number=None)
        own = ledger_id(key, begun_ms)
        anchor, claim = (_mark(record, what) for what in ("anchor", "claim"))
        if anchor is not None and not is_sealed(key, own, anchor):
            raise BrokenLedger("its anchor was not signed by the relayer", number=None)
        if claim is not None and not is_sealed(key, own, claim, claim_image):
            raise BrokenLedger("its claim was not signed by the relayer", number=None)
        number, head = (anchor.last, anchor.head) if anchor else (0, own)
        self._relayer, self._begun_ms, self._pruned = relayer, begun_ms, number
        self._claim, self._sealed_head = claim, head
        earlier = self._earlier
        if earlier is not None:
            if (relayer, begun_ms) != (earlier.relayer, earlier.begun_ms):
                raise BrokenLedger("it is another ledger than the earlier one", number=None)
            self._compare(number, head)
            if earlier.last == 0:
                self._compared = True
        return Chain(key, own, number, head)

    def _entry(self, chain: Chain, record: Mapping[str, object]) -> None:
        number, hash = _whole(record, "number"), _bytes(record, "hash")
        event = RelayEvent(
            _bytes(record, "packet_hash"),
            _bytes(record, "source"),
            _bytes(record, "destination"),
            _whole(record, "hops"),
            _text(record, "origin"),
            _text(record, "target"),
            _whole(record, "time_ms"),
            _whole(record, "fee"),
        )
        chain.entry(number, event, hash)
        self._pending_fees += event.fee
        self._compare(number, hash)
        if self._claim is not None and number == self._claim.last and hash != self._claim.head:
            raise BrokenLedger(f"entry {number} is not the one that was claimed", number=number)

    def _end(self, chain: Chain, record: Mapping[str, object]) -> None:
        chain.end()
        last = _whole(record, "end")
        if last != chain.number:
            raise BrokenLedger(f"it ends with entry {chain.number}, not {last}", number=chain.number + 1)
        if record["head"] is not None and _bytes(record, "head") != chain.head or record["head"] is None and last:
            raise BrokenLedger("its end is another one's", number=None)
        if self._claim is not None and self._claim.last > last:
            raise BrokenLedger(f"entry {self._claim.last}, which was claimed, is missing", number=last + 1)
        if self._earlier is not None and self._earlier.last > last:
            raise BrokenLedger(f"entry {self._earlier.last} of the earlier one is missing", number=last + 1)
        self._ended = True

    def _compare(self, number: int, head: bytes) -> None:
        earlier = self._earlier
        if earlier is not None and number == earlier.last:
            if head != earlier.head:
                raise BrokenLedger(f"entry {number} is not that of the earlier one", number=number)
            self._compared = True


def _mark(record: Mapping[str, object], what: str) -> Seal | None:
    found = record[what]
    if found is None:
        return None
    if not isinstance(found, dict) or set(found) != set(SEAL_KEYS):
        raise BrokenLedger(f"its {what} is none", number=None)
    return _seal(found)


def _seal(record: Mapping[str, object]) -> Seal:
    return Seal(
        _whole(record, "first"),
        _whole(record, "last"),
        _bytes(record, "head"),
        _whole(record, "time_ms"),
        _bytes(record, "signature"),
    )


def _whole(record: Mapping[str, object], key: str) -> int:
    value = record[key]
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise BrokenLedger(f"{key} is no number that a ledger has", number=None)
    return value


def _text(record: Mapping[str, object], key: str) -> str:
    value = record[key]
    if not isinstance(value, str):
        raise BrokenLedger(f"{key} is no text", number=None)
    return value


def _bytes(record: Mapping[str, object], key: str) -> bytes:
    value = record[key]
    try:
        found = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        found = b""
    # In one way only, so that what reads alike is alike.
    if len(found) != _BYTES[key] or found.hex() != value:
        raise BrokenLedger(f"{key} is not {_BYTES[key]} bytes in lowercase hex", number=None)
    return found
