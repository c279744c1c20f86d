"""What a board's serial output tells about its REPL, and what must be taken out of it."""

# Printed by shim/boot.py when the board's own files have run; the REPL follows.
READY = b"\x1b]bitrelay\x07"

RAW_BANNER = b"raw REPL; CTRL-B to exit\r\n"
_FRIENDLY_BANNER = b'Type "help()"'
_OVERLAP = max(len(RAW_BANNER), len(_FRIENDLY_BANNER)) - 1


class ReplStream:
    """Follows one run of the interpreter.

    stay_raw: the run follows a soft reset in raw mode. A board's interpreter then comes back in raw mode without a word
    of the friendly REPL; here enter_raw becomes True when Ctrl-A has to be sent, and what is printed up to the raw
    banner is left out. unprepared becomes True if the REPL comes although boot.py never finished.
    """

    def __init__(self, stay_raw: bool = False) -> None:
        self.raw = stay_raw
        self.ready = False
        self.enter_raw = False
        self.unprepared = False
        self._stay_raw = stay_raw
        self._hiding = False
        self._held = b""
        self._seen = b""

    def feed(self, data: bytes) -> bytes:
        """Take what the interpreter printed; returns what the board prints."""
        rest, self._held = self._held + data, b""
        shown = b""
        if not self.ready:
            shown, rest = self._split_at_marker(rest)
        if self._hiding:
            at = rest.find(RAW_BANNER)
            if at < 0:
                self._held, rest = rest[-_OVERLAP:], b""
            else:
                rest, self._hiding = rest[at:], False
        shown += rest
        self._watch_banners(shown)
        return shown

    def _split_at_marker(self, data: bytes) -> tuple[bytes, bytes]:
        before, marker, after = data.partition(READY)
        if marker:
            self.ready = True
            self.enter_raw = self._hiding = self._stay_raw
            return before, after
        keep = next((n for n in range(len(READY) - 1, 0, -1) if data.endswith(READY[:n])), 0)
        self._held = data[len(data) - keep :]
        return data[: len(data) - keep], b""

    def _watch_banners(self, shown: bytes) -> None:
        self._seen = self._seen[-_OVERLAP:] + shown
        raw, friendly = self._seen.rfind(RAW_BANNER), self._seen.rfind(_FRIENDLY_BANNER)
        if not self.ready:
            # A raw banner before is the program's own: the relay serves a raw REPL itself (firmware/session.py).
            self.unprepared = friendly >= 0
        elif raw != friendly:
            self.raw = raw > friendly
