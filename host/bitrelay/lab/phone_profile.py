"""How the two phone apps behave, as far as a relay can tell (bitchat protocol, sections 1.3 to 1.8, 3.1 and 4)."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class PhoneProfile:
    """The figures of one app. Times are seconds, levels dBm, queue sizes bytes and frames per link.

    The app announces itself announce_delay_s after it is ready on a link it dialled, announce_served_s after it was
    subscribed to, and where announce_again_s is a number, once more so long after the peer connected. in_flight is how
    many frames the stack takes before the app has to wait; notifications_are_a_stream says how frames are taken out of
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
    announce_served_s: float
    announce_again_s: float | None
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
            announce_served_s=self.announce_served_s * pace,
            announce_again_s=None if self.announce_again_s is None else self.announce_again_s * pace,
        )


@dataclass(frozen=True)
class AppRules:
    """What one app takes and remembers, and how often it announces itself. Times are seconds; None: no such rule.

    ingress_skew_s and announce_skew_s: how far a frame's, or an announce's, time may be off to either side;
    announce_age_s: how old an announce may be. peer_life_s: how long a peer is known after it was last heard, and
    direct_peers_stay says that one at the end of a link is known as long as the link lives. binds_unverified: a link
    belongs to whom its first direct announce names, right or wrong, and is given to another at most every rebind_s.

    With no direct peer it announces every announce_alone_s (None: not at all), else every announce_every_s +-
    announce_jitter_s, from dense_peers on every announce_dense_s +- announce_dense_jitter_s; and when there was traffic
    within the last traffic_s, after announce_busy_s already. An announce that something calls for comes forced_gap_s
    after the one before at the earliest. replies: it answers a peer's first announce, and pings. limits_subscribers:
    it does not announce itself to a central that subscribes over and over.

    claim_life_s: how long a list of neighbors counts for source routes; hops_send_v2: only for hops that are seen to
    send version 2.
    """

    platform: str
    ingress_skew_s: float | None
    announce_skew_s: float | None
    announce_age_s: float | None
    leave_skew_s: float | None
    peer_life_s: float
    direct_peers_stay: bool
    binds_unverified: bool
    rebind_s: float
    announce_alone_s: float | None
    announce_every_s: float
    announce_jitter_s: float
    dense_peers: int
    announce_dense_s: float
    announce_dense_jitter_s: float
    traffic_s: float
    announce_busy_s: float | None
    forced_gap_s: float
    replies: bool
    limits_subscribers: bool
    afterglow_s: tuple[float, float]
    capabilities: int
    claim_life_s: float
    hops_send_v2: bool

    def hurried(self, pace: float) -> "AppRules":
        """The same app with shorter intervals between announces; what it checks and remembers stays."""
        return replace(
            self,
            announce_alone_s=None if self.announce_alone_s is None else self.announce_alone_s * pace,
            announce_every_s=self.announce_every_s * pace,
            announce_jitter_s=self.announce_jitter_s * pace,
            announce_dense_s=self.announce_dense_s * pace,
            announce_dense_jitter_s=self.announce_dense_jitter_s * pace,
            traffic_s=self.traffic_s * pace,
            announce_busy_s=None if self.announce_busy_s is None else self.announce_busy_s * pace,
            forced_gap_s=self.forced_gap_s * pace,
            afterglow_s=(self.afterglow_s[0] * pace, self.afterglow_s[1] * pace),
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
    announce_served_s=0.05,
    announce_again_s=None,
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
    announce_served_s=0.3,
    announce_again_s=1.2,
    in_flight=1,
    queue_bytes=1 << 20,
    queue_frames=256,
    notifications_are_a_stream=False,
)

PROFILES = {profile.platform: profile for profile in (IOS, ANDROID)}

IOS_RULES = AppRules(
    platform="ios",
    ingress_skew_s=120,
    announce_skew_s=None,
    announce_age_s=900,
    leave_skew_s=None,
    peer_life_s=60,
    direct_peers_stay=True,
    binds_unverified=True,
    rebind_s=60,
    announce_alone_s=4,
    announce_every_s=15,
    announce_jitter_s=4,
    dense_peers=6,
    announce_dense_s=30,
    announce_dense_jitter_s=8,
    traffic_s=5,
    announce_busy_s=10,
    forced_gap_s=0.15,
    replies=True,
    limits_subscribers=True,
    afterglow_s=(0.3, 0.6),
    capabilities=0x329,
    claim_life_s=60,
    hops_send_v2=True,
)

ANDROID_RULES = AppRules(
    platform="android",
    ingress_skew_s=None,
    announce_skew_s=600,
    announce_age_s=None,
    leave_skew_s=300,
    peer_life_s=180,
    direct_peers_stay=False,
    binds_unverified=False,
    rebind_s=0,
    announce_alone_s=None,
    announce_every_s=30,
    announce_jitter_s=0,
    dense_peers=1 << 16,
    announce_dense_s=30,
    announce_dense_jitter_s=0,
    traffic_s=0,
    announce_busy_s=None,
    forced_gap_s=0,
    replies=False,
    limits_subscribers=False,
    afterglow_s=(0, 0),
    capabilities=0x100,
    claim_life_s=60,
    hops_send_v2=False,
)

RULES = {rules.platform: rules for rules in (IOS_RULES, ANDROID_RULES)}
