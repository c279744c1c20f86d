# The relay that runs on the board. On it this package is /firmware, beside /main.py and /shared_protocol.
VERSION = "0.1.0"
