# What the console's requests do. The messages are shared_protocol/console.py.
import sys
from time import ticks_ms

import machine
from micropython import const

from firmware import VERSION, rare
from firmware import links as l
from firmware.health import heap, reset_cause
from firmware.slots import SLOT_BYTES
from shared_protocol import console as messages
from shared_protocol.frame import REASONS

# Frames are told for this long after the last LISTEN: a host that went away without a word must not cost us for ever.
_LISTEN_S = const(60)
_BUILD_MAX = const(40)


# What this board's program was built from, as the file that came with it says.
def build_id(folder):
    try:
        with open(folder + "build.txt") as f:
            return f.read(_BUILD_MAX).strip()
    except (OSError, ValueError):
        return ""


class Commands:
    def __init__(self, relay, console):
        self.relay = relay
        self.console = console
        self.reboot = False
        self.build = build_id(relay.settings.folder)
        self._taken = None  # of a file that comes in pieces: see transfer.py
        self.listen_until = 0
        self.new_alone = False  # of frames: whoever carries them on needs no copies
        self._do = {
            messages.INFO: self._info,
            messages.STATS: self._stats,
            messages.LINKS: self._links,
            messages.LISTEN: self._listen,
            messages.SEND: self._send,
            messages.LOG: self._log,
            messages.GET: self._get,
            messages.SET: self._set,
            messages.REBOOT: self._reboot,
            messages.TIME: self._time,
            messages.CONFIRM: self._confirm,
            messages.EXPORT: self._export,
            messages.IMPORT: self._import,
        }

    # Answers one request; a host gets an error for what we do not know or cannot do, never silence.
    def answer(self, kind, request_id, values):
        do = self._do.get(kind)
        if do is None:
            self._refuse(request_id, "unknown", "this relay does not know request %d" % kind)
            return
        try:
            do(request_id, values)
        except KeyError as missing:
            self._refuse(request_id, "incomplete", "the request lacks %s" % missing)
        except ValueError as error:
            self._refuse(request_id, "refused", str(error))
        except OSError as error:
            self._refuse(request_id, "failed", "error %d" % error.errno)
        except (ImportError, MemoryError) as error:
            self._refuse(request_id, "failed", str(error))
        rare.forget()

    def _refuse(self, request_id, code, text):
        self.console.send(messages.ERROR, request_id, {"code": code, "text": text})

    def _reply(self, kind, request_id, values):
        self.console.send(kind | messages.ANSWER, request_id, values)

    def _list(self, kind, request_id, records):
        count = 0
        for values in records:
            self._reply(kind, request_id, values)
            count += 1
        self.console.send(messages.DONE, request_id, {"count": count})

    def info(self):
        relay = self.relay
        free, used = heap()
        values = {
            "name": relay.settings["name"],
            "version": VERSION,
            "protocol": messages.PROTOCOL,
            "chip": sys.implementation._machine,
            "unique_id": machine.unique_id(),
            "micropython": "%d.%d.%d" % sys.implementation.version[:3],
            "address": relay.radio.address,
            "uptime_s": relay.clock.now_s,
            "reset_cause": reset_cause(),
            "max_links": relay.links.max_links,
            "heap_free": free,
            "heap_used": used,
            "build": self.build,
            "restart": relay.settings.waits,
            "trial_s": relay.settings.trial_s(relay.clock.now_s),
            "time_ms": relay.wall.now_ms(relay.clock.uptime_ms()),
            "clock": relay.wall.source,
            "clock_disputed": relay.wall.disputed,
            "identity": relay.keys.state,
            "silent": relay.announcer.silence(),
            "neighbors": len(relay.announcer.neighbors()),
        }
        if relay.keys.ready:
            values["on_air_id"] = relay.keys.on_air_id
            values["peer_id"] = relay.keys.peer_id
        return values

    def _info(self, request_id, values):
        self._reply(messages.INFO, request_id, self.info())

    def _stats(self, request_id, values):
        relay = self.relay
        free, used = heap()
        answer = {
            "uptime_s": relay.clock.now_s,
            "heap_free": free,
            "heap_used": used,
            "slots_total": relay.pool.count,
            "slots_free": len(relay.pool.free),
            "slots_low": relay.forwarder.slots_low,
            "loop_late_ms": relay.health.loop_late_ms,
            "counters": [count & 0xFFFFFFFF for count in relay.counts],  # they wrap
        }
        self._reply(messages.STATS, request_id, answer)

    def _links(self, request_id, values):
        self._list(messages.LINKS, request_id, self._link_records())

    def _link_records(self):
        from shared_protocol.versions import LEGACY, MODES

        now = self.relay.clock.tenths
        for link in self.relay.links.all:
            if link.state == l.OPENING or link.state == l.READY:
                yield {
                    "rssi": link.rssi or None,  # known of peers that we heard and dialled
                    "conn": link.conn,
                    "role": l.ROLE_NAMES[link.role],
                    "address": bytes(link.address),
                    "address_type": link.address_type,
                    "mtu": link.mtu,
                    "state": l.STATE_NAMES[link.state],
                    "rx_frames": link.rx_frames,
                    "tx_frames": link.tx_frames,
                    "queued": link.queued,
                    "dropped": link.dropped,
                    "owner": link.owner if link.owned else None,
                    "age_s": (now - link.opened_at) // 10,
                    "service": "bitcraps" if link.bitcraps else "bitchat",
                    "mode": MODES[LEGACY if link.mode == l.NO_HELLO else link.mode] if link.bitcraps else None,
                }

    def _listen(self, request_id, values):
        on = values["on"]
        self.relay.forwarder.on_frame = self._frame_event if on else None
        self.listen_until = self.relay.clock.now_s + _LISTEN_S
        self.new_alone = values.get("new", False)
        self._reply(messages.LISTEN, request_id, {"on": on})

    def _frame_event(self, conn, frame, verdict):
        if self.relay.clock.now_s > self.listen_until:
            self.relay.forwarder.on_frame = None
            return
        if self.new_alone and verdict == "duplicate":
            return
        if conn < 0:
            conn = None  # it came on a link that has gone
        event = {"conn": conn, "frame": frame, "verdict": verdict, "at_ms": self.relay.clock.uptime_ms()}
        self.console.event(messages.EVENT_FRAME, event)

    def _send(self, request_id, values):
        frame = values["frame"]
        if len(frame) > SLOT_BYTES:
            raise ValueError("a frame on a link has at most %d bytes, this one has %d" % (SLOT_BYTES, len(frame)))
        size = self.relay.forwarder.header.parse(frame, len(frame))
        if size < 0:
            raise ValueError("not a frame: " + REASONS[size])
        links = self.relay.forwarder.originate(frame, ticks_ms())
        if links < 0:
            self._refuse(request_id, "busy", "the frame before this one is still being sent; try again")
            return
        if self.relay.links.waiting:
            self.relay.flag.set()  # the stack has no room: the mesh loop is to try again, as it does with its own
        self._reply(messages.SEND, request_id, {"links": links})

    def _log(self, request_id, values):
        level = values["level"]
        if level > messages.LOG_DEBUG:
            raise ValueError("level must be from 0 to %d" % messages.LOG_DEBUG)
        self.relay.log.level = level
        self._reply(messages.LOG, request_id, {"level": level})

    def _get(self, request_id, values):
        from firmware import stored

        key = values.get("key")
        coming = stored.coming(self.relay.settings)
        if key is not None and key not in coming:
            raise ValueError("no such setting")
        keys = sorted(coming) if key is None else (key,)
        self._list(messages.GET, request_id, ({"key": k, "value": str(coming[k])} for k in keys))

    def _set(self, request_id, values):
        from firmware import stored

        key = values["key"]
        relay = self.relay
        settings = relay.settings
        now_s = relay.clock.now_s
        value = stored.change(settings, key, values.get("value"), values.get("trial_min"), now_s)
        if key == "name":
            relay.radio.rename(value)
            relay.announcer.changed()
        elif key == "log_level":
            relay.log.level = value
        answer = {
            "key": key,
            "value": str(value),
            "restart": value != settings[key],
            "trial_s": settings.trial_s(now_s),
        }
        self._reply(messages.SET, request_id, answer)

    def _confirm(self, request_id, values):
        self.relay.settings.confirm()
        self._reply(messages.CONFIRM, request_id, None)

    def _export(self, request_id, values):
        from firmware import transfer

        piece = transfer.export(self.relay.settings, values["what"], values["offset"])
        self._reply(messages.EXPORT, request_id, piece)

    def _import(self, request_id, values):
        from firmware import transfer

        before, self._taken = self._taken, None
        self._taken = transfer.take(self.relay.settings, before, values, self.relay.clock.now_s)
        self._reply(messages.IMPORT, request_id, {"size": self._taken[1], "offset": self._taken[2]})

    def _reboot(self, request_id, values):
        self._reply(messages.REBOOT, request_id, None)
        self.reboot = True

    def _time(self, request_id, values):
        self.relay.wall.set_by_host(values["time_ms"], self.relay.clock.uptime_ms())
        self._reply(messages.TIME, request_id, {"time_ms": values["time_ms"]})
