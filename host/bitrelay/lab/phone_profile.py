"""How the two phone apps behave on a link, as far as a relay can tell (bitchat protocol, sections 1.3 to 1.6)."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class PhoneProfile:
    """The figures of one app. Times are seconds, levels dBm, queue sizes bytes and frames per link.

    in_flight is how many frames the stack takes before the app has to wait; announce_alone_s is None for an app that
    announces at intervals only once it knows a neighbor; notifications_are_a_stream says how frames are taken out of
    what a peripheral notifies.
    """

    platform: str
    max_dialled: int
    max_links: int
    weakest: float
    weakest_alone: float
    connect_spacing_s: float
    connect_timeout_s: float
    after_timeout_s: float
    after_drop_s: float
    supervision_s: float
    mtu_delay_s: float
    ready_delay_s: float
    announce_delay_s: float
    announce_alone_s: float | None
    announce_every_s: float
    announce_jitter_s: float
    in_flight: int
    queue_bytes: int
    queue_frames: int
    notifications_are_a_stream: bool

    def hurried(self, pace: float) -> "PhoneProfile":
        """The same phone with everything that only waits for a peer shortened: pace 0.25 is four times as fast."""
        return replace(
            self,
            connect_spacing_s=self.connect_spacing_s * pace,
            connect_timeout_s=max(1.0, self.connect_timeout_s * pace),
            after_timeout_s=self.after_timeout_s * pace,
            after_drop_s=self.after_drop_s * pace,
            mtu_delay_s=self.mtu_delay_s * pace,
            ready_delay_s=self.ready_delay_s * pace,
            announce_delay_s=self.announce_delay_s * pace,
        )


IOS = PhoneProfile(
    platform="ios",
    max_dialled=6,
    max_links=8,
    weakest=-90,
    weakest_alone=-95,
    connect_spacing_s=0.5,
    connect_timeout_s=8,
    after_timeout_s=15,
    after_drop_s=3,
    supervision_s=0.72,
    mtu_delay_s=0,
    ready_delay_s=0,
    announce_delay_s=0.05,
    announce_alone_s=4,
    announce_every_s=15,
    announce_jitter_s=4,
    in_flight=6,
    queue_bytes=1_000_000,
    queue_frames=1 << 16,
    notifications_are_a_stream=True,
)

ANDROID = PhoneProfile(
    platform="android",
    max_dialled=8,
    max_links=8,
    weakest=-85,
    weakest_alone=-85,
    connect_spacing_s=0.5,
    connect_timeout_s=10,
    after_timeout_s=5,
    after_drop_s=5,
    supervision_s=5,
    mtu_delay_s=0.2,
    ready_delay_s=0.2,
    announce_delay_s=0.2,
    announce_alone_s=None,
    announce_every_s=30,
    announce_jitter_s=0,
    in_flight=1,
    queue_bytes=1 << 20,
    queue_frames=256,
    notifications_are_a_stream=False,
)

PROFILES = {profile.platform: profile for profile in (IOS, ANDROID)}
