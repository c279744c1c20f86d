"""The identity record in a Noise handshake: what this node shows of itself there, and whom a peer proves to be."""

import hmac
from collections.abc import Callable

from ..errors import HandshakeFailed, HandshakeFault, IdentityRefused
from .keys import IdentityKeys
from .proof import PowIdentity
from .record import from_record, to_record
from .session_table import Presentation


def presenting(
    identity: PowIdentity, keys: IdentityKeys, prologue: Callable[[bytes], bytes | None]
) -> Callable[[bytes], Presentation]:
    """For SessionTable's `present`.

    prologue: takes an on-air id and gives `Greeting.prologue` of the link to a peer that said hello; None for one that
    did not, which is a phone and is shown nothing.
    """
    record = to_record(identity, keys)

    def present(on_air_id: bytes) -> Presentation:
        known = prologue(on_air_id)
        return Presentation() if known is None else Presentation(record, known)

    return present


def identifying(unix_s: Callable[[], int]) -> Callable[[bytes, bytes, bytes], bytes | None]:
    """For SessionTable's `identify`: the PeerId of a record that holds and is for the very key of the handshake.

    unix_s: the time records are checked at. No record at all is a peer without one.
    """

    def identify(on_air_id: bytes, noise_key: bytes, payload: bytes) -> bytes | None:
        if not payload:
            return None
        try:
            identity = from_record(payload, unix_s())
        except IdentityRefused:
            raise HandshakeFailed(HandshakeFault.WRONG_PEER, device=on_air_id.hex()) from None
        if not hmac.compare_digest(identity.noise_key, noise_key):
            raise HandshakeFailed(HandshakeFault.WRONG_PEER, device=on_air_id.hex())
        return identity.node_id

    return identify
