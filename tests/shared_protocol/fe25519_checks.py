# What arithmetic modulo 2**255 - 19 must do, in machine code as in plain Python.
import struct
from array import array

from shared_protocol import comb25519, fe25519_plain
from shared_protocol.fe25519_program import program

P = 2**255 - 19
# Words of a number as they are after a product, at their limits.
LIMITS = (
    [-4096] * 20,
    [4095] * 20,
    [-4096, 4095] * 10,
    [4095, -4096] * 10,
    [-4096, -4096, -4099] + [-4096] * 17,
    [4095, 4095, 4098] + [4095] * 17,
    [0, 0, -4099] + [0] * 17,
)


# Plain Python, and machine code where there is some.
def machines():
    try:
        from shared_protocol import fe25519_viper

        return (fe25519_plain, fe25519_viper)
    except ImportError:
        return (fe25519_plain,)


def numbers():
    found = [0, 1, 2, 18, 19, 20, 608, P - 1, P - 2, 2**254, 2**255 - 1, P, P + 1, 2**247, 2**247 - 1, 8191, 8192]
    number = 3
    for _ in range(12):
        number = number * number * 5 + 7
        number %= P
        found.append(number)
    return found


def put(machine, w, register, number):
    machine.load(w, register, number.to_bytes(32, "little"), 0)


def taken(machine, w, register):
    out = bytearray(34)
    machine.store(w, register, out, 1)
    assert out[0] == out[33] == 0
    return int.from_bytes(out[1:33], "little")


def run(machine, w, formula, entry=0):
    machine.run(w, program(formula), entry)


def check_load_and_store():
    for machine in machines():
        w = machine.registers(3)
        for number in numbers():
            data = b"\xff" + number.to_bytes(32, "little") + b"\xff"
            machine.load(w, 1, data, 1)
            assert taken(machine, w, 1) == number % P, (machine, number)
            # The highest bit is left out.
            machine.load(w, 2, (number | 1 << 255).to_bytes(32, "little"), 0)
            assert taken(machine, w, 2) == number % P


def check_operations():
    for machine in machines():
        w = machine.registers(11)
        for a in numbers():
            for b in numbers()[::3]:
                put(machine, w, 0, a)
                put(machine, w, 1, b)
                run(machine, w, "Z=X+Y E=X-Y H=X*Y A=E*E B=X^3 C=E%p")
                wanted = (a, b, a + b, a - b, a * b, (a - b) ** 2, pow(a, 8, P), a - b)
                for register, number in enumerate(wanted):
                    assert taken(machine, w, register) == number % P, (machine, a, b, register)


def check_a_result_may_take_the_place_of_what_it_is_made_of():
    for machine in machines():
        for formula, wanted in (
            ("X=X*Y", 35),
            ("Y=X*Y", 35),
            ("X=X*X", 25),
            ("X=X^2", 625),
            ("X=Y-X", 2),
            ("X=X+X", 10),
        ):
            w = machine.registers(2)
            put(machine, w, 0, 5)
            put(machine, w, 1, 7)
            run(machine, w, formula)
            assert taken(machine, w, 1 if formula[0] == "Y" else 0) == wanted, (machine, formula)


def check_registers_of_an_entry():
    for machine in machines():
        w = machine.registers(20)
        put(machine, w, 12, 5)
        put(machine, w, 15, 7)
        run(machine, w, "X=m*z p=X+m t=p%p", 12)
        assert [taken(machine, w, register) for register in (0, 12, 13, 14, 15)] == [35, 5, 40, 40, 7]


# The widest factors that the formulas have: a sum of three times a sum of two numbers at their limits. And what comes
# of them is within the limits itself.
def check_limits_of_words():
    for machine in machines()[1:]:
        w = machine.registers(5)
        at = [240 + 80 * register for register in range(5)]
        for words in LIMITS:
            for others in LIMITS:
                struct.pack_into("<20i", w, at[0], *words)
                struct.pack_into("<20i", w, at[1], *others)
                a = sum([word << 13 * i for i, word in enumerate(words)])
                b = sum([word << 13 * i for i, word in enumerate(others)])
                run(machine, w, "Z=X+X Z=Z+X Y=Y+Y E=Z*Y")
                assert taken(machine, w, 3) == 6 * a * b % P, (words, others)
                run(machine, w, "H=Y*Y")
                assert taken(machine, w, 4) == 4 * b * b % P, others
                run(machine, w, "Z=Z+X Z=Z%p")
                assert taken(machine, w, 2) == 4 * a % P, words
                for register in (2, 3, 4):
                    for i, word in enumerate(array("i", w[at[register] : at[register] + 80])):
                        assert -4096 - 3 * (i == 2) <= word <= 4095 + 3 * (i == 2), (words, others, register, i, word)


def check_digits():
    for scalar in (0, 1, 2, 3, 8, comb25519.ORDER - 1, comb25519.ORDER - 2, 2**252, 2**252 - 1):
        bits = int.from_bytes(comb25519.digits(scalar), "little")
        value = 2 * bits - (2**255 - 1)
        assert value % comb25519.ORDER == scalar, scalar


# Any column of any scalar: an entry of the table or its negative.
def check_select():
    table = comb25519.TABLE
    for machine in machines():
        w = machine.registers(5)
        for pattern in range(32):
            for column in (0, 1, 7, 29, 50):
                scalar = 0
                for tooth in range(5):
                    scalar |= (pattern >> tooth & 1) << column + 51 * tooth
                # The other columns do not matter.
                scalar |= 1 << (column + 3) % 51
                machine.select(w, 1, table, scalar.to_bytes(32, "little"), column)
                wanted = pattern & 15 if pattern > 15 else ~pattern & 15
                entry = [int.from_bytes(table[96 * wanted + i : 96 * wanted + i + 32], "little") for i in (0, 32, 64)]
                if pattern < 16:
                    entry = [entry[1], entry[0], P - entry[2]]
                assert [taken(machine, w, register) for register in (1, 2, 3)] == entry, (machine, pattern, column)


CHECKS = [name for name in globals() if name.startswith("check_")]
CHECKS.sort()
