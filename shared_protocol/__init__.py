"""The bitchat packet, the relay's policies and the console's messages, for MicroPython and CPython alike."""
