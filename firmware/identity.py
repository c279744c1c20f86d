# The relay's secrets: made once, at the first start, and kept for good. A file that is damaged is left as it is and
# told of: phones remember a relay by its keys, so new ones are made only by somebody who says so.
#
# identity.bin: "BRI1", seed of the Ed25519 key (32), secret of the X25519 key (32), CRC-32 of all that (4).
import os
from binascii import crc32
from errno import ENOENT

from micropython import const

from firmware import files

NAME = "identity.bin"
SIZE = const(72)
_MAGIC = b"BRI1"
_BODY = const(68)

OK = "ok"
DAMAGED = "damaged"
UNREADABLE = "unreadable"


def valid(data):
    return len(data) == SIZE and data[:4] == _MAGIC and crc32(data[:_BODY]) == int.from_bytes(data[_BODY:], "big")


# The file `new`, whose content is `data`, becomes the identity at the next start. Raises ValueError.
def take(settings, new, data):
    if not valid(data):
        raise ValueError("not an identity")
    os.rename(new, settings.folder + NAME)
    settings.waits = settings.identity_waits = True


# (secrets of 64 bytes or None, state). The radio is on: only then an ESP32's random numbers are true ones. folder: with
# its "/".
def keep(folder, log):
    path = folder + NAME
    try:
        if not _is_there(path):
            body = _MAGIC + os.urandom(_BODY - len(_MAGIC))
            files.replace(path, body + crc32(body).to_bytes(4, "big"))
        data = _read(path)
        if valid(data):
            return data[4:_BODY], OK
        log.error("%s is damaged: the relay forwards and does not announce itself; restore a backup of it" % path)
        return None, DAMAGED
    except OSError as error:
        log.error("%s: error %d; the relay forwards and does not announce itself" % (path, error.errno))
        return None, UNREADABLE


# Also raises OSError for one that cannot be read: it must not be replaced.
def _is_there(path):
    try:
        os.stat(path)
    except OSError as error:
        if error.errno == ENOENT:
            return False
        raise
    return True


def _read(path):
    try:
        return files.read(path, SIZE)
    except ValueError:  # longer than that
        return b""
