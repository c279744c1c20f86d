# The relay's keys in memory: the secrets of identity.bin, and what follows from them. The public keys take a second of
# computing, so they are made in the background after the start.
from hashlib import sha256

from shared_protocol import ed25519
from shared_protocol.edwards import all_registers


class Keys:
    # secrets: 64 bytes, or None while there is no identity; state: what `info` tells.
    def __init__(self, secrets, state):
        self.state = state
        self.seed = None
        self.secret = None
        if secrets is not None:
            self.seed = secrets[:32]
            self.secret = secrets[32:]
        self.ready = False
        # For all signatures, one after the other (spare_time.py): a heap in use has no such piece left.
        self.registers = all_registers()
        self.public_key = b""  # Ed25519
        self.noise_key = b""  # X25519
        self.peer_id = b""
        self.on_air_id = bytearray(8)  # others hold it: zeros until it is known

    # Whether there are secrets, and no public keys yet.
    def is_due(self):
        return self.seed is not None and not self.ready

    # Steps that make the public keys and what they are known by.
    def make_steps(self):
        self.public_key = yield from ed25519.public_key_steps(self.seed, self.registers)
        self.noise_key = yield from ed25519.x25519_public_steps(self.secret, self.registers)
        self.peer_id = sha256(self.public_key).digest()
        # What the phone apps demand: bitchat protocol, section 2.3.
        self.on_air_id[:] = sha256(self.noise_key).digest()[:8]
        self.ready = True

    # Steps that sign a message.
    def sign_steps(self, message):
        return (yield from ed25519.sign_steps(self.seed, self.public_key, message, self.registers))

    # Steps that check one of somebody else's.
    def verify_steps(self, key, message, signature):
        return (yield from ed25519.verify_steps(key, message, signature, self.registers))
