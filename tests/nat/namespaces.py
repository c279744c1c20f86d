"""Two hosts behind two translating routers and a public network between them, in network namespaces.

    anna 192.168.1.2 -- router 203.0.113.10 --+-- bridge --+-- router 203.0.113.20 -- bela 10.1.1.2
                                              |
                                 public 203.0.113.1, 203.0.113.2

Namespaces belong to processes that sleep, so that nothing is left when those end.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

PUBLIC, PUBLIC_2 = "203.0.113.1", "203.0.113.2"

# How each kind of router translates; {host} is the address behind it. None of them answers for itself: one that did
# would take a peer's first datagram for its own, and then use another port for the host's.
_CHAINS = {
    "port restricted": "add rule ip nat post oifname wan masquerade",
    "symmetric": "add rule ip nat post oifname wan masquerade random,fully-random",
    "full cone": (
        "add rule ip nat post oifname wan masquerade\n"
        "add chain ip nat pre {{ type nat hook prerouting priority -100 ; }}\n"
        "add rule ip nat pre iifname wan udp dport 1024-65535 dnat to {host}"
    ),
}


def why_not() -> str | None:
    """Why namespaces cannot be made here, None if they can."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    missing = [name for name in ("unshare", "nsenter", "ip", "nft") if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    commands = "echo 1 > /proc/sys/net/ipv4/ip_forward && ip link set lo up && nft add table ip nat"
    tried = subprocess.run(["unshare", "-n", "sh", "-c", commands], capture_output=True, text=True, timeout=20)
    return None if tried.returncode == 0 else f"namespaces cannot be made: {tried.stderr.strip()[:200]}"


class Namespace:
    def __init__(self) -> None:
        self._process = subprocess.Popen(["unshare", "-n", "sleep", "1000"])
        self.pid = self._process.pid
        # It is there when the process has left ours.
        ours = os.readlink("/proc/self/ns/net")
        while os.readlink(f"/proc/{self.pid}/ns/net") == ours:
            assert self._process.poll() is None, "no namespace"

    def command(self, words: Sequence[str]) -> list[str]:
        """The command that runs another one in here."""
        return ["nsenter", "-t", str(self.pid), "-n", *words]

    def run(self, script: str) -> None:
        """Run shell commands in here, one a line."""
        done = subprocess.run(self.command(["sh", "-ec", script]), capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, done.stderr

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


class TwoRouters:
    """The network, each router of a kind: "full cone", "port restricted" or "symmetric"."""

    def __init__(self, anna_behind: str, bela_behind: str) -> None:
        self._exit = ExitStack()
        self._kinds = (anna_behind, bela_behind)

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self._exit.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()

    def _build(self) -> None:
        self.public = self._namespace()
        self.public.run(
            "ip link set lo up\nip link add bridge type bridge\nip link set bridge up\n"
            f"ip address add {PUBLIC}/24 dev bridge\nip address add {PUBLIC_2}/24 dev bridge"
        )
        self.anna_router, self.anna = self._host(self._kinds[0], "203.0.113.10", "192.168.1")
        self.bela_router, self.bela = self._host(self._kinds[1], "203.0.113.20", "10.1.1")

    def _namespace(self) -> Namespace:
        namespace = Namespace()
        self._exit.callback(namespace.close)
        return namespace

    def _host(self, kind: str, outside: str, network: str) -> tuple[Namespace, Namespace]:
        router, host = self._namespace(), self._namespace()
        port = f"to{outside.rpartition('.')[2]}"
        self.public.run(
            f"ip link add {port} type veth peer name wan netns {router.pid}\n"
            f"ip link set {port} master bridge\nip link set {port} up"
        )
        router.run(
            "echo 1 > /proc/sys/net/ipv4/ip_forward\n"
            f"ip link set lo up\nip address add {outside}/24 dev wan\nip link set wan up\n"
            f"ip link add lan type veth peer name eth netns {host.pid}\n"
            f"ip address add {network}.1/24 dev lan\nip link set lan up"
        )
        rules = (
            "add table ip nat\nadd chain ip nat post { type nat hook postrouting priority 100 ; }\n"
            + _CHAINS[kind].format(host=f"{network}.2")
            + "\nadd table ip own\nadd chain ip own in { type filter hook input priority 0 ; }\n"
            "add rule ip own in iifname wan udp dport 1024-65535 drop"
        )
        router.run(f"nft -f - <<'rules'\n{rules}\nrules")
        host.run(
            f"ip link set lo up\nip address add {network}.2/24 dev eth\nip link set eth up\n"
            f"ip route add default via {network}.1"
        )
        return router, host
