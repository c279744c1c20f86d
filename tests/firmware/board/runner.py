# Runs every function of a module whose name begins with check_, and says which ones failed: one JSON line each.
import gc
import json
import sys


def main(name):
    module = __import__(name)
    for attribute in sorted(dir(module)):
        if attribute.startswith("check_"):
            gc.collect()
            problem = None
            try:
                getattr(module, attribute)()
            except Exception as error:
                sys.print_exception(error)
                problem = repr(error)
            print(json.dumps({"check": attribute, "problem": problem}))


main(sys.argv[1])
