# What MicroPython and CPython do not share, in one place.


# MicroPython's compiler folds const(...) wherever it sees the name and never calls it; CPython needs a function.
def const(value: int) -> int:
    return value
