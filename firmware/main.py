# On the board this file is /main.py: MicroPython runs it after every start.
# It leaves a window in which Ctrl-C gives the REPL, then runs the relay and brings it back if it fails. Who stops the
# relay gets the REPL; but programs that ask for the raw one (mpremote, Thonny) are served by session.py, and then the
# relay runs again.
import gc
import select
import sys
import time

import micropython

BOOT_WINDOW_MS = 2000
RETRY_MS = 5000
SESSION_MS = 1000
QUIET_MS = 100
CTRL_A = 1
CTRL_C = 3
# Collecting this often (bytes) while the modules load keeps the heap in one piece for what they need then.
_GC_LOADING = 2048


# Waits `ms`; True if `key` came. A host that knocks in this time sends frames, in which it is a byte like any other:
# only one outside of frames (0x00 ... 0x00) counts. Nothing of ours is imported, so that a broken update leaves a REPL.
def hears(key, ms):
    one = bytearray(1)
    poll = select.poll()
    poll.register(sys.stdin, select.POLLIN)
    in_frame = seen = False
    start = heard = time.ticks_ms()
    while time.ticks_diff(time.ticks_ms(), start) < ms:
        if not poll.poll(10):
            if time.ticks_diff(time.ticks_ms(), heard) > QUIET_MS:
                in_frame = seen = False
            continue
        heard = time.ticks_ms()
        if not sys.stdin.buffer.readinto(one):
            continue
        if one[0] == 0:
            in_frame = not seen
            seen = False
        elif in_frame:
            seen = True
        elif one[0] == key:
            return True
    return False


# Drops every module but those of `kept`: memory is free, and files that were replaced are what is loaded next.
def forget(kept):
    for name in list(sys.modules):
        if name not in kept:
            del sys.modules[name]
    gc.collect()


# Until somebody stops the relay. Whatever goes wrong, a relay on a wall has to come back by itself.
def run_relay(booted):
    try:
        gc.threshold(_GC_LOADING)
        from firmware import app

        app.main(booted)
    except Exception as error:
        sys.print_exception(error)
        print("bitrelay: restarting in", RETRY_MS // 1000, "s; Ctrl-C gives the REPL")
        if not hears(CTRL_C, RETRY_MS):
            import machine

            machine.reset()


# Serves whoever wants the raw REPL; True if the relay is to run again. What is broken of ours fails before a key is
# taken, so that MicroPython's own REPL gets it.
def serve():
    try:
        from firmware.session import Session

        return hears(CTRL_A, SESSION_MS) and Session().serve()
    except Exception as error:
        sys.print_exception(error)
        return False


def main():
    micropython.kbd_intr(-1)
    kept = set(sys.modules)
    try:
        print("bitrelay: starting in", BOOT_WINDOW_MS // 1000, "s; Ctrl-C gives the REPL")
        if not hears(CTRL_C, BOOT_WINDOW_MS):
            run_relay(True)
        forget(kept)
        while serve():
            forget(kept)
            run_relay(False)
            forget(kept)
        print("bitrelay: stopped, this is the REPL; Ctrl-D starts the relay again")
    finally:
        forget(kept)
        micropython.kbd_intr(3)


main()
