"""A linked program does what its modules did, on both interpreters, and what cannot be linked is told with its line."""

from pathlib import Path

import pytest

from bitrelay.boards import compile as compile_
from bitrelay.boards.choices import decide, without_native
from bitrelay.boards.link import link
from bitrelay.boards.name_order import arrange_names
from bitrelay.boards.short_names import shorten
from bitrelay.errors import BadData
from tests.boards.linking import program_of, run, versions

PROGRAMS = {
    "two modules have one name": {
        "p.a": "_N = 1\ndef f(): return _N\ndef _g(): return 'a'\ng = _g\n",
        "p.b": "_N = 2\ndef f(): return _N\ndef _g(): return 'b'\n",
        "p.app": "from p.a import f, g\nfrom p.b import f as h\nfrom p import b\n_N = 3\n"
        "def _g(): return 'app'\nprint(f(), h(), _N, g(), _g(), b.f(), b._N)\n",
    },
    "a local name like the global that is meant": {
        "p.a": "READY = [1]\ndef f(x): return x + 1\n",
        "p.app": "from p import a as l\nfrom p.a import READY as R\n"
        "def t(f, READY):\n    return l.f(f) + l.READY[0] + READY + R[0]\n"
        "def u():\n    READY = 7\n    return [READY + l.READY[0] for _ in (1,)], (lambda f: l.f(f))(READY)\n"
        "print(t(3, 100), u())\n",
    },
    "closures, lambdas and comprehensions": {
        "p.a": "x = 'a.x'\ndef y(): return 'a.y'\n",
        "p.app": "from p import a\nx = 'app.x'\ny = [x for x in (1, 2)]\n"
        "def outer(z):\n    x = 5\n    def inner():\n        nonlocal x\n        x += z\n"
        "        return [x for z in (1, 2) if z > 1], {x: a.x}, a.y(), lambda x: (x, y)\n"
        "    got = inner()\n    return got[:3], got[3](9), x\n"
        "print(outer(1), x, y, a.x, sorted({x for x in y}), list(x for x in y))\n",
    },
    "names in classes": {
        "p.a": "size = 4\ndef take(): return 'take'\nclass Box:\n    size = 1\n"
        "    def take(self): return take(), size\n",
        "p.app": "from p.a import Box as Theirs, take\nsize = 9\n"
        "class Box(Theirs):\n    limit = size\n    def take(self): return take(), size, self.size, Theirs.take(self)\n"
        "    def other(self, size=size): return size\n"
        "print(Box().take(), Box.limit, Box().other(), Box().other(size=2), Theirs().take())\n",
    },
    "a name set in a function": {
        "p.a": "state = 0\ndef up():\n    global state\n    state += 1\n    return state\n",
        "p.b": "state = 'b'\ndef get(): return state\n",
        "p.app": "from p import a, b\nfrom p.a import up\nstate = 50\nup()\n"
        "def set():\n    global state, other\n    state = other = 51\n"
        "set()\nprint(a.state, b.get(), state, other, up(), a.state)\n",
    },
    "keywords and attributes like globals": {
        "p.a": "def f(*, size=1, **more): return size, sorted(more)\nclass C:\n"
        "    def __init__(self): self.f = self.size = 2\n",
        "p.b": "f = 1\nsize = 2\n",
        "p.app": "from p.b import f, size\nfrom p import a\nc = a.C()\nprint(a.f(size=size, f=f), c.f, c.size, f)\n",
    },
    "names that come from a module in between": {
        "p.a": "def f(): return 'f'\nimport gc as collector\n",
        "p.b": "from p.a import f as g\nfrom p import a as inner\n",
        "p.app": "from p.b import g as h\nfrom p import b\nfrom p.b import inner\n"
        "print(h(), b.g(), b.inner.f(), inner.f(), inner.collector.collect() * 0)\n",
    },
    "modules from outside": {
        "p.a": "import sys\nfrom time import time\ndef f(): return time() > 0, sys.maxsize > 1\n",
        "p.b": "import sys as system\nfrom time import time as now\ntime = 'b'\n"
        "def f(): return now() > 0, time, system.maxsize > 1\n",
        "p.c": "try:\n    import nowhere\nexcept ImportError:\n    nowhere = None\nimport gc\ngc = gc.collect\n",
        "p.app": "import gc\nfrom p import a, b, c\nfrom p.c import nowhere as n\nimport sys\n"
        "def f():\n    import sys as gc\n    from time import time\n    return gc is sys, time() > 0\n"
        "gc.collect()\nprint(a.f(), b.f(), n, c.gc() * 0, f())\n",
    },
    "a module has its own word for what is built in": {
        "p.a": "def len(x): return 'own'\ndef f(): return len(())\n",
        "p.b": "def f(): return len((1, 2))\n",
        "p.app": "from p import a, b\nprint(a.f(), b.f(), a.len(1), len((1,)))\n",
    },
    "order": {
        "p": "print('package')\n",
        "p.a": "print('a')\nfrom p import c\n",
        "p.b": "'''b'''\nfrom p import c\nimport sys\nfrom p import a\nprint('b')\nfrom p import c as again\n",
        "p.c": "print('c')\n",
        "p.app": "from p import b\nprint('app')\nfrom p import c\n",
    },
    "an import in a function": {
        "p.a": "def f(): return 'a'\ndef g(): return 'g'\n",
        "p.app": "import p.a as first\ndef t(g):\n    from p import a\n    from p.a import f as g2, f\n"
        "    return a.f(), g2(), f(), g, (lambda: a.g())()\nf = 'app'\nprint(t(1), f, first.g())\n",
    },
    "a module that is loaded when needed": {
        "p": "WORD = 'word'\n",
        "p.a": "_count = [0]\ndef bump(by=1):\n    _count[0] += by\n    return _count[0]\nKINDS = ('x', 'y')\n",
        "p.late": "from p import a, later\nfrom p.a import bump as more\nfrom p import WORD\nimport gc\n_count = 5\n"
        "def go(bump): return a.bump(), more(by=2), bump, _count, a.KINDS, later.NAME, WORD\n",
        "p.later": "NAME = 'later'\nprint('loading later')\ndef f():\n    from p import a as b\n    return b.bump()\n",
        "p.app": "import sys\nfrom p import a\ndef t():\n    from p import late\n    from p.later import f\n"
        "    return late.go(7), f()\nprint(t(), a.bump())\ndel sys.modules['p.late']\nprint(t())\n",
    },
    "everything else that binds a name": {
        "p.a": "import io\nfor i, (j, *k) in ((1, (2, 3, 4)),):\n    pass\nwith io.StringIO() as out:\n"
        "    out.write('x')\nn = m = 3\n"
        "n += 1\ndel m\ndef d(f):\n    return f\nif (w := 8) > 1:\n    pass\n",
        "p.app": "from p import a\ni = j = k = n = m = w = out = 'app'\nd = a.d\n@a.d\ndef f(*i, **j):\n"
        "    try:\n        raise ValueError(i)\n    except ValueError as n:\n        m = n\n"
        "    for d in i:\n        pass\n    return m.args, d, sorted(j), [w := 1, w]\n"
        "print(f(1, 2, x=3), i, j, k, n, m, w, a.i, a.j, a.k, a.n, a.w, f(1))\n",
    },
    "generators and coroutines": {
        "p.a": "def steps(n):\n    got = yield n\n    yield from (x + got for x in range(n))\n"
        "async def wait(v): return v\n",
        "p.app": "import asyncio\nfrom p.a import steps, wait\nn = 4\ng = steps(2)\n"
        "print(next(g), g.send(10), list(g))\n"
        "async def main():\n    return [n for n in (1,)], await wait(n)\nprint(asyncio.run(main()))\n",
    },
    "private names of objects": {
        "p.a": "class A:\n    _kind = 'A'\n    def __init__(self, value, _own=2):\n        self._value = value\n"
        "        self._own = _own\n"
        "        self.plain = self._both()\n    def _both(self): return self._value, self._own\n"
        "class B(A):\n    def _both(self): return self._other(), A._both(self)\n"
        "    def _other(self): return self._kind\n",
        "p.app": "from p.a import A, B\n_value = 5\nclass C:\n    def __init__(self, a):\n        self._a = a\n"
        "        self._late = None\n"
        "    def run(self, _value=_value): return self._a._both(), self._a._own, _value, getattr(self, '_named')()\n"
        "    def _named(self): return 'named'\n"
        "    def _unused(self, one, two): return [one for one in two if self._late]\n"
        "c = C(B(1))\nc._a._own = 6\n"
        "print(c.run(), c._a.plain, A(3).plain, c._unused(1, (2,)), _value, hasattr(c, '_late'))\n",
    },
}  # fmt: skip

PROBLEMS = {
    "the module as a value": ("from p import a\nprint(a)\n", "line 2: a is a module"),
    "a name set from outside": ("from p import a\ndef f():\n    a.x = 1\n", "line 3: p.a is another module"),
    "a name deleted from outside": ("from p import a\ndel a.x\n", "line 2: p.a is another module"),
    "all names": ("from p.a import *\n", "line 1: this kind of import"),
    "a relative import": ("from .a import x\n", "line 1: this kind of import"),
    "a package without a name for the module": ("import p.a\n", "line 1: import p.a"),
    "no such module": ("from p.b import x\n", "line 1: from p.b import x"),
    "no such name": ("from p.a import nothing\nprint(nothing)\n", "line 1: p.a has no nothing"),
    "no such attribute": ("from p import a\nprint(a.nothing)\n", "line 2: p.a has no nothing"),
    "an import that may not be": ("import p.a as b\nif 1:\n    from p.a import x\nprint(x)\n", "line 3: x is imported"),
    "a name imported twice": ("from p.a import x\nx = 2\nprint(x)\n", "line 1: x is imported"),
    "a name of the function as well": (
        "import p.a as b\ndef f():\n    from p import a\n    a = 1\n    print(a)\n",
        "line 4: a is imported",
    ),
    "an import in a class": ("class C:\n    from p.a import x\n    y = x\n", "line 2: an import in a class"),
    "an import behind code": ("print()\nfrom p import a\n", "line 2: p.a would run before"),
    "a name that is set later": ("from p.a import later\nprint(later)\n", "line 2: later is set later in p.a"),
    "names at run time": ("from p.a import x\nprint(x, globals())\n", "line 2: globals sees"),
    "a class and its module have the name": ("x = 1\nclass C:\n    x = x\n", "line 3: x is a name of the class"),
    "a circle": ("from p import circle\n", "in a circle: p.app -> p.circle -> p.app"),
    "nonsense": ("def\n", "p.app does not compile"),
}  # fmt: skip
OTHERS = {
    "p": "",
    "p.a": "x = 1\nlater = 0\ndef f():\n    global later\n    later = 1\n",
    "p.circle": "from p.app import x\n",
}


@pytest.mark.parametrize("case", PROGRAMS)
@pytest.mark.parametrize("on_board", [False, True], ids=["cpython", "micropython"])
def test_a_linked_program_does_what_its_modules_did(case: str, on_board: bool, tmp_path: Path) -> None:
    sources = {"p": "", **PROGRAMS[case]}
    told = {kind: run(found, tmp_path / kind, on_board) for kind, found in versions(sources).items()}
    assert told["modules"].strip() and "Traceback" not in told["modules"], told["modules"]
    assert told["linked"] == told["modules"]
    assert told["short"] == told["modules"]


@pytest.mark.parametrize("case", PROBLEMS)
def test_what_cannot_be_linked_is_told(case: str) -> None:
    source, problem = PROBLEMS[case]
    with pytest.raises(BadData) as told:
        program_of({**OTHERS, "p.app": source})
    assert problem in str(told.value)


def test_everything_that_is_loaded_together_is_one_module() -> None:
    sources = {"p": "", **PROGRAMS["a module that is loaded when needed"], "p.unused": "x = 1\n"}
    program = program_of(sources)
    assert set(program.sources) == {"p.app", "p.late", "p.later"}
    assert [name for _, name in program.parts] == ["p", "p.a", "p.app"]
    assert "from p.app import" in program.sources["p.late"]


@pytest.mark.parametrize("on_board", [False, True], ids=["cpython", "micropython"])
def test_more_modules_use_the_same_program(on_board: bool, tmp_path: Path) -> None:
    sources = {"p": "", **PROGRAMS["private names of objects"]}
    test = "from p import a\nfrom p.app import _value, C\nimport p.a as again\n"
    test += "class Own(C):\n    def _own_name(self): return self._a._value\n"
    test += "print(again.B(3)._other(), Own(a.A(1))._own_name(), _value)\n"
    found = versions({**sources, "test": test}, ("test",))
    alone = arrange_names(shorten(program_of(sources))).sources
    assert {name: found["short"][name] for name in alone} == alone
    told = {kind: run(version, tmp_path / kind, on_board, "test") for kind, version in found.items()}
    assert told["modules"].endswith("A 1 5\n")
    assert told["linked"] == told["short"] == told["modules"]


@pytest.mark.parametrize(
    "test",
    ["from p.app import C\nC(a=1)\n", "from p.app import c\nprint(getattr(c, '_a'))\n", "print([]._b)\n"],
    ids=["a parameter that has another name", "an attribute that has another name", "a short name"],
)  # fmt: skip
def test_a_module_that_uses_other_names_is_told(test: str) -> None:
    sources = {"p": "", **PROGRAMS["private names of objects"], "test": test}
    linked = program_of(sources, ("test",))
    with pytest.raises(BadData, match="test: the program has other names"):
        shorten(linked, ["test"])


def test_a_traceback_leads_to_module_and_line(tmp_path: Path) -> None:
    sources = {
        "p": "",
        "p.a": "# One.\n\n\ndef fail(x):\n    return 1 // x\n",
        "p.app": "from p import a\n\n\ndef main():\n    a.fail(\n        0\n    )\n\n\nmain()\n",
    }
    program = arrange_names(shorten(program_of(sources)))
    told = run(program.sources, tmp_path, True)
    lines = [int(line.split("line ")[1].split(",")[0]) for line in told.splitlines() if "p/app.py" in line]
    assert [program.locate(line) for line in lines] == [("p.app", 10), ("p.app", 5), ("p.a", 5)]


def test_types_and_choices_are_decided() -> None:
    source = "TYPE_CHECKING = False\nif TYPE_CHECKING:\n    from p import x\n\n"
    source += "try:\n    from p.fast import (\n        f,\n    )\n"
    source += "except (ImportError, ValueError):\n    # Slow.\n    from p.slow import f\nprint(f)\n"
    fast = decide("p.app", source, {"p.fast": True}.get)
    slow = decide("p.app", source, {"p.fast": False}.get)
    assert fast.split() == ["from", "p.fast", "import", "f", "print(f)"]
    assert slow.split() == ["from", "p.slow", "import", "f", "print(f)"]
    assert fast.splitlines()[11] == slow.splitlines()[11] == source.splitlines()[11] == "print(f)"
    assert decide(
        "p.app", "try:\n    import ssl\nexcept ImportError:\n    ssl = None\n", {"p.fast": True}.get
    ).startswith("try")
    with pytest.raises(BadData, match="line 1: it cannot be decided"):
        decide(
            "p.app",
            "try:\n    from p.fast import f\nexcept ImportError:\n    f = None\nelse:\n    g = 1\n",
            {"p.fast": True}.get,
        )


def test_without_an_architecture_native_code_is_bytecode() -> None:
    source = "import micropython\n\n@micropython.native\ndef f(): pass\n@micropython.viper\ndef g(): pass\n"
    assert without_native("p.app", source) == source.replace("@micropython.native", "")


def test_an_import_for_annotations_costs_nothing() -> None:
    sources = {
        "p": "",
        "p.types": "class T: pass\n",
        "p.app": "from p.types import T\ndef f(x: T, y: 'T | None' = None) -> T:\n    z: T = x\n    return z\n",
    }
    assert [name for _, name in program_of(sources).parts] == ["p.app"]
    assert link(sources, "p.types").sources == {"p.types": "class T: pass\n"}


def test_two_boards_that_are_flashed_together_do_not_parse_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # CPython 3.11 raises SystemError then (python/cpython#106905), but seldom.
    held: list[bool] = []
    monkeypatch.setattr(compile_, "_linked", lambda *_: held.append(compile_._one_at_a_time.locked()))
    compile_.linked_program("")
    assert held == [True] and not compile_._one_at_a_time.locked()
