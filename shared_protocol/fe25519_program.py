# Formulas of numbers modulo p = 2**255 - 19 as bytes, which fe25519_viper.py and fe25519_plain.py run.
#
# A formula is text: assignments to registers, one after another. "A=B+C", "A=B-C" and "A=B*C" are what they look like,
# "A=B^7" squares B 7 times, and "A=B%p" brings B back to the width it had before it was added to: what a product may
# be made of is said in edwards.py.
from shared_protocol.interpreter import const

ADD = const(1)
SUBTRACT = const(2)
MULTIPLY = const(3)
SQUARE = const(4)
REDUCE = const(5)
# Registers from this number on, the small letters, are counted from one that is named when the program runs.
ENTRY = const(64)

_NAMES = "XYZEHABCDFG"
_ENTRY_NAMES = "mptz"
_OPERATIONS = " +-*^%"

# How many registers have a name.
NAMED = const(11)


# Four bytes for an assignment (operation, result, first and second operand), and a zero.
def program(formula: str) -> bytes:
    code = bytearray()
    for assignment in formula.split():
        operation = _OPERATIONS.index(assignment[3])
        code.append(operation)
        code.append(register(assignment[0]))
        code.append(register(assignment[2]))
        if operation == SQUARE:
            code.append(int(assignment[4:]))
        elif operation == REDUCE:
            code.append(0)
        else:
            code.append(register(assignment[4]))
    code.append(0)
    return bytes(code)


def register(name: str) -> int:
    if name in _ENTRY_NAMES:
        return ENTRY + _ENTRY_NAMES.index(name)
    return _NAMES.index(name)
