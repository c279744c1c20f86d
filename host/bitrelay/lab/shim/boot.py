# What runs first in the interpreter of a virtual board, before the files of the board itself: it makes the unix port
# look like an ESP32. The order matters: what comes from the computer's file system is opened or imported before the
# board's directory becomes "/".
import gc
import os
import sys

import micropython
import vfs

# Ends what the board prints by itself; the lab takes it out of the serial stream. After it comes the REPL.
_READY = "\x1b]bitrelay\x07"


# A VfsPosix with a root has one buffer for paths: its rename() renames the new name to itself and says nothing.
def _renamer(root):
    unrooted = vfs.VfsPosix()

    def host_path(path):
        return root + (path if path.startswith("/") else os.getcwd().rstrip("/") + "/" + path)

    def rename(old, new):
        unrooted.rename(host_path(old), host_path(new))

    return rename


def _install():
    import esp32_shim

    esp32_shim.install()
    bluetooth = os.getenv("BITRELAY_BLUETOOTH")
    if bluetooth:
        import bluetooth_shim

        bluetooth_shim.install(bluetooth)
    root = os.getenv("BITRELAY_ROOT")
    vfs.umount("/")
    vfs.mount(vfs.VfsPosix(root), "/")
    sys.modules["os"].replace("rename", _renamer(root))
    os.chdir("/")
    sys.path[:] = ["", ".frozen", "/lib"]
    for name in ("boot", "esp32_shim", "esp_machine", "esp_time"):
        sys.modules.pop(name, None)


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
    gc.collect()
    micropython.kbd_intr(3)
    try:
        if _run("boot.py", scope) and not raw:
            _run("main.py", scope)
    finally:
        sys.stdout.write(_READY)
