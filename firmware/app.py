# Wires the relay together and owns its life: radio first, then all memory, then the loops.
import asyncio
import gc
import os
from random import randint
from time import ticks_add, ticks_diff, ticks_ms

import bluetooth
import machine
from micropython import const

from firmware import rare
from firmware.announcer import Announcer
from firmware.clock import Clock
from firmware.commands import Commands
from firmware.console import Console
from firmware.dialer import Dialer
from firmware.forwarder import Forwarder
from firmware.health import CHECK_MS, Health, give_to_repl
from firmware.keys import Keys
from firmware.links import Links, records
from firmware.log import Log
from firmware.opening import Opener
from firmware.proof import Proof
from firmware.radio import CHARACTERISTIC, SERVICE, Radio
from firmware.settings import Settings
from firmware.slots import FramePool
from firmware.spare_time import SpareTime
from firmware.upkeep import Upkeep
from firmware.verifier import APART_MS, Verifier
from shared_protocol import console as messages
from shared_protocol import counters as c
from shared_protocol.dedup import DuplicateCache
from shared_protocol.frame import TYPE_PING
from shared_protocol.ping import SIZE as PING_SIZE
from shared_protocol.ping import PingBudget
from shared_protocol.wall_time import WallTime

_BEAT_MS = const(100)
_AGAIN_S = const(60)


class Relay:
    # folder: of the board's files, with its "/". booted: see trial.py.
    def __init__(self, folder="/", booted=True):
        from firmware import identity
        from shared_protocol import budget

        # Radio first, memory after: on an ESP32 the stack must have its share before the heap grows. Off before that:
        # somebody else's program may have left it on.
        ble = bluetooth.BLE()
        ble.active(False)
        ble.active(True)
        # The secret keeps anybody from making frames that look like somebody else's to this cache.
        cache = DuplicateCache(secret=os.urandom(16))
        ledger = budget.ledger(randint(0, 0x3FFFFFFF))
        self.settings = settings = Settings(folder, booted)
        self.flag = asyncio.ThreadSafeFlag()
        self.error = None
        self.counts = counts = [0] * c.COUNT
        self.clock = clock = Clock()
        self.log = log = Log(settings["log_level"])
        log.uptime_ms = clock.uptime_ms
        self.pool = pool = FramePool(settings["frame_slots"], records(settings["max_links"]))
        self.links = links = Links(pool, counts, settings["max_links"])
        self.radio = radio = Radio(ble, links, pool, counts, clock, self.flag.set)
        radio.start(settings["name"])
        dialer = Dialer(radio.address, randint)
        opener = Opener(radio, links, dialer, counts, settings["phone_slots"], log, SERVICE, CHARACTERISTIC)
        self.upkeep = Upkeep(radio, links, dialer, opener, counts, settings, log, clock.tenths)
        self.forwarder = forwarder = Forwarder(links, pool, cache, counts, clock, randint, ledger)
        self.wall = wall = WallTime()
        self.keys = keys = Keys(*identity.keep(folder, log))
        self.announcer = opener.announcer = announcer = Announcer(
            keys, wall, clock, links, pool, counts, settings, randint
        )
        self.verifier = verifier = Verifier(keys, links, forwarder.authors, wall, clock, announcer)
        self.pings = PingBudget(len(links.all))
        forwarder.on_announce = verifier.take
        forwarder.on_own = self.answer
        self.upkeep.greeter.time_ms = self.time_ms
        self.spare_time = SpareTime(forwarder.is_busy, log)
        self.spare_time.jobs = (
            (keys.is_due, keys.make_steps),
            (announcer.is_due, announcer.renew_steps),
            (verifier.is_due, verifier.check_steps),
        )
        self.proof = Proof(self.upkeep.greeter, forwarder, self.spare_time, folder, log)
        self.console = console = Console(counts)
        self.commands = commands = Commands(self, console)
        console.answer = commands.answer
        log.emit = console.event
        rare.forget()
        self.health = Health(clock, links, settings["watchdog_s"], settings["led_pin"], log)
        gc.collect()
        gc.threshold(-1)
        radio.listen(dialer)

    # Frames, links and the watchdog, in one loop: if it stands still, the watchdog resets the board.
    async def mesh(self):
        forwarder = self.forwarder
        radio = self.radio
        settings = self.settings
        upkeep_at = check_at = ticks_ms()
        while True:
            now = ticks_ms()
            wait = forwarder.step(now)
            if radio.dirty or ticks_diff(now, upkeep_at) >= 0:
                self.clock.update()
                self.upkeep.step(self.clock.tenths)
                self.tend(self.announcer.step)
                upkeep_at = ticks_add(now, _BEAT_MS)
                if radio.error is not None:
                    raise radio.error
            late = ticks_diff(now, check_at)
            if late >= 0:
                self.health.check(late)
                self.tend(self.look)
                if settings.trial_s(self.clock.now_s) == 0:
                    self.end_trial()
                check_at = ticks_add(now, CHECK_MS)
            if wait < 0:
                await self.flag.wait()
            else:
                await asyncio.sleep_ms(wait)

    # What we do in our own name must not end what we do for others.
    def tend(self, affair):
        try:
            affair()
        except MemoryError:
            self.log.warning("no memory to speak for ourselves")

    # Once a second: what follows from the keys, and from the time.
    def look(self):
        upkeep = self.upkeep
        roster = self.links.roster
        if self.keys.ready and upkeep.greeter.identity is None:
            from firmware import bitcraps

            roster.own_id[:] = self.keys.on_air_id
            upkeep.introduce(self.keys)
            self.announcer.hello = bitcraps.own_hello(self.keys)
            rare.forget()
        now = self.wall.now_ms(self.clock.uptime_ms())
        if now is None or self.wall.disputed:
            roster.any_time()
        else:
            roster.window[:8] = (now - APART_MS).to_bytes(8, "big")
            roster.window[8:] = (now + APART_MS).to_bytes(8, "big")
        upkeep.advertiser.announcing = not self.announcer.silence()

    # Unix milliseconds, None without time.
    def time_ms(self):
        return self.wall.now_ms(self.clock.uptime_ms())

    # A frame addressed to us, which nobody else gets.
    def answer(self, link, frame, header):
        if header.type != TYPE_PING:
            self.forwarder.hear_bitcraps(link, frame)
        elif header.payload_len >= PING_SIZE and not header.original_size:
            if self.pings.take(link.index, self.clock.tenths):
                author = header.sender_at
                nonce = header.payload_at
                self.tend(
                    lambda: self.announcer.pong(link, bytes(frame[author : author + 8]), frame[nonce : nonce + 8])
                )

    # Nobody has confirmed the settings on trial. Those before need a restart if the others are in force by now.
    def end_trial(self):
        from firmware import stored

        settings = self.settings
        try:
            stored.revert(settings)
            self.log.warning("settings on trial were not confirmed; those before are back")
            if settings.waits:
                self.commands.reboot = True
        except (OSError, ValueError) as error:
            if settings.trial_ends_s is not None:
                settings.trial_ends_s += _AGAIN_S
            self.log.error("settings on trial: those before cannot be put back: %r" % error)
        rare.forget()

    # Wakes the mesh loop for what it does by the clock.
    async def beat(self):
        while True:
            await asyncio.sleep_ms(_BEAT_MS)
            self.flag.set()

    async def talk(self):
        console = self.console
        console.event(messages.EVENT_HELLO, self.commands.info())
        for trouble in self.settings.trouble:
            self.log.warning("settings: " + trouble)
        while not (console.stop or self.commands.reboot or self.error):
            await asyncio.sleep_ms(console.step(ticks_ms()))
        console.flush()

    async def guard(self, loop):
        try:
            await loop
        except Exception as error:  # ends the relay in run(), where it is told and answered by a restart
            self.error = error

    # Until the console asks for the REPL or a reboot. Raises what stopped a loop.
    async def run(self):
        loops = (self.mesh(), self.beat(), self.spare_time.run(), self.proof.run())
        tasks = [asyncio.create_task(self.guard(loop)) for loop in loops]
        await self.talk()
        for task in tasks:
            task.cancel()
        if self.error is not None:
            raise self.error


# Runs the relay until the REPL is asked for. The caller has made Ctrl-C a byte like any other: the console's reader
# finds it, outside of frames. Leaves nothing behind, so that the relay can be run again. booted: see trial.py.
def main(booted):
    ble = bluetooth.BLE()
    try:
        relay = Relay(booted=booted)
        asyncio.run(relay.run())
        reboot = relay.commands.reboot
    finally:
        # The stack keeps its handler, and with it all of the relay.
        ble.irq(None)
        ble.active(False)
        give_to_repl()
    if reboot:
        machine.reset()
