import sys
from binascii import crc32

import storage
from checks_announcer import NOW, ON_AIR_ID, Speaker
from rig import Rig

from firmware.commands import Commands
from firmware.log import Log
from shared_protocol import console as messages


# The parts of app.Relay that commands use, over a rig; answers and events are kept.
class Relay:
    def __init__(self):
        storage.remove_all()
        self.rig = Speaker()
        self.forwarder = self.rig.forwarder
        self.links = self.rig.links
        self.pool = self.rig.pool
        self.counts = self.rig.counts
        self.log = Log(0)
        self.clock = self.rig.clock
        self.wall = self.rig.wall
        self.keys = self.rig.announcer.keys
        self.announcer = self.rig.announcer
        self.settings = storage.start()
        self.radio = self
        self.health = self
        self.flag = self
        self.is_set = False
        self.loop_late_ms = 0
        self.address = bytes(6)
        self.renamed = None

    def set(self):
        self.is_set = True

    def rename(self, name):
        self.renamed = name


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
    for kind in (
        messages.LISTEN,
        messages.SEND,
        messages.LOG,
        messages.SET,
        messages.TIME,
        messages.EXPORT,
        messages.IMPORT,
    ):
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


def check_what_is_sent_and_finds_no_room_in_the_stack_is_tried_again_by_the_mesh_loop():
    commands = Commands(Relay(), Console())
    rig = commands.relay.rig
    _ask(messages.SEND, {"frame": rig.frame()}, commands)
    assert not commands.relay.is_set
    rig.stack.room = 0
    _ask(messages.SEND, {"frame": rig.frame()}, commands)
    assert commands.relay.is_set


def check_links_are_records_and_then_done():
    relay = Relay()
    for number, mode in ((1, -1), (2, 0)):
        relay.links.all[number].bitcraps = True
        relay.links.all[number].mode = mode
    told = _ask(messages.LINKS, commands=Commands(relay, Console()))
    assert [kind for kind, _, _ in told] == [messages.LINKS | messages.ANSWER] * 3 + [messages.DONE]
    assert [(values["service"], values["mode"]) for _, _, values in told[:3]] == [
        ("bitchat", None),
        ("bitcraps", "legacy"),
        ("bitcraps", "full"),
    ]
    assert told[-1][2]["count"] == 3


def check_stats_carry_every_counter():
    commands = Commands(Relay(), Console())
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


def check_whoever_carries_frames_on_hears_no_copies():
    for new, told in ((True, ["relayed"]), (False, ["relayed", "duplicate"])):
        commands = Commands(Relay(), Console())
        rig = commands.relay.rig
        _ask(messages.LISTEN, {"on": True, "new": new}, commands)
        frame = rig.frame()
        rig.hear(frame)
        rig.hear(frame)
        rig.run()
        assert [values["verdict"] for _, _, values in commands.console.told[1:]] == told


def check_listening_can_be_ended():
    commands = Commands(Relay(), Console())
    _ask(messages.LISTEN, {"on": True}, commands)
    _ask(messages.LISTEN, {"on": False}, commands)
    assert commands.relay.forwarder.on_frame is None


def _answer(kind, values=None, commands=None):
    ((answer, _, told),) = _ask(kind, values, commands)
    assert answer == kind | messages.ANSWER, told
    return told


def check_a_setting_that_is_set_is_told_with_what_becomes_of_it():
    commands = Commands(Relay(), Console())
    told = _answer(messages.SET, {"key": "name", "value": "attic"}, commands)
    assert told == {"key": "name", "value": "attic", "restart": False, "trial_s": None}
    assert commands.relay.renamed == "attic" and commands.info()["name"] == "attic"
    told = _answer(messages.SET, {"key": "log_level", "value": "4"}, commands)
    assert not told["restart"] and commands.relay.log.level == 4
    told = _answer(messages.SET, {"key": "watchdog_s", "value": "60"}, commands)
    assert told == {"key": "watchdog_s", "value": "60", "restart": True, "trial_s": None}
    told = _answer(messages.SET, {"key": "max_links", "value": "3", "trial_min": 2}, commands)
    assert told == {"key": "max_links", "value": "3", "restart": True, "trial_s": 120}
    told = _answer(messages.SET, {"key": "name"}, commands)
    assert told["value"] == "bitrelay" and not told["restart"]


def check_settings_are_listed_as_they_will_be():
    commands = Commands(Relay(), Console())
    _ask(messages.SET, {"key": "max_links", "value": "3"}, commands)
    told = _ask(messages.GET, {}, commands)
    assert [kind for kind, _, _ in told] == [messages.GET | messages.ANSWER] * 8 + [messages.DONE]
    assert {"key": "max_links", "value": "3"} in [values for _, _, values in told]
    told = _ask(messages.GET, {"key": "name"}, commands)
    assert told[0][2] == {"key": "name", "value": "bitrelay"} and told[1][2] == {"count": 1}
    ((kind, _, values),) = _ask(messages.GET, {"key": "colour"}, commands)
    assert kind == messages.ERROR and values["code"] == "refused"


def check_info_tells_what_waits_and_what_is_on_trial():
    commands = Commands(Relay(), Console())
    info = _answer(messages.INFO, commands=commands)
    assert info["build"] == "" and info["restart"] is False and info["trial_s"] is None
    _ask(messages.SET, {"key": "max_links", "value": "3"}, commands)
    commands.relay.clock.now_s = 100
    info = _answer(messages.INFO, commands=commands)
    assert info["restart"] is True and info["trial_s"] == 500
    _answer(messages.CONFIRM, commands=commands)
    _answer(messages.CONFIRM, commands=commands)
    info = _answer(messages.INFO, commands=commands)
    assert info["restart"] is True and info["trial_s"] is None


def check_the_build_is_told():
    relay = Relay()
    storage.write("0123456789ab\n", "build.txt")
    assert Commands(relay, Console()).info()["build"] == "0123456789ab"
    storage.write(b"\xff" * 100, "build.txt")
    assert Commands(relay, Console()).info()["build"] == ""


def check_files_go_both_ways_in_pieces():
    commands = Commands(Relay(), Console())
    data = b'{"name":"attic"}'
    piece = {"what": "settings", "size": len(data), "offset": 0, "data": data[:5]}
    assert _answer(messages.IMPORT, piece, commands) == {"size": 16, "offset": 5}
    piece = {"what": "settings", "size": len(data), "offset": 5, "data": data[5:], "crc": crc32(data)}
    assert _answer(messages.IMPORT, piece, commands) == {"size": 16, "offset": 16}
    told = _answer(messages.EXPORT, {"what": "settings", "offset": 0}, commands)
    assert told == {"size": 16, "offset": 0, "data": data}
    assert commands.info()["restart"]
    # Once refused, it begins anew.
    ((kind, _, values),) = _ask(messages.IMPORT, piece, commands)
    assert kind == messages.ERROR and values["code"] == "refused" and "does not follow" in values["text"]


def check_what_is_rarely_needed_does_not_stay_in_memory():
    commands = Commands(Relay(), Console())
    for kind, values in (
        (messages.SET, {"key": "max_links", "value": "3"}),
        (messages.GET, {}),
        (messages.EXPORT, {"what": "settings", "offset": 0}),
        (messages.SET, {"key": "max_links", "value": "99"}),
    ):
        _ask(kind, values, commands)
        left = [name for name in sys.modules if name.split(".")[-1] in ("files", "stored", "trial", "transfer")]
        assert left == [] and "shared_protocol.settings" not in sys.modules, left


def check_info_tells_who_the_relay_is_and_whether_it_announces_itself():
    relay = Relay()
    info = Commands(relay, Console()).info()
    assert info["on_air_id"] == ON_AIR_ID and info["identity"] == "ok"
    assert info["clock"] == "host" and info["time_ms"] == NOW and not info["clock_disputed"]
    assert "keys" in info["silent"] and info["neighbors"] == 0
    relay.announcer.changed()
    relay.rig.pass_time(1)
    assert Commands(relay, Console()).info()["silent"] == ""


def check_a_host_sets_the_time_and_an_absurd_one_is_refused():
    relay = Relay()
    commands = Commands(relay, Console())
    ((kind, _, values),) = _ask(messages.TIME, {"time_ms": NOW + 5000}, commands)
    assert kind == messages.TIME | messages.ANSWER and relay.wall.now_ms(0) == NOW + 5000
    for absurd in (0, 10**12, 1 << 60):
        ((kind, _, values),) = _ask(messages.TIME, {"time_ms": absurd}, commands)
        assert kind == messages.ERROR and values["code"] == "refused"
    assert relay.wall.now_ms(0) == NOW + 5000
