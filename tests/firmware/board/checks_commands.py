from rig import Rig

from firmware.commands import Commands
from firmware.log import Log
from shared_protocol import console as messages


# The parts of app.Relay that commands use, over a rig; answers and events are kept.
class Relay:
    def __init__(self):
        self.rig = Rig(degree=3)
        self.forwarder = self.rig.forwarder
        self.links = self.rig.links
        self.pool = self.rig.pool
        self.counts = self.rig.counts
        self.log = Log(0)
        self.clock = self.rig.clock
        self.settings = {"name": "x"}


class Console:
    def __init__(self):
        self.told = []

    def send(self, kind, request_id, values):
        messages.encode(kind, request_id, values)
        self.told.append((kind, request_id, values))

    def event(self, kind, values):
        messages.encode(kind, 0, values)
        self.told.append((kind, 0, values))


def _ask(kind, values=None, commands=None):
    commands = commands or Commands(Relay(), Console())
    commands.console.told = []
    commands.answer(kind, 7, values or {})
    return commands.console.told


def check_an_unknown_request_is_refused_not_ignored():
    ((kind, request_id, values),) = _ask(0x3F)
    assert kind == messages.ERROR and request_id == 7 and values["code"] == "unknown"


def check_a_request_that_lacks_a_field_is_refused():
    for kind in (messages.LISTEN, messages.SEND, messages.LOG, messages.SET, messages.TIME):
        ((answer, _, values),) = _ask(kind)
        assert answer == messages.ERROR and values["code"] == "incomplete", kind


def check_send_takes_whole_frames_only():
    rig = Rig()
    good = rig.frame()
    ((kind, _, values),) = _ask(messages.SEND, {"frame": good})
    assert kind == messages.SEND | messages.ANSWER and values["links"] == 3
    for bad in (b"", good[:-1], b"\x09" + good[1:], rig.frame(payload=bytes(600))):
        ((kind, _, values),) = _ask(messages.SEND, {"frame": bad})
        assert kind == messages.ERROR and values["code"] == "refused", bad


def check_links_are_records_and_then_done():
    told = _ask(messages.LINKS)
    assert [kind for kind, _, _ in told] == [messages.LINKS | messages.ANSWER] * 3 + [messages.DONE]
    assert told[-1][2]["count"] == 3


def check_stats_carry_every_counter():
    commands = Commands(Relay(), Console())
    commands.relay.health = commands.relay
    commands.relay.loop_late_ms = 0
    commands.relay.counts[0] = 1 << 33
    ((_, _, values),) = _ask(messages.STATS, commands=commands)
    assert len(values["counters"]) == len(commands.relay.counts) and values["counters"][0] == 0


def check_listening_tells_frames_until_it_is_over():
    commands = Commands(Relay(), Console())
    rig = commands.relay.rig
    _ask(messages.LISTEN, {"on": True}, commands)
    rig.hear(rig.frame())
    rig.run()
    assert [kind for kind, _, _ in commands.console.told][1:] == [messages.EVENT_FRAME]
    commands.relay.clock.now_s += 61
    rig.hear(rig.frame())
    rig.hear(rig.frame())
    rig.run()
    assert len(commands.console.told) == 2 and rig.forwarder.on_frame is None


def check_listening_can_be_ended():
    commands = Commands(Relay(), Console())
    _ask(messages.LISTEN, {"on": True}, commands)
    _ask(messages.LISTEN, {"on": False}, commands)
    assert commands.relay.forwarder.on_frame is None
