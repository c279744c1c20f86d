# Makes an identity record out of a solved challenge. Loaded on demand (rare.py), and loads and drops what it needs one
# after the other.
from firmware import rare


# The record's payload. now: Unix seconds.
async def sign(spare_time, identity, difficulty, challenge, begun, nonce, now, refreshes):
    values, pow_part = _values(identity, difficulty, challenge, begun, nonce, now, refreshes)
    rare.forget()
    values["pow_signature"] = await _signature(spare_time, identity, pow_part)
    body, message = _body(values)
    rare.forget()
    return _record(body, await _signature(spare_time, identity, message))


# What the record says, but for the signature of the work.
def _values(identity, difficulty, challenge, begun, nonce, now, refreshes):
    from shared_protocol import pow

    values = {
        "signing_key": identity.public_key,
        "noise_key": identity.noise_key,
        "challenge_data": challenge,
        "challenge_timestamp": begun,
        "challenge_expires_at": begun + pow.CHALLENGE_S,
        "difficulty": difficulty,
        "nonce": nonce,
        "computed_at": now,
        "created_at": now,
        "expires_at": now + pow.IDENTITY_S,
        "refresh_count": refreshes,
    }
    return values, pow.signed_part(challenge, nonce)


# And what is signed of it.
def _body(values):
    from shared_protocol import identity_record

    body = identity_record.body(values)
    return body, identity_record.signed_part(body)


def _record(body, signature):
    from shared_protocol import identity_record

    return identity_record.encode(body, signature)


async def _signature(spare_time, identity, message):
    signature = await spare_time.do(identity.sign_steps(message))
    if signature is None:
        raise MemoryError
    return signature
