# What a relay says to a BitCraps peer and to nobody else: its hello, its identity record, and that it has no sessions.
# Loaded on demand (rare.py). Payloads: shared_protocol/hello.py, shared_protocol/identity_record.py.
from time import ticks_ms

from firmware.links import NO_HELLO
from shared_protocol import frame, hello, versions
from shared_protocol.beacon import MESH_ROUTING

# The answer to any handshake, on ...5681: a board has no Noise. No message of Noise XX is that short.
NO_SESSION = b"\x00"
_NOBODY = bytes(frame.ID_SIZE)


# Payload of our hello. A relay carries the packets of all features as they are, so it has them all.
def own_hello(identity):
    if identity is None:
        return hello.encode(capabilities=MESH_ROUTING)
    return hello.encode(on_air_id=identity.on_air_id, peer_id=identity.peer_id, capabilities=MESH_ROUTING)


# A packet for the other end of a link. Without a clock its time is that since our start: it is only compared there.
def _packet(greeter, kind, payload):
    identity = greeter.identity
    time_ms = greeter.time_ms()
    if time_ms is None:
        time_ms = greeter.radio.clock.uptime_ms()
    return frame.encode(kind, hello.TTL, time_ms, _NOBODY if identity is None else identity.on_air_id, payload)


# One round of what a peer waits for. What the stack has no room for is said in a later round.
def answer(greeter, link):
    links = greeter.links
    asked = link.handshakes
    if asked != link.handshakes_answered and links.tell(link, greeter.radio.handshake_handle, NO_SESSION):
        link.handshakes_answered = asked
    other = link.hello
    if other is not None and hello.parse(other) is None:
        link.hello = None
    elif other is not None:
        own = own_hello(greeter.identity)
        if not links.tell(link, link.notify_handle, _packet(greeter, frame.TYPE_HELLO, own)):
            return
        link.hello = None
        # The first one counts: who comes back with another version does so on a new link.
        if link.mode == NO_HELLO:
            _, link.features, link.mode = hello.agree(own, other)
            link.record_due = True
    if link.record_due:
        record = greeter.record()
        if (
            record is None
            or not versions.may_send(frame.TYPE_IDENTITY, link.features)
            or links.tell(link, link.notify_handle, _packet(greeter, frame.TYPE_IDENTITY, record))
        ):
            link.record_due = False


# The links, a bit each by index, that must not be sent a packet of this type by us: their peers cannot understand it.
def barred(links, kind):
    bits = 0
    for link in links.ready_links:
        if link.bitcraps and not versions.may_send(kind, link.features):
            bits |= link.bit
    return bits


# Our identity record to everybody. False while an earlier frame of ours is still being sent.
def publish(greeter, forwarder, record):
    data = frame.encode(frame.TYPE_IDENTITY, frame.MAX_TTL, greeter.time_ms(), greeter.identity.on_air_id, record)
    return forwarder.originate(data, ticks_ms(), barred(forwarder.links, frame.TYPE_IDENTITY)) >= 0
