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
from firmware.clock import Clock
from firmware.commands import Commands
from firmware.console import Console
from firmware.dialer import Dialer
from firmware.forwarder import Forwarder
from firmware.health import CHECK_MS, Health, give_to_repl
from firmware.links import Links, records
from firmware.log import Log
from firmware.opening import Opener
from firmware.radio import CHARACTERISTIC, SERVICE, Radio
from firmware.settings import Settings
from firmware.slots import FramePool
from firmware.upkeep import Upkeep
from shared_protocol import console as messages
from shared_protocol import counters as c
from shared_protocol.dedup import DuplicateCache

_BEAT_MS = const(100)
_AGAIN_S = const(60)


class Relay:
    # folder: of the board's files, with its "/". booted: see trial.py.
    def __init__(self, folder="/", booted=True):
        from firmware import identity

        # Radio first, memory after: on an ESP32 the stack must have its share before the heap grows. Off before that:
        # somebody else's program may have left it on.
        ble = bluetooth.BLE()
        ble.active(False)
        ble.active(True)
        # The secret keeps anybody from making frames that look like somebody else's to this cache.
        cache = DuplicateCache(secret=os.urandom(16))
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
        self.forwarder = Forwarder(links, pool, cache, counts, clock, randint)
        self.console = console = Console(counts)
        self.commands = commands = Commands(self, console)
        console.answer = commands.answer
        log.emit = console.event
        identity.keep(folder, log)
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
                upkeep_at = ticks_add(now, _BEAT_MS)
                if radio.error is not None:
                    raise radio.error
            late = ticks_diff(now, check_at)
            if late >= 0:
                self.health.check(late)
                if settings.trial_s(self.clock.now_s) == 0:
                    self.end_trial()
                check_at = ticks_add(now, CHECK_MS)
            if wait < 0:
                await self.flag.wait()
            else:
                await asyncio.sleep_ms(wait)

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
        tasks = [asyncio.create_task(self.guard(loop)) for loop in (self.mesh(), self.beat())]
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
