# Modules that are loaded when somebody needs them and dropped when that is done: a board has no memory to spare for
# what happens once a month.
import sys

_RARE = (
    "firmware.bitcraps",
    "firmware.files",
    "firmware.identity",
    "firmware.mining",
    "firmware.proof_file",
    "firmware.signing",
    "firmware.stored",
    "firmware.transfer",
    "firmware.trial",
    "shared_protocol.beacon",
    "shared_protocol.hello",
    "shared_protocol.identity_record",
    "shared_protocol.pow",
    "shared_protocol.budget",
    "shared_protocol.settings",
    "shared_protocol.versions",
)


def forget():
    for name in _RARE:
        if sys.modules.pop(name, None) is not None:
            package, own = name.split(".")
            delattr(sys.modules[package], own)
