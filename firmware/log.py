# Log lines and link events, as frames of the console. Never payloads, never keys.
from firmware import links as l
from shared_protocol import console as messages


class Log:
    # emit(kind, values): see console.py; it drops what does not fit and never blocks.
    def __init__(self, level):
        self.level = level
        self.emit = None
        self.uptime_ms = None

    def error(self, text):
        self._line(messages.LOG_ERROR, text)

    def warning(self, text):
        self._line(messages.LOG_WARNING, text)

    def info(self, text):
        self._line(messages.LOG_INFO, text)

    def debug(self, text):
        self._line(messages.LOG_DEBUG, text)

    def link(self, link, up, reason):
        if self.emit is not None and self.level >= messages.LOG_INFO:
            values = {
                "conn": link.conn,
                "up": up,
                "role": l.ROLE_NAMES[link.role],
                "address": bytes(link.address),
                "reason": reason,
            }
            self.emit(messages.EVENT_LINK, values)

    def _line(self, level, text):
        if self.emit is not None and level <= self.level:
            self.emit(messages.EVENT_LOG, {"level": level, "text": text, "at_ms": self.uptime_ms()})
