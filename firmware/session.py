# MicroPython's raw REPL for mpremote, Thonny and the like, served by the relay's own program. MicroPython's would leave
# the relay stopped until a reset; when this session is over, it runs again in the same interpreter.
#
# As shared/runtime/pyexec.c of MicroPython: Ctrl-D runs the code before it ("OK", output, 0x04, error, 0x04, ">"), or
# resets when there is none; Ctrl-C drops the code, or stops what runs; Ctrl-A shows the banner, Ctrl-B leaves. Raw
# paste is refused, whereupon clients send code as it is. A reset is no new interpreter: names, modules, path, directory
# and mounts are as they were, and nothing else is.
import gc
import io
import os
import select
import sys

import machine
import micropython
import vfs
from micropython import const

_BANNER = b"raw REPL; CTRL-B to exit\r\n"
_RESET = b"MPY: soft reboot\r\n"
_NO_PASTE = b"R\0"
_ASKS_PASTE = b"\x05A"
_CODE_MAX = const(24576)
_BLOCK = const(128)
_TICK_MS = const(1000)
_IDLE = const(30)  # ticks without a byte
_AGAIN_MS = const(200)
_AGAIN = const(16)  # blocks
# As in health.py: whoever has the board keeps it, but who leaves something running has it for so long at most.
_WATCHDOG_S = const(3600)

_CTRL_A = const(1)
_CTRL_B = const(2)
_CTRL_C = const(3)
_CTRL_D = const(4)
_ZERO = const(256)


class Session:
    def __init__(self):
        self._in = sys.stdin.buffer
        self._out = sys.stdout.buffer
        self._poll = select.poll()
        self._poll.register(sys.stdin, select.POLLIN)
        self._one = bytearray(1)
        self._block = bytearray(_BLOCK)
        self._view = memoryview(self._block)
        self._taken = 0  # bytes of the block
        self._code = bytearray()  # what came in
        self._spoilt = None  # why it cannot be run
        self._watchdog = machine.WDT(timeout=_WATCHDOG_S * 1000)
        self._modules = set(sys.modules)
        self._path = list(sys.path)
        self._mounts = [place for _, place in vfs.mount()]
        self._names = None

    # True: the relay is to run again. False: the prompt is wanted.
    def serve(self):
        self._fresh()
        self._out.write(_BANNER + b">")
        idle = 0
        while idle < _IDLE:
            self._watchdog.feed()
            key = self._take(_TICK_MS)
            self._keep()
            idle = 0 if key or self._taken else idle + 1
            if key == _CTRL_A:
                self._out.write(_NO_PASTE if self._code == _ASKS_PASTE else _BANNER + b">")
                self._drop()
            elif key == _CTRL_C:
                self._drop()
            elif key == _CTRL_D:
                try:
                    self._run()
                except KeyboardInterrupt:  # one that came when the code had ended already
                    micropython.kbd_intr(-1)
            elif key == _CTRL_B:
                # Who goes to the prompt with a file system of theirs mounted wants to use it there.
                if len(vfs.mount()) > len(self._mounts):
                    return False
                if not self._is_wanted_again():
                    break
                self._drop()
                self._out.write(_BANNER + b">")
        self._fresh()
        return True

    # Bytes into the block, until there is a control key, which is returned, or no room, or nothing came for `ms`. A
    # UART holds 260 bytes and drops the rest: nothing else is done meanwhile.
    def _take(self, ms):
        wait = self._poll.ipoll
        read = self._in.readinto
        one = self._one
        block = self._block
        n = 0
        key = 0
        while n < _BLOCK:
            for _ in wait(ms):
                break
            else:
                break
            if not read(one):
                break
            byte = one[0]
            if byte <= _CTRL_D:
                key = byte or _ZERO
                break
            block[n] = byte
            n += 1
        self._taken = n
        return key

    def _keep(self):
        if self._spoilt is None:
            try:
                if len(self._code) + self._taken > _CODE_MAX:
                    raise MemoryError("the code has more than %d bytes" % _CODE_MAX)
                self._code.extend(self._view[: self._taken])
            except MemoryError as error:
                self._code = b""
                self._spoilt = error

    def _drop(self):
        self._code = bytearray()
        self._spoilt = None

    # After Ctrl-B: the next client may come on the heels of the last. A host that knows the relay sends Ctrl-B as well,
    # when it knocks; there a 0x00 comes before whatever else is in it.
    def _is_wanted_again(self):
        for _ in range(_AGAIN):
            key = self._take(_AGAIN_MS)
            if key == _CTRL_A:
                return True
            if key == _ZERO or not (key or self._taken):
                break
        return False

    def _run(self):
        self._out.write(b"OK")
        if self._spoilt is None and not self._code:
            self._out.write(b"\r\n")
            self._reset()
            return
        error = self._spoilt or self._execute()
        self._drop()
        self._out.write(b"\x04")
        leaves = isinstance(error, SystemExit)
        if error is not None and not leaves:
            self._tell(error)
        self._out.write(b"\x04")
        if leaves:
            self._reset()
        else:
            self._out.write(b">")

    # What the code raised, or None.
    def _execute(self):
        try:
            code = bytes(self._code)
            self._drop()
            code = compile(code, "<stdin>", "exec")
            micropython.kbd_intr(_CTRL_C)
            exec(code, self._names)
            micropython.kbd_intr(-1)
        except BaseException as error:
            micropython.kbd_intr(-1)
            return error
        return None

    # As print_exception() does, but without this file's own line.
    def _tell(self, error):
        try:
            text = io.StringIO()
            sys.print_exception(error, text)
            for line in text.getvalue().split("\n")[:-1]:
                if '"firmware.session"' not in line and "firmware/session" not in line:
                    print(line)
        except MemoryError:
            sys.print_exception(error)

    def _reset(self):
        self._fresh()
        self._out.write(_RESET + _BANNER + b">")

    # Nothing is left of what ran before.
    def _fresh(self):
        self._names = {"__name__": "__main__"}
        os.chdir("/")
        for _, place in vfs.mount():
            if place not in self._mounts:
                vfs.umount(place)
        sys.path[:] = self._path
        for name in list(sys.modules):
            if name not in self._modules:
                del sys.modules[name]
        gc.collect()
