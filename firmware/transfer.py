# The files that a host reads and writes in pieces over the console: settings and identity. What checks their content is
# loaded for the last piece only: see rare.py.
import os
from binascii import crc32

from firmware import files
from shared_protocol import console as messages

# Name on the board and longest, by what it is.
_FILES = {messages.SETTINGS: ("settings.json", 2048), messages.IDENTITY: ("identity.bin", 72)}


# A piece of a file; one that is not there has no bytes.
def export(settings, what, offset):
    path, _ = _find(settings, what)
    try:
        size = os.stat(path)[6]
    except OSError:
        size = 0
    data = b""
    if offset < size:
        with open(path, "rb") as f:
            f.seek(offset)
            data = f.read(min(size - offset, messages.PIECE))
    return {"size": size, "offset": offset, "data": data}


# Takes a piece of a file; with the last one the whole is checked and stored. `state` is what the piece before returned;
# returns (what, size, bytes taken, CRC of them). Raises ValueError with what is wrong: then nothing is changed, and the
# next piece must be a first one.
def take(settings, state, values, now_s):
    what = values["what"]
    size = values["size"]
    offset = values["offset"]
    data = values.get("data", b"")
    path, longest = _find(settings, what)
    new = path + ".new"
    if size > longest:
        raise ValueError("%s: at most %d bytes" % (what, longest))
    if not offset:
        state = (what, size, 0, 0)
    if state is None or state[:3] != (what, size, offset) or offset + len(data) > size:
        raise ValueError("this piece does not follow the one before")
    with open(new, "ab" if offset else "wb") as f:
        f.write(data)
    offset += len(data)
    crc = crc32(data, state[3])
    if offset == size:
        try:
            _take_whole(settings, what, new, size, crc, values, now_s)
        except (OSError, ValueError):
            files.remove(new)  # it may be a secret
            raise
    return what, size, offset, crc


def _take_whole(settings, what, new, size, crc, values, now_s):
    data = files.read(new, size)
    # What came, and what is there: a setting that was changed between two pieces uses the same new file.
    if crc != values["crc"] or len(data) != size or crc32(data) != crc:
        raise ValueError("the CRC is not that of the pieces")
    if what == messages.SETTINGS:
        from firmware import stored

        stored.take(settings, new, data, values.get("trial_min"), now_s)
    else:
        from firmware import identity

        identity.take(settings, new, data)


def _find(settings, what):
    if what not in _FILES:
        raise ValueError("no such file")
    name, longest = _FILES[what]
    return settings.folder + name, longest
