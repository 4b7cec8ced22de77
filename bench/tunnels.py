"""qSticky with all its parts in a process that can be told what to do and asked what it costs.

Configured by the environment, as always. Prints one JSON line when the first cycles have ended and
one as the answer to each line on standard input: `cycles N` runs N cycles of each tunnel at once.
"""

from __future__ import annotations

import os
import sys
import threading
import time

from exporter import config, log
from exporter.clock import Clock
from exporter.model import Outcome
from exporter.publisher import Publisher
from exporter.service import Service


class _Count:
    """Counts published outcomes."""

    def __init__(self) -> None:
        self.outcomes = 0
        self.failed = 0
        self._changed = threading.Condition()
        publish = Publisher.publish

        def counted(publisher: Publisher, outcome: Outcome) -> None:
            publish(publisher, outcome)
            with self._changed:
                self.outcomes += 1
                self.failed += not outcome.in_sync
                self._changed.notify_all()

        Publisher.publish = counted  # type: ignore[method-assign,assignment]  # only to count

    def wait_for(self, outcomes: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self.outcomes >= outcomes)


def main() -> None:
    """Run qSticky in the main thread and obey in another."""
    count = _Count()
    settings = config.load(os.environ)
    log.set_up("WARNING", "text", sys.stderr)
    service = Service(settings, Clock())
    driver = threading.Thread(
        target=_drive, args=(service, count, len(settings.tunnels)), daemon=True
    )
    service.start()
    driver.start()
    service.run()


def _drive(service: Service, count: _Count, tunnels: int) -> None:
    count.wait_for(tunnels)
    modules = [name for name in sys.modules if name not in ("__main__", "bench.tunnels")]
    _say(address=service.address, modules=modules, failed=count.failed)
    for line in sys.stdin:
        rounds = int(line.split()[1])
        started, cpu = time.perf_counter(), time.process_time()
        failed = count.failed
        for _ in range(rounds):
            wanted = count.outcomes + tunnels
            service._daemon.request_look()
            count.wait_for(wanted)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        cycles = rounds * tunnels
        _say(cpu=cpu / cycles, seconds=seconds / rounds, failed=count.failed - failed)
    service._daemon.request_stop()


def _say(**facts: object) -> None:
    # json only here: what it imports must not count as ours
    import json

    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main()
