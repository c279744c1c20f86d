# What MicroPython's ports/esp32/modules/inisetup.py does when the flash holds no filesystem.
import time

import micropython
import vfs

_DAMAGED = """\
The filesystem appears to be corrupted. If you had important data there, you
may want to make a flash snapshot to try to recover it. Otherwise, perform
factory reprogramming of MicroPython firmware (completely erase flash, followed
by firmware programming).
"""
_BOOT_PY = """\
# This file is executed on every boot (including wake-boot from deepsleep)
#import esp
#esp.osdebug(None)
#import webrepl
#webrepl.start()
"""


# A filesystem on a partition whose first block is blank; on any other the board stays, until Ctrl-C.
def setup(partition):
    block = bytearray(partition.ioctl(5, 0))
    partition.readblocks(0, block)
    for byte in block:
        if byte != 0xFF:
            micropython.kbd_intr(3)
            while True:
                print(_DAMAGED)
                time.sleep(3)
    print("Performing initial setup")
    vfs.VfsLfs2.mkfs(partition)
    filesystem = vfs.VfsLfs2(partition)
    with filesystem.open("/boot.py", "w") as file:
        file.write(_BOOT_PY)
    return filesystem
