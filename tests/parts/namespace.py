"""Runs a function in a network namespace of its own, with a VPN interface that can come and go."""

import atexit
import ctypes
import functools
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable

CLONE_NEWNET = 0x40000000
VPN_ADDRESS = "10.2.0.2"
VPN_ADDRESSES = ((f"{VPN_ADDRESS}/24", ""), ("fd00:2::2/64", "nodad"))
ADDRESS_FIRST_SECONDS = 0.02
"""Long enough for qBittorrent to try the address too early, which is else a matter of luck."""
PEER_ADDRESS = "203.0.113.9"
"""A public one: qBittorrent does not count a private one as a peer from outside."""


class NamespaceMissing(Exception):
    """No network namespace can be made here; the message says why."""


def require_namespaces() -> None:
    """Raise NamespaceMissing where no network namespace can be made."""
    if os.geteuid() != 0:
        raise NamespaceMissing("a network namespace needs root")
    for program, package in (("ip", "iproute2"), ("nsenter", "util-linux")):
        if shutil.which(program) is None:
            raise NamespaceMissing(f"the program {program}, from {package}, is missing")


def in_namespace(work: Callable[[], None]) -> None:
    """Call in a thread with a network of its own; what it starts, threads too, shares that."""
    require_namespaces()
    errors: list[BaseException] = []

    def run() -> None:
        try:
            leave_network()
            work()
        except BaseException as error:  # noqa: BLE001  # the caller gets it
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


def leave_network() -> None:
    """Give this thread, and what it starts from now on, a network of its own.

    Python knows os.unshare from 3.12 on.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise NamespaceMissing(f"no network namespace: {os.strerror(ctypes.get_errno())}")
    run_ip("link set lo up")


def enter_network(thread: int) -> None:
    """Move this thread into the network of the one with that native id; Python 3.12 can do it."""
    libc = ctypes.CDLL(None, use_errno=True)
    network = os.open(f"/proc/{thread}/ns/net", os.O_RDONLY)
    try:
        if libc.setns(network, CLONE_NEWNET) != 0:
            raise NamespaceMissing(f"no way into it: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(network)


def run_ip(*commands: str, thread: int | None = None) -> None:
    """Run iproute2's ip in the namespace of this thread, or of the one with that native id."""
    enter = [] if thread is None else ["nsenter", f"--net=/proc/{thread}/ns/net"]
    done = subprocess.run(
        [*enter, "ip", "-batch", "-"],
        input="\n".join(commands),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise NamespaceMissing(f"ip {'; '.join(commands)}: {done.stderr.strip()}")


@functools.cache
def own_interface() -> tuple[str, tuple[str, ...]]:
    """Make an interface that only this machine reaches; returns its name and addresses.

    A socket on loopback alone is none that a peer reaches. Where we may make no interface, the name
    is empty: all of them. It goes when the tests end.
    """
    number = os.getpid() % 65_000
    name = f"qs{number}"
    # networks for benchmarks and of nobody, which no route leads to
    ipv4, ipv6 = f"198.18.{number >> 8}.{number & 255}", f"fd7d:76ee:7::{number:x}"
    try:
        run_ip(
            f"link add {name} type veth peer name {name}p",
            f"addr add {ipv4}/32 dev {name}",
            f"addr add {ipv6}/128 dev {name} nodad",
            f"link set {name}p up",
            f"link set {name} up",
        )
    except (NamespaceMissing, OSError):
        return "", ()
    atexit.register(run_ip, f"link del {name}")
    return name, (ipv4, ipv6)


def make_vpn(peer_thread: int | None = None, *, address_first: bool = False) -> None:
    """Bring up an interface tun0, as a VPN does; its far end is in the network of that thread.

    `address_first`: it has its addresses before it is up, and gets none when it is, as with
    Gluetun and the WireGuard of the kernel.
    """
    elsewhere = "" if peer_thread is None else f" netns {peer_thread}"
    run_ip(
        f"link add tun0 type veth peer name far0{elsewhere}",
        "link set tun0 addrgenmode none",
    )
    far = ["link set far0 up"]
    if peer_thread is not None:
        far = [f"addr add {PEER_ADDRESS}/32 dev far0", *far, f"route add {VPN_ADDRESS} dev far0"]
    run_ip(*far, thread=peer_thread)
    # without a check for duplicates, which would keep an address unusable for a second
    addresses = [f"addr add {address} dev tun0 {nodad}" for address, nodad in VPN_ADDRESSES]
    if address_first:
        run_ip(*addresses)
        time.sleep(ADDRESS_FIRST_SECONDS)
        addresses = []
    run_ip("link set tun0 up", *addresses)
    if peer_thread is not None:
        run_ip("route add default dev tun0")


def drop_incoming(peer_thread: int, *, drop: bool) -> None:
    """Have the far end send what is for the VPN's address to nobody, or deliver it again."""
    nobody = f"neigh replace {VPN_ADDRESS} lladdr 02:00:00:00:00:99 dev far0 nud permanent"
    run_ip(nobody if drop else f"neigh del {VPN_ADDRESS} dev far0", thread=peer_thread)


def lose_vpn() -> None:
    """Take it away."""
    run_ip("link del tun0")
