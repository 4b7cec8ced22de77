"""Runs a function in a network namespace of its own, with a VPN interface that can come and go."""

import ctypes
import os
import shutil
import subprocess
import threading
from collections.abc import Callable

CLONE_NEWNET = 0x40000000
VPN_ADDRESSES = ("10.2.0.2/24", "fd00:2::2/64")


class NamespaceMissing(Exception):
    """No network namespace can be made here; the message says why."""


def in_namespace(work: Callable[[], None]) -> None:
    """Call in a thread with a network of its own; what it starts, threads too, shares that."""
    if os.geteuid() != 0:
        raise NamespaceMissing("a network namespace needs root")
    if shutil.which("ip") is None:
        raise NamespaceMissing("the program ip, from iproute2, is missing")
    errors: list[BaseException] = []

    def run() -> None:
        try:
            _leave_network()
            run_ip("link set lo up")
            work()
        except BaseException as error:  # noqa: BLE001  # the caller gets it
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


def _leave_network() -> None:
    """Unshare this thread's network only; Python knows os.unshare from 3.12 on."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise NamespaceMissing(f"no network namespace: {os.strerror(ctypes.get_errno())}")


def run_ip(arguments: str) -> None:
    """Run iproute2's ip in the namespace of this thread."""
    done = subprocess.run(["ip", *arguments.split()], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NamespaceMissing(f"ip {arguments}: {done.stderr.strip()}")


def make_vpn() -> None:
    """Bring up an interface tun0, as a VPN does."""
    run_ip("link add tun0 type veth peer name far0")
    for address in VPN_ADDRESSES:
        # without a check for duplicates, which would keep the address unusable for a second
        run_ip(f"addr add {address} dev tun0" + (" nodad" if ":" in address else ""))
    run_ip("link set far0 up")
    run_ip("link set tun0 up")


def lose_vpn() -> None:
    """Take it away."""
    run_ip("link del tun0")
