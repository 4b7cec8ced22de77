"""Runs the real service on many tunnels for a while, and prints what it did as JSON.

`python -m tests.parts.many_tunnels SECONDS`, configured as qSticky is. It is late where a cycle
begins after the time that the daemon itself set for it: the end of the cycle before and the pause
chosen then.
"""

import functools
import gc
import json
import os
import resource
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

from exporter.clock import Clock
from exporter.config.load import load_config
from exporter.daemon import service
from exporter.daemon.loop import START_EVERY_SECONDS
from exporter.model import Outcome
from exporter.report import log
from exporter.tunnel.tunnel import Tunnel

RELOAD_AT = 0.75
"""When the whole file is read again, as a part of the run."""


@dataclass
class Diary:
    """What one tunnel did, on the forward-moving clock."""

    due_at: float
    late: list[float] = field(default_factory=list)
    in_sync_at: float = 0.0
    state: str = ""


class TimedTunnel(Tunnel):
    """A tunnel that notes when its cycles begin and end."""

    diaries: ClassVar[dict[str, Diary]] = {}
    started_at: ClassVar[float] = 0.0

    def cycle(self, *, pushed: bool = False) -> Outcome:
        began = time.monotonic()
        diary = self.diaries[self.config.name]
        diary.late.append(began - diary.due_at)
        outcome = super().cycle(pushed=pushed)
        ended = time.monotonic()
        diary.due_at = ended + outcome.next_look_seconds
        diary.state = str(outcome.state)
        if outcome.in_sync and not diary.in_sync_at:
            diary.in_sync_at = ended - self.started_at
        return outcome


def resident_bytes() -> int:
    """Memory that is really in use."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def processor_share() -> float:
    """Of the time in which our threads wanted a processor, the part in which they had one."""
    ran = waited = 0
    for file in Path("/proc/self/task").glob("*/schedstat"):
        nanoseconds = file.read_text().split()
        ran, waited = ran + int(nanoseconds[0]), waited + int(nanoseconds[1])
    return ran / (ran + waited)


def main(seconds: float) -> dict[str, Any]:
    """Run, and tell what happened."""
    settings = load_config(os.environ)
    log.set_up("ERROR", "text", sys.stderr)
    before = resident_bytes()
    with mock.patch.object(service, "Tunnel", TimedTunnel):
        running = service.Service(settings, Clock(), functools.partial(load_config, os.environ))
    names = [tunnel.name for tunnel in settings.tunnels]
    pause = min(START_EVERY_SECONDS, settings.interval_seconds / len(names))
    began = TimedTunnel.started_at = time.monotonic()
    TimedTunnel.diaries = {name: Diary(began + i * pause) for i, name in enumerate(names)}
    cpu_began = time.process_time()
    figures: dict[str, Any] = {"most_threads": 0}

    def watch_until(at: float) -> None:
        while time.monotonic() < at:
            figures["most_threads"] = max(figures["most_threads"], threading.active_count())
            time.sleep(0.1)

    def watch() -> None:
        watch_until(began + RELOAD_AT * seconds)
        figures["reload"] = running.reload()
        watch_until(began + seconds)
        gc.collect()
        figures["bytes_a_tunnel"] = (resident_bytes() - before) / len(names)
        figures["processor_share"] = processor_share()
        figures["cpu_share"] = (time.process_time() - cpu_began) / (time.monotonic() - began)
        running._daemon.request_stop()

    threading.Thread(target=watch).start()
    running.start()
    running.run()
    figures["open_files"] = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    figures["tunnels"] = {
        name: {"late": diary.late, "in_sync_at": diary.in_sync_at, "state": diary.state}
        for name, diary in TimedTunnel.diaries.items()
    }
    return figures


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(float(sys.argv[1]))))
    sys.stdout.flush()
    os._exit(0)  # those that hang would keep it
