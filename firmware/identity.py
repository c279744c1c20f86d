# The relay's keys: made once, at the first start, and kept. Nothing here reads them; who backs the relay up does.
#
# identity.bin: "BRI1", seed of the Ed25519 key (32), secret of the X25519 key (32), CRC-32 of all that (4).
import os
from binascii import crc32
from errno import ENOENT

from micropython import const

from firmware import files

NAME = "identity.bin"
SIZE = const(72)
_BAD = "identity.bad"
_MAGIC = b"BRI1"
_BODY = const(68)


def valid(data):
    return len(data) == SIZE and data[:4] == _MAGIC and crc32(data[:_BODY]) == int.from_bytes(data[_BODY:], "big")


# The file `new`, whose content is `data`, becomes the identity at the next start. Raises ValueError.
def take(settings, new, data):
    if not valid(data):
        raise ValueError("not an identity")
    os.rename(new, settings.folder + NAME)
    settings.waits = settings.identity_waits = True


# The radio is on: only then an ESP32's random numbers are true ones. folder: with its "/".
def keep(folder, log):
    try:
        if _is_damaged(folder + NAME):
            os.rename(folder + NAME, folder + _BAD)
            log.error("the identity is damaged: it is %s now, and a new one is made" % _BAD)
        if not _is_there(folder + NAME):
            body = _MAGIC + os.urandom(_BODY - len(_MAGIC))
            files.replace(folder + NAME, body + crc32(body).to_bytes(4, "big"))
    except OSError as error:
        log.error("identity: error %d" % error.errno)


# Also raises OSError for one that cannot be read: it must not be replaced.
def _is_there(path):
    try:
        os.stat(path)
    except OSError as error:
        if error.errno == ENOENT:
            return False
        raise
    return True


def _is_damaged(path):
    try:
        return _is_there(path) and not valid(files.read(path, SIZE))
    except ValueError:
        return True
