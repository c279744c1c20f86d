# bluetooth.UUID: 16-bit from an integer, or the bytes (little-endian) or the text of any UUID. Compares, hashes and
# prints as a board's.
def _from_text(text):
    digits = "".join(text.split("-"))
    for digit in digits:
        if digit not in "0123456789abcdefABCDEF":
            raise ValueError("invalid char in UUID")
    if len(digits) != 32:
        raise ValueError("UUID too long" if len(digits) > 32 else "UUID too short")
    return bytes(int(digits[i : i + 2], 16) for i in range(30, -2, -2))


class UUID(bytes):
    def __init__(self, value):
        if isinstance(value, int):
            if value > 65535:
                raise ValueError("invalid UUID")
            super().__init__(value.to_bytes(2, "little"))
        elif isinstance(value, str):
            super().__init__(_from_text(value))
        elif len(value) in (2, 4, 16):
            super().__init__(value)
        else:
            super().__init__(_from_text(str(value, "utf8")))

    def __hash__(self):
        return hash(bytes(self))

    # By length first, as a board compares them.
    def __eq__(self, other):
        return isinstance(other, UUID) and bytes(self) == bytes(other)

    def __lt__(self, other):
        mine, others = bytes(self), bytes(other)
        return mine < others if len(mine) == len(others) else len(mine) < len(others)

    def __repr__(self):
        data = bytes(self)
        digits = "".join("%02x" % data[i] for i in range(len(data) - 1, -1, -1))
        if len(data) < 16:
            return "UUID(0x%s)" % digits
        return "UUID('%s-%s-%s-%s-%s')" % (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])

    __str__ = __repr__
