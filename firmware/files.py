# Small files of the board: read as a whole, and replaced as a whole.
import json
import os
from errno import ENOENT


# Raises OSError if there is none, ValueError if it has more than `most` bytes. Takes only the memory that it needs.
def read(path, most):
    size = os.stat(path)[6]
    if size > most:
        raise ValueError("longer than %d bytes" % most)
    with open(path, "rb") as f:
        return f.read(size)


# JSON without blanks.
def packed(values, most):
    data = json.dumps(values, separators=(",", ":")).encode()
    if len(data) > most:
        raise ValueError("all together more than %d bytes" % most)
    return data


# One rename: on littlefs the name has the old file or the new one, never half of one.
def replace(path, data):
    new = path + ".new"
    with open(new, "wb") as f:
        f.write(data)
    os.rename(new, path)


# Harmless when there is none.
def remove(path):
    try:
        os.remove(path)
    except OSError as error:
        if error.errno != ENOENT:
            raise
