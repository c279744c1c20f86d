# Modules that are loaded when somebody needs them and dropped when that is done: a board has no memory to spare for
# what happens once a month.
import sys

_RARE = (
    "firmware.files",
    "firmware.identity",
    "firmware.stored",
    "firmware.transfer",
    "firmware.trial",
    "shared_protocol.settings",
)


def forget():
    for name in _RARE:
        if sys.modules.pop(name, None) is not None:
            package, own = name.split(".")
            delattr(sys.modules[package], own)
