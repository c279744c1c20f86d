# What runs first in the interpreter of a virtual board, before the files of the board itself: it makes the unix port
# look like an ESP32. The order matters: what comes from the computer's file system is opened or imported before the
# board's flash becomes "/".
import gc
import os
import sys

import micropython
import vfs

# Ends what the board prints by itself; the lab takes it out of the serial stream. After it comes the REPL.
_READY = "\x1b]bitrelay\x07"


# The board's files, or None if there are none: no room on the flash, or a damaged filesystem and Ctrl-C.
def _find_files():
    import esp32

    for label in ("vfs", "ffat"):
        for partition in esp32.Partition.find(1, label=label):
            try:
                return vfs.VfsLfs2(partition)
            except OSError:
                import first_start

                return first_start.setup(partition)
    return None


def _install():
    import esp32_shim

    esp32_shim.install()
    bluetooth = os.getenv("BITRELAY_BLUETOOTH")
    if bluetooth:
        import bluetooth_shim

        bluetooth_shim.install(bluetooth)
    try:
        files = _find_files()
    except KeyboardInterrupt as error:
        sys.print_exception(error)
        files = None
    micropython.kbd_intr(-1)
    vfs.umount("/")
    if files is not None:
        vfs.mount(files, "/")
        os.chdir("/")
    sys.path[:] = ["", ".frozen", "/lib"]
    for name in ("boot", "esp32_shim", "esp_machine", "esp_time", "first_start"):
        sys.modules.pop(name, None)


# A soft reset of a board frees the whole heap, and with it closes the files that a program left open.
def _sweep(scope):
    scope.clear()
    gc.collect()


def _run(name, scope):
    # As on a board: no such file is fine, a SystemExit is a soft reset, any other exception ends in the REPL.
    try:
        os.stat(name)
    except OSError:
        return True
    try:
        execfile(name, scope)  # noqa: F821
    except SystemExit:
        import machine

        _sweep(scope)
        machine._power_gone(b"soft\n")
    except BaseException as error:
        sys.print_exception(error)
        return False
    return True


def run(scope):
    raw = os.getenv("BITRELAY_RAW_REPL") == "1"
    # A board has no such preparations that a Ctrl-C could interrupt.
    micropython.kbd_intr(-1)
    _install()
    sys.atexit(lambda: _sweep(scope))
    gc.collect()
    micropython.kbd_intr(3)
    try:
        if _run("boot.py", scope) and not raw:
            _run("main.py", scope)
    finally:
        sys.stdout.write(_READY)
