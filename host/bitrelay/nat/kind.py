"""What kind of address translation is between a host and the internet (row DSC-33; RFC 3489 section 5, RFC 5780)."""

from dataclasses import dataclass
from enum import StrEnum

from ..transports.address import Udp


class NatKind(StrEnum):
    """The text is for people, the name for programs. Hole punching works between any two but two symmetric ones, or a
    symmetric and a port restricted one."""

    BLOCKED = "nothing comes back: UDP is blocked, or there is no network"
    NONE = "none: this host is reached at its own address"
    FIREWALL = "none, but a firewall lets in only answers"
    FULL_CONE = "full cone: once the port is open, anybody reaches it"
    RESTRICTED = "restricted: hosts that were sent something reach the port"
    PORT_RESTRICTED = "port restricted: only what was sent to answers"
    CONE = "one port for all, whether for strangers as well is not known"
    SYMMETRIC = "symmetric: another port for everybody that is sent to"


@dataclass(frozen=True, slots=True)
class Findings:
    """What was seen of the path to STUN servers.

    local: where the socket is; mapped: where each server address sees it, in the order asked. other_address,
    other_port: whether an answer came from another address, or only from another port, than was asked; None if no
    server could be asked for that.
    """

    local: Udp
    mapped: tuple[Udp, ...]
    other_address: bool | None = None
    other_port: bool | None = None


def nat_kind(findings: Findings) -> NatKind:
    """The kind that findings show."""
    if not findings.mapped:
        return NatKind.BLOCKED
    if len(set(findings.mapped)) > 1:
        return NatKind.SYMMETRIC
    if findings.mapped[0] == findings.local:
        return NatKind.FIREWALL if findings.other_address is False else NatKind.NONE
    if findings.other_address:
        return NatKind.FULL_CONE
    if findings.other_port:
        return NatKind.RESTRICTED
    if findings.other_port is None:
        return NatKind.CONE
    return NatKind.PORT_RESTRICTED


def can_punch(a: NatKind, b: NatKind) -> bool:
    """Whether two hosts behind these can expect a direct path."""
    if NatKind.BLOCKED in (a, b):
        return False
    strict = {NatKind.SYMMETRIC, NatKind.PORT_RESTRICTED, NatKind.FIREWALL, NatKind.CONE}
    return not (NatKind.SYMMETRIC in (a, b) and a in strict and b in strict)
