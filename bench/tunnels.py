"""qSticky with all its parts in a process that can be told what to do and asked what it costs.

Configured by the environment, as always. Prints one JSON line when the first cycles have ended and
one as the answer to each line on standard input: `cycles N` runs N cycles of each tunnel at once.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable

from exporter.clock import Clock
from exporter.config.load import load_config
from exporter.daemon.publisher import Publisher
from exporter.daemon.service import Service
from exporter.model import Outcome
from exporter.report import log


class _Rounds:
    """Counts published outcomes, and asks for the next round of cycles when one has ended."""

    def __init__(self) -> None:
        self.failed = 0
        self.ask: Callable[[], object] = int
        self._left_in_round = self._left_rounds = 0
        self._size = 0
        self._ended = threading.Event()
        publish = Publisher.publish

        def counted(publisher: Publisher, outcome: Outcome) -> None:
            publish(publisher, outcome)
            self._count(outcome)

        Publisher.publish = counted  # type: ignore[method-assign,assignment]  # only to count

    def expect(self, rounds: int, size: int) -> None:
        """So many rounds of so many outcomes are to come."""
        self._left_rounds, self._left_in_round, self._size = rounds, size, size
        self._ended.clear()

    def wait(self) -> None:
        """Wait until they have come."""
        self._ended.wait()

    def _count(self, outcome: Outcome) -> None:
        """In the main thread, as if the daemon itself went on: another thread would cost CPU."""
        self.failed += not outcome.in_sync
        self._left_in_round -= 1
        if self._left_in_round == 0:
            self._left_rounds -= 1
            self._left_in_round = self._size
            if self._left_rounds > 0:
                self.ask()
            else:
                self._ended.set()


def main() -> None:
    """Run qSticky in the main thread and obey in another."""
    rounds = _Rounds()
    settings = load_config(os.environ)
    log.set_up("WARNING", "text", sys.stderr)
    service = Service(settings, Clock())
    rounds.ask = service._daemon.request_look
    rounds.expect(1, len(settings.tunnels))
    driver = threading.Thread(
        target=_drive, args=(service, rounds, len(settings.tunnels)), daemon=True
    )
    service.start()
    driver.start()
    service.run()


def _drive(service: Service, rounds: _Rounds, tunnels: int) -> None:
    rounds.wait()
    modules = [name for name in sys.modules if name not in ("__main__", "bench.tunnels")]
    _say(address=service.address, modules=modules, failed=rounds.failed)
    for line in sys.stdin:
        count = int(line.split()[1])
        rounds.failed = 0
        rounds.expect(count, tunnels)
        started, cpu = time.perf_counter(), time.process_time()
        rounds.ask()
        rounds.wait()
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        _say(cpu=cpu / count / tunnels, seconds=seconds / count, failed=rounds.failed)
    service._daemon.request_stop()


def _say(**facts: object) -> None:
    # json only here: what it imports must not count as ours
    import json

    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main()
