# On the board this file is /main.py: MicroPython runs it after every start.
# It leaves a window in which Ctrl-C gives the REPL, then starts the relay and brings it back if it fails.
import gc
import select
import sys
import time

import micropython

BOOT_WINDOW_MS = 2000
RETRY_MS = 5000
QUIET_MS = 100
# Collecting this often (bytes) while the modules load keeps the heap in one piece for what they need then.
_GC_LOADING = 2048


# Waits `ms`; True if Ctrl-C came. A host that knocks in this time sends frames, in which 0x03 is a byte like any other:
# only one outside of frames (0x00 ... 0x00) counts. Nothing of ours is imported, so that a broken update leaves a REPL.
def repl_asked(ms):
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
        elif one[0] == 3:
            return True
    return False


def main():
    micropython.kbd_intr(-1)
    try:
        print("bitrelay: starting in", BOOT_WINDOW_MS // 1000, "s; Ctrl-C gives the REPL")
        if repl_asked(BOOT_WINDOW_MS):
            return
        try:
            gc.threshold(_GC_LOADING)
            from firmware import app

            app.main()
            print("bitrelay: stopped, this is the REPL; Ctrl-D starts the relay again")
        except Exception as error:  # whatever went wrong, a relay on a wall has to come back by itself
            sys.print_exception(error)
            print("bitrelay: restarting in", RETRY_MS // 1000, "s; Ctrl-C gives the REPL")
            if not repl_asked(RETRY_MS):
                import machine

                machine.reset()
    finally:
        micropython.kbd_intr(3)


main()
