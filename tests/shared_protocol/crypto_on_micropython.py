# Runs on MicroPython: what a file of JSON asks for, [operation, argument, ...] each, with bytes as hexadecimal. Prints
# the results as one line of JSON. Argument: the file; and "plain" to do without the machine code.
import json
import sys
from binascii import hexlify, unhexlify

if "plain" in sys.argv:
    # A module that has not what is wanted of it.
    for name in ("fe25519_viper", "sha512_viper"):
        sys.modules["shared_protocol." + name] = json

from shared_protocol import ed25519
from shared_protocol.sha512 import sha512

finish = ed25519.finish
OPERATIONS = {
    "sha512": sha512,
    "public": lambda seed: finish(ed25519.public_key_steps(seed)),
    "sign": lambda *arguments: finish(ed25519.sign_steps(*arguments)),
    "verify": lambda *arguments: finish(ed25519.verify_steps(*arguments)),
    "x25519": lambda secret: finish(ed25519.x25519_public_steps(secret)),
}


def main():
    with open(sys.argv[1]) as file:
        asked = json.load(file)
    results = []
    for operation, *arguments in asked:
        # Views that begin in the middle of something: a slot's part, and at no multiple of four.
        views = [memoryview(b"?" + unhexlify(argument))[1:] for argument in arguments]
        result = OPERATIONS[operation](*views)
        results.append(result if isinstance(result, bool) else hexlify(result).decode())
    print(json.dumps(results))


main()
