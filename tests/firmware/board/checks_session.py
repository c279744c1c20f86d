import os
import sys

import machine

from firmware import session as module
from firmware.session import Session

BANNER = b"raw REPL; CTRL-B to exit\r\n>"
RESET = b"MPY: soft reboot\r\n" + BANNER


# What a client sends: bytes, and None for a second without any. It stands for the poll object, too.
class Client:
    def __init__(self, *keys):
        self.keys = []
        for part in keys:
            self.keys.extend([part] if part is None else part)
        self.waits = []

    def ipoll(self, ms):
        if not self.keys or self.keys[0] is None:
            self.keys = self.keys[1:]
            self.waits.append(ms)
            return ()
        return (1,)

    def readinto(self, one):
        one[0] = self.keys.pop(0)
        return 1


class Output:
    def __init__(self):
        self.told = b""

    def write(self, data):
        self.told += bytes(data)


# Serves what a client sends; returns the session, what it was told, and what serve() returned. Text that code prints
# goes to stdout, tracebacks are in session.errors.
def _serve(*keys):
    home = os.getcwd()
    session = Session()
    client = Client(*keys)
    session._poll = session._in = client
    session._out = Output()
    session.client = client
    session.errors = []
    session._tell = lambda error: session.errors.append(error)
    try:
        ended = session.serve()
    finally:
        os.chdir(home)
    told = session._out.told
    assert told[: len(BANNER)] == BANNER
    return session, told[len(BANNER) :], ended


def check_code_is_run_and_answered():
    session, told, ended = _serve(b"x = 6\nx *= 7\x04", b"y = x\x04", b"\x02")
    assert told == b"OK\x04\x04>OK\x04\x04>" and ended and not session.errors


def check_names_stay_until_a_reset():
    session, told, _ = _serve(b"x = 1\x04", b"assert x == 1\x04", b"\x04", b"x\x04", b"\x02")
    assert told == b"OK\x04\x04>" * 2 + b"OK\r\n" + RESET + b"OK\x04\x04>"
    (error,) = session.errors
    assert isinstance(error, NameError)


def check_functions_and_classes_see_the_names_of_their_code():
    code = b"import gc\ndef f():\n return gc\nclass A:\n def g(self):\n  return f()\x04"
    session, _, _ = _serve(code, b"A().g()\x04", b"\x02")
    assert not session.errors
    session, _, _ = _serve(b"assert __name__ == '__main__'\x04", b"\x02")
    assert not session.errors


def check_what_is_raised_goes_to_the_error_channel():
    session, told, ended = _serve(b"1/0\x04", b"x = (\x04", b"raise KeyboardInterrupt\x04", b"y = 2\x04", b"\x02")
    assert told == b"OK\x04\x04>" * 4 and ended
    assert [type(error) for error in session.errors] == [ZeroDivisionError, SyntaxError, KeyboardInterrupt]


def check_a_traceback_does_not_show_the_session_itself():
    session = Session()
    session._code = bytearray(b"def f():\n 1/0\nf()")
    session._names = {}
    error = session._execute()
    lines = []
    module.print = lines.append
    try:
        session._tell(error)
    finally:
        del module.print
    assert lines == [
        "Traceback (most recent call last):",
        '  File "<stdin>", line 3, in <module>',
        '  File "<stdin>", line 2, in f',
        "ZeroDivisionError: divide by zero",
    ], lines


def check_an_exit_is_a_reset():
    for code in (b"raise SystemExit", b"import sys\nsys.exit()", b"raise SystemExit('x')"):
        session, told, ended = _serve(code + b"\x04", b"\x02")
        assert told == b"OK\x04\x04" + RESET and ended and not session.errors


def check_ctrl_a_shows_the_banner_and_drops_what_was_typed():
    _, told, _ = _serve(b"1/0\x01", b"\r\x01", b"\x04", b"\x02")
    assert told == BANNER * 2 + b"OK\r\n" + RESET


def check_ctrl_c_drops_what_was_typed():
    session, told, _ = _serve(b"1/0\x03x = 1\x04", b"\r\x03\x04", b"\x02")
    assert told == b"OK\x04\x04>OK\r\n" + RESET and not session.errors


def check_raw_paste_is_refused_and_the_code_comes_as_it_is():
    _, told, _ = _serve(b"\x05A\x01x = 1\x04", b"\x02")
    assert told == b"R\0OK\x04\x04>"


def check_code_of_any_length_up_to_the_limit_is_run():
    for size in (1, 127, 128, 129, 5000, 24576):
        session, told, _ = _serve(b"#" * size + b"\x04", b"\x02")
        assert told == b"OK\x04\x04>" and not session.errors, size


def check_longer_code_is_refused_and_the_next_is_run():
    session, told, _ = _serve(b"#" * 24577 + b"\x04", b"x = 1\x04", b"\x02")
    assert told == b"OK\x04\x04>OK\x04\x04>"
    (error,) = session.errors
    assert isinstance(error, MemoryError) and "24576" in str(error)
    session, told, _ = _serve(b"#" * 30000 + b"\x03x = 1\x04", b"\x02")
    assert told == b"OK\x04\x04>" and not session.errors


def check_code_that_finds_no_memory_is_answered_and_the_next_is_run():
    session, told, _ = _serve(b"x = bytearray(1 << 30)\x04", b"y = 1\x04", b"\x02")
    assert told == b"OK\x04\x04>OK\x04\x04>"
    (error,) = session.errors
    assert isinstance(error, MemoryError)


def check_a_session_ends_when_nobody_types_for_half_a_minute():
    session, _, ended = _serve(b"x = 1\x04", *[None] * 29, b"x\x04", *[None] * 50)
    assert ended and not session.errors
    assert len(session.client.waits) == 29 + 30


def check_ctrl_b_ends_it_unless_somebody_wants_it_again_at_once():
    session, told, ended = _serve(b"\r\x02", None, b"x = 1\x04")
    assert ended and told == b"" and session.client.waits == [200]
    _, told, ended = _serve(b"\r\x02\r\x03\r\x01", b"x = 1\x04\x02")
    assert ended and told == BANNER + b"OK\x04\x04>"


def check_a_host_that_knocks_gets_the_relay():
    # Ctrl-B, then "#", 0x00 and a frame, in which 0x01 is a byte like any other.
    session, told, ended = _serve(b"\x02#\0\0\x02\x01\x03\x01\x04abcd\0", b"x\x04")
    assert ended and told == b"" and not session.errors


def check_what_ran_leaves_nothing_behind():
    modules = set(sys.modules)
    path = list(sys.path)
    code = b"import sys, os, json\nsys.modules['mine'] = json\nsys.path.append('/x')\nos.mkdir('d')\nos.chdir('d')\x04"
    here = os.getcwd()
    session, _, _ = _serve(b"import os\nos.chdir('" + here.encode() + b"')\x04", code, b"\x02")
    assert not session.errors, session.errors
    assert set(sys.modules) == modules and sys.path == path
    os.rmdir("d")


FS = b"""
import os
class Remote:
 def mount(self, readonly, mkfs):
  pass
 def umount(self):
  pass
 def chdir(self, path):
  pass
 def getcwd(self):
  return '/'
os.mount(Remote(), '/remote')
os.chdir('/remote')\x04"""


def check_a_mounted_file_system_goes_with_a_reset_and_with_the_session():
    import vfs

    for ending in (b"\x04\x02", b""):
        session, _, ended = _serve(FS, ending)
        assert ended and not session.errors, session.errors
        assert [place for _, place in vfs.mount()] == ["/"]


def check_whoever_goes_to_the_prompt_with_it_mounted_has_it_there():
    import vfs

    session, _, ended = _serve(FS, b"\x02")
    assert not ended and not session.errors
    assert sorted(place for _, place in vfs.mount()) == ["/", "/remote"]
    vfs.umount("/remote")


def check_the_watchdog_is_stretched_and_fed():
    class Dog:
        fed = 0

        def __init__(self, timeout):
            assert timeout == 3_600_000

        def feed(self):
            Dog.fed += 1

    kept = machine.WDT
    machine.WDT = Dog
    try:
        _serve(*[None] * 30)
    finally:
        machine.WDT = kept
    assert Dog.fed == 30
