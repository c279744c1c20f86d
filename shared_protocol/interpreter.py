# What MicroPython and CPython do not share, in one place.
try:
    # Its compiler makes machine code of what is marked with @micropython.native or @micropython.viper.
    import micropython as micropython
except ImportError:

    class micropython:  # type: ignore[no-redef]
        @staticmethod
        def native(function: object) -> object:
            return function

        viper = native


# MicroPython's compiler folds const(...) wherever it sees the name and never calls it; CPython needs a function.
def const(value: int) -> int:
    return value
