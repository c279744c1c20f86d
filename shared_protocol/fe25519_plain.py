# Arithmetic modulo p = 2**255 - 19 in plain Python: for CPython, and for a MicroPython without native code.
#
# Numbers live in the registers of `w`. Formulas are programs (fe25519_program.py): the machine code of fe25519_viper.py
# keeps all numbers in one piece of memory and is called once for a formula, and the formulas are written once for both.
from shared_protocol.comb25519 import COLUMNS, TEETH
from shared_protocol.fe25519_program import ADD, ENTRY, MULTIPLY, REDUCE, SQUARE, SUBTRACT

_P = 2**255 - 19


def registers(count: int) -> list[int]:
    return [0] * count


# Runs a program. Registers from ENTRY on are counted from the register `entry`.
def run(w: list[int], program: bytes, entry: int) -> None:
    for at in range(0, len(program) - 1, 4):
        operation, r, a, b = program[at : at + 4]
        if r >= ENTRY:
            r += entry - ENTRY
        if a >= ENTRY:
            a += entry - ENTRY
        if operation != SQUARE and b >= ENTRY:
            b += entry - ENTRY
        x = w[a]
        if operation == ADD:
            x += w[b]
        elif operation == SUBTRACT:
            x -= w[b]
        elif operation == MULTIPLY:
            x = x * w[b] % _P
        elif operation == SQUARE:
            for _ in range(b):
                x = x * x % _P
        elif operation == REDUCE:
            x %= _P
        w[r] = x


# 32 bytes, the lowest first, the highest bit left out.
def load(w: list[int], r: int, data: bytes | bytearray | memoryview, at: int) -> None:
    w[r] = int.from_bytes(data[at : at + 32], "little") & 2**255 - 1


# The one number below p that r stands for, to 32 bytes of out.
def store(w: list[int], r: int, out: bytearray, at: int) -> None:
    out[at : at + 32] = (w[r] % _P).to_bytes(32, "little")


# The comb's entry for one column of the scalar's bits into r, r + 1, r + 2: the upper bit of the column is the sign,
# and tells the others what plus is (comb25519.py).
def select(w: list[int], r: int, table: bytes, scalar: bytes | bytearray, column: int) -> None:
    bits = 0
    for tooth in range(TEETH):
        at = column + COLUMNS * tooth
        bits |= (scalar[at >> 3] >> (at & 7) & 1) << tooth
    plus = bits >> TEETH - 1
    wanted = bits if plus else ~bits
    wanted &= (1 << TEETH - 1) - 1
    load(w, r + 1 - plus, table, wanted * 96)
    load(w, r + plus, table, wanted * 96 + 32)
    load(w, r + 2, table, wanted * 96 + 64)
    if not plus:
        w[r + 2] = -w[r + 2]
