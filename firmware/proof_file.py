# The file of the relay's proof of work: the identity record that is in force, and how far the work for the next one is.
# It is not the identity: one that is damaged, or is for other keys, counts as none. Loaded on demand (rare.py).
#
# proof.bin: "BRP1", Ed25519 public key (32), challenge data (32), its time (u64; 0: no work has begun), the next nonce
# (u64), the record's size (u16; 0: none), the record, CRC-32 of all that (4).
from binascii import crc32
from errno import ENOENT

from micropython import const

from firmware import files

NAME = "proof.bin"
NOTHING = (None, 0, 0, None)
_MAGIC = b"BRP1"
_KEY_AT = const(4)
_CHALLENGE_AT = const(36)
_TIME_AT = const(68)
_NONCE_AT = const(76)
_SIZE_AT = const(84)
_RECORD_AT = const(86)
_CRC = const(4)
_LONGEST = const(512)
_REFRESH_S = const(86_400)  # REFRESH_S of shared_protocol/pow.py
_FUTURE_S = const(300)  # a record that begins later was made by a clock that was wrong


# (challenge data or None, its time, next nonce, record or None). Raises OSError for a file that cannot be read.
def read(folder, key):
    try:
        data = files.read(folder + NAME, _RECORD_AT + _LONGEST + _CRC)
    except ValueError:
        return NOTHING
    except OSError as error:
        if error.errno == ENOENT:
            return NOTHING
        raise
    end = len(data) - _CRC
    if end < _RECORD_AT or crc32(data[:end]) != int.from_bytes(data[end:], "big"):
        return NOTHING
    size = data[_SIZE_AT] << 8 | data[_SIZE_AT + 1]
    if data[:_KEY_AT] != _MAGIC or data[_KEY_AT:_CHALLENGE_AT] != key or size != end - _RECORD_AT:
        return NOTHING
    time = int.from_bytes(data[_TIME_AT:_NONCE_AT], "big")
    challenge = data[_CHALLENGE_AT:_TIME_AT] if time else None
    return challenge, time, int.from_bytes(data[_NONCE_AT:_SIZE_AT], "big"), data[_RECORD_AT:end] if size else None


def write(folder, key, challenge, time, nonce, record):
    body = _MAGIC + key + (challenge or bytes(32)) + time.to_bytes(8, "big") + nonce.to_bytes(8, "big")
    record = record or b""
    body += len(record).to_bytes(2, "big") + record
    files.replace(folder + NAME, body + crc32(body).to_bytes(4, "big"))


# (when it was made, how often it was renewed) of a record that is in force now, in Unix seconds, else None.
def in_force(record, now):
    from shared_protocol import identity_record

    found = None if record is None else identity_record.parse(record)
    if found is None or not found["created_at"] - _FUTURE_S <= now <= found["expires_at"]:
        return None
    return found["created_at"], found["refresh_count"]


# When the next record is due: at once if this one is none, or not in force.
def renewal(record, now):
    found = in_force(record, now)
    return now - 1 if found is None else found[0] + _REFRESH_S
