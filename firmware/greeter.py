# Who on a BitCraps link waits for a word from us: an answer to a hello or to a handshake, our identity record. What is
# said is in bitcraps.py, which is loaded for it: a peer asks when it comes, and then hardly ever.
from micropython import const

from firmware import rare

_AGAIN = const(10)  # tenths of a second: a peer that goes on asking is answered no more often
INCOMPATIBLE = const(3)  # of shared_protocol/versions.py, which is loaded on demand


class Greeter:
    # What it says of us comes from outside: `identity` (None while there are no keys), time_ms(): Unix milliseconds or
    # None, record(): the payload of our identity record or None.
    def __init__(self, radio, links, opener):
        self.radio = radio
        self.links = links
        self.opener = opener
        self.identity = None
        self.time_ms = lambda: None
        self.record = lambda: None

    # Main side, often: sees to the links that are ready.
    def step(self, now):
        for link in self.links.ready_links:
            if link.mode == INCOMPATIBLE:
                if not link.why:
                    self.opener.drop(link, "its protocol version is incompatible with ours")
            elif link.waits_for_us() and now - link.answered_at >= _AGAIN:
                link.answered_at = now
                try:
                    from firmware import bitcraps

                    bitcraps.answer(self, link)
                except MemoryError:
                    pass  # what was not said is still waited for
                rare.forget()
