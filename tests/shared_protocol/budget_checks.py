# What the budgets let pass, on either interpreter, and that both inner functions judge alike.
from shared_protocol import budget, budget_plain, frame
from shared_protocol.budget import CONGESTED, OVER_LINK, OVER_SENDER, OVER_UNSIGNED, RELAY, VERIFIED

MESSAGE = 0x02
NOISE = 0x11
FRAGMENT = 0x20
FILE = 0x22
UNKNOWN = 0x7F


def functions():
    try:
        from shared_protocol import budget_viper

        return (budget_plain.admit, budget_viper.admit)
    except ImportError:
        return (budget_plain.admit,)


# A frame of `size` bytes, or its beginning: budgets look at no more.
def head(kind, sender=b"sender01", signed=True):
    return frame.encode(kind, 7, 1786000000000, sender, b"", signature=bytes(64) if signed else None)


# How many of `per_s` frames a second pass in `seconds`, after five seconds of the same.
def passed(admit, data, size, situation, per_s, seconds):
    ledger = budget.ledger(77)
    n = 0
    for i in range((5 + seconds) * per_s):
        verdict = admit(ledger, data, size, 14, situation, i * 1000 // per_s)
        if verdict >= 0 and i >= 5 * per_s:
            n += 1
    return n / seconds


def check_honest_traffic_is_never_cut_while_there_is_room():
    for admit in functions():
        for kind, size, signed, per_s in (
            (FRAGMENT, 512, False, 80),  # iOS with two files at once
            (FRAGMENT, 512, False, 50),
            (MESSAGE, 200, True, 100),
            (NOISE, 256, False, 100),
            (UNKNOWN, 100, False, 50),
        ):
            for situation in (3, 3 | VERIFIED, 3 | RELAY):
                assert passed(admit, head(kind, signed=signed), size, situation, per_s, 5) == per_s, (kind, situation)


# Frames a second that pass of 500, by type, size and situation: what budget.py promises.
RATES = (
    (FILE, 512, 0, (132, 134)),
    (FILE, 512, VERIFIED, (132, 134)),
    (FILE, 512, RELAY, (132, 134)),  # one sender may no more there
    (FRAGMENT, 512, 0, (105, 107)),
    (MESSAGE, 32, 0, (350, 360)),
    (FILE, 512, CONGESTED, (4, 5)),
    (FILE, 512, CONGESTED | VERIFIED, (33, 34)),
    (FRAGMENT, 512, CONGESTED, (4, 5)),
    (FRAGMENT, 512, CONGESTED | VERIFIED, (26, 27)),
    (MESSAGE, 32, CONGESTED, (22, 23)),
    (MESSAGE, 32, CONGESTED | VERIFIED, (177, 179)),
)


def check_rates():
    for admit in functions():
        for kind, size, situation, (low, high) in RATES:
            rate = passed(admit, head(kind), size, situation, 500, 5)
            assert low <= rate <= high, (kind, size, situation, rate)


def check_many_senders_share_a_link():
    for admit in functions():
        for situation, low, high in (
            (0, 132, 134),
            (RELAY, 265, 268),
            (CONGESTED, 8, 9),
            (CONGESTED | RELAY, 8, 9),
        ):
            ledger = budget.ledger(5)
            n = 0
            for i in range(500 * 10):
                data = head(FILE, sender=b"sender%02d" % (i % 40))
                if admit(ledger, data, 512, 14, situation, i * 2) >= 0 and i >= 500 * 5:
                    n += 1
            assert low <= n / 5 <= high, (situation, n / 5)


def check_which_budget_is_over():
    for admit in functions():
        ledger = budget.ledger(1)
        # A relay's link has room for two senders; one sender comes to an end first.
        verdicts = [admit(ledger, head(FILE), 512, 14, RELAY, 0) for _ in range(200)]
        assert verdicts[-1] == OVER_SENDER
        verdicts = [admit(ledger, head(FILE, sender=b"sender%02d" % (i % 50)), 512, 14, RELAY, 0) for i in range(400)]
        assert verdicts[-1] == OVER_LINK
        ledger = budget.ledger(1)
        verdicts = [admit(ledger, head(FRAGMENT), 512, 14, 0, 0) for _ in range(200)]
        assert verdicts[-1] == OVER_UNSIGNED
        # What is refused is not charged, so signed talk still passes.
        assert admit(ledger, head(MESSAGE), 100, 14, 0, 0) >= 0
        # Links are apart, and so are senders on different links: nobody spoils an id for others.
        assert admit(ledger, head(FRAGMENT), 512, 14, 1, 0) >= 0


def check_ranks():
    for admit in functions():
        ledger = budget.ledger(9)
        for kind, rank in (
            (FRAGMENT, 0),
            (UNKNOWN, 0),
            (FILE, 0),
            (MESSAGE, 2),
            (0x01, 2),
            (NOISE, 4),
            (0x10, 4),
            (0x03, 4),
        ):
            assert admit(ledger, head(kind), 50, 14, 0, 0) == rank
            assert admit(ledger, head(kind), 50, 14, VERIFIED, 0) == rank + 1


def check_what_counts_as_unsigned():
    for admit in functions():
        for kind, signed, unsigned in (
            (FRAGMENT, True, True),
            (NOISE, True, True),
            (0x10, True, True),
            (UNKNOWN, True, True),
            (FILE, True, False),
            (FILE, False, True),
            (frame.TYPE_IDENTITY, True, False),
        ):
            ledger = budget.ledger(3)
            seen = [admit(ledger, head(kind, signed=signed), 512, 14, 0, 0) for _ in range(150)]
            assert (OVER_UNSIGNED in seen) == unsigned, (kind, signed)


def check_strangers_never_keep_a_verified_author_out():
    for admit in functions():
        for congested in (0, CONGESTED):
            ledger = budget.ledger(21)
            lost = 0
            for ms in range(20000):
                admit(ledger, head(MESSAGE, sender=b"flood%03d" % (ms % 500)), 100, 14, congested, ms)
                admit(ledger, head(UNKNOWN, sender=b"flood%03d" % (ms % 500)), 400, 14, congested, ms)
                if ms % 100 == 0 and admit(ledger, head(MESSAGE), 200, 14, congested | VERIFIED, ms) < 0:
                    lost += 1
            assert lost == 0, (congested, lost)


def check_time_that_wraps():
    for admit in functions():
        data = head(FILE)
        ledger = budget.ledger(2)
        for start in (0, 2**26 - 500, 2**30 - 500):
            n = 0
            for i in range(2000):
                if admit(ledger, data, 512, 14, VERIFIED, start + i & 2**30 - 1) >= 0:
                    n += 1
            assert 230 <= n <= 370, (start, n)


# Everything that both functions say about a mixed hour, as one number.
def outcome():
    numbers = []
    for admit in functions()[-1:]:
        ledger = budget.ledger(12345)
        seed = 1
        verdict = 0
        for i in range(20000):
            seed = (seed * 75 + 74) % 65537
            data = head(
                (MESSAGE, FRAGMENT, NOISE, UNKNOWN, FILE)[seed % 5],
                sender=b"send%04d" % (seed % 23),
                signed=seed % 3 > 0,
            )
            said = admit(ledger, data, seed % 512, 14, seed >> 4 & 0x7F, i >> 2)
            verdict = (verdict * 31 + said + 3) & 0xFFFFFF
        numbers.append(verdict)
    return numbers


# A phone that floods and phones that talk, heard by one relay: frames that arrive wait 60 to 150 ms in one of 20
# slots and then for the air, which carries so many us of frames a ms on all links together.
class Crowd:
    SLOTS = 20

    def __init__(self, admit, seed):
        self.admit = admit
        self.ledger = budget.ledger(seed)
        self.held = []  # (due, cost)
        self.air_free_at = 0
        self.came = {}
        self.went = {}
        self.taken = {}

    def hear(self, name, link, data, size, verified, now):
        self.came[name] = self.came.get(name, 0) + 1
        held = len(self.held)
        # The pool's own rule: the last third is for links that have less than a quarter.
        if held >= self.SLOTS - self.SLOTS // 3 and self.taken.get(link, 0) >= self.SLOTS // 4 or held >= self.SLOTS:
            return
        congested = CONGESTED if self.SLOTS - held < self.SLOTS * 1 // 2 else 0
        if self.admit(self.ledger, data, size, 14, link | congested | (VERIFIED if verified else 0), now) < 0:
            return
        # Three copies, each 0.5 ms and 10 us a byte of air.
        due = now + 60 + (now * 37 + held * 11) % 90
        self.taken[link] = self.taken.get(link, 0) + 1
        self.held.append((due, 3 * (500 + 10 * size), link, name))

    def serve(self, now):
        for item in [item for item in self.held if item[0] <= now]:
            if self.air_free_at > now * 1000:
                break
            self.air_free_at = max(self.air_free_at, now * 1000) + item[1]
            self.held.remove(item)
            self.taken[item[2]] -= 1
            self.went[item[3]] = self.went.get(item[3], 0) + 1


MADE_UP = "made up ids"
FLOODS = (
    ("short messages, one id", lambda i: (head(MESSAGE, sender=b"flooder!"), 100)),
    (MADE_UP, lambda i: (head(MESSAGE, sender=b"fake%04d" % (i % 5000)), 100)),
    ("fragments", lambda i: (head(FRAGMENT, sender=b"flooder!", signed=False), 512)),
    ("unknown types", lambda i: (head(UNKNOWN, sender=b"flooder!", signed=False), 300)),
    ("an honest phone's id", lambda i: (head(MESSAGE, sender=b"phone 1!"), 200)),
)


# What share of the frames of honest phones is sent on: of those with links of their own, and of those behind the relay
# whose link brings the flood.
def shares(admit, flood, verified):
    came = {"near": 0, "behind": 0}
    went = {"near": 0, "behind": 0}
    # More than one seed: with some, one of the phones shares the flooder's bucket for a while.
    for seed in (4711, 1, 2):
        crowd = Crowd(admit, seed)
        for now in range(6000):
            data, size = flood(now)
            crowd.hear("flood", RELAY, data, size, False, now)
            for phone in range(1, 7):
                if now % 200 == 31 * phone and now < 5800:
                    name, link = ("near", phone) if phone < 4 else ("behind", RELAY)
                    crowd.hear(name, link, head(MESSAGE, sender=b"phone %d!" % phone), 200, verified, now)
            crowd.serve(now)
        for name in came:
            came[name] += crowd.came[name]
            went[name] += crowd.went.get(name, 0)
    return [went[name] / came[name] for name in ("near", "behind")]


def check_a_flood_costs_its_neighbours_little():
    for title, flood in FLOODS:
        for verified in (True, False):
            near, behind = shares(functions()[-1], flood, verified)
            assert near >= 0.95, (title, verified, near)
            # Strangers behind the same relay as a stranger of many names cannot be told from it.
            assert behind >= 0.9 or (title == MADE_UP and not verified), (title, verified, behind)


def check_without_budgets_it_would_cost_them_all():
    assert shares(lambda *arguments: 2, FLOODS[0][1], True)[1] < 0.1


CHECKS = [name for name in globals() if name.startswith("check_")]
CHECKS.sort()
