# Which files hold checks that both interpreters run: all named *_checks.py here. Those with a list CHECKS are run as
# they are; the others' are asked for by name.
import os


def names(folder):
    return sorted([name[:-3] for name in os.listdir(folder) if name.endswith("_checks.py")])


def load(folder):
    modules = [__import__(name) for name in names(folder)]
    return [module for module in modules if isinstance(getattr(module, "CHECKS", None), list)]
