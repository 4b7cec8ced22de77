"""Both servers fail at random, for hours of simulated time: is a port ever wrong?

After each check all readers must agree, and qBittorrent may only ever be given a port that Gluetun
reported in that check, or its neighbour and then itself: that is how a dead socket is reopened.
"""

import json
import random
import tempfile
from pathlib import Path

from exporter.model import NO_PORT, Operation, Outcome
from exporter.simulator.world import AnyFault, Fault, RedirectAway, Status
from tests.rig import Rig

GLUETUN_PATHS = (None, "/v1/portforward", "/v1/vpn/status", "/v1/publicip/ip")
QBITTORRENT_PATHS = (
    None,
    "/api/v2/app/preferences",
    "/api/v2/app/setPreferences",
    "/api/v2/log/main",
    "/api/v2/transfer/info",
)
FAULTS: tuple[AnyFault, ...] = (
    Fault.RESET,
    Fault.CUT,
    Fault.HTML,
    Fault.WRONG_TYPE,
    Fault.GARBAGE,
    Fault.REFUSE,
    RedirectAway("http://127.0.0.1:9/"),
    Status(500),
    Status(502, "<html>Bad Gateway</html>"),
)


class Flapping:
    """A rig with bad luck every few seconds, and a judge of each check."""

    def __init__(self, rig: Rig, seed: int) -> None:
        self.checks = self.faults = self.writes = 0
        self._rig = rig
        self._random = random.Random(seed)

    def second(self) -> None:
        """Let a second pass, and perhaps something happen."""
        happened = self._random.random()
        if happened < 0.1:
            self._fail()
        elif happened < 0.2:
            self.heal()
        elif happened < 0.22:
            self._rig.gluetun.change_port(self._random.randrange(20_000, 60_000, 10))
        elif happened < 0.23:
            self._rig.gluetun.reconnect(gap_seconds=self._random.uniform(0.5, 30))
        elif happened < 0.24:
            self._rig.qbittorrent.restart()
            self._rig.qbittorrent.writes.clear()
        self._pass(1.0)

    def _fail(self) -> None:
        self.faults += 1
        server, paths = self._random.choice(
            [(self._rig.gluetun, GLUETUN_PATHS), (self._rig.qbittorrent, QBITTORRENT_PATHS)]
        )
        times = self._random.choice((None, 1, 2))
        server.fail(self._random.choice(paths), self._random.choice(FAULTS), times)

    def heal(self) -> None:
        """End all faults."""
        for server in (self._rig.gluetun, self._rig.qbittorrent):
            server.heal()

    def _pass(self, seconds: float) -> None:
        rig, end = self._rig, self._rig.clock.now + seconds
        while rig.clock.now + rig.loop.idle() < end:
            rig.clock.now += rig.loop.idle()
            rig.turn()
            self._judge()
        rig.clock.now = max(end, rig.clock.now)

    def _judge(self) -> None:
        fresh, self._rig.recorder.outcomes[:] = list(self._rig.recorder.outcomes), []
        if not fresh:
            return
        self.checks += len(fresh)
        self._judge_writes(fresh)
        self._judge_readers(fresh[-1])

    def _judge_writes(self, fresh: list[Outcome]) -> None:
        server = self._rig.qbittorrent
        writes, server.writes[:] = list(server.writes), []
        self.writes += len(writes)
        reported = {outcome.forwarded_port for outcome in fresh} - {NO_PORT}
        assert server.listening_port != NO_PORT
        for index, port in enumerate(writes):
            if port in reported:
                continue
            assert {port - 1, port + 1} & reported, f"wrote {port}; Gluetun reported {reported}"
            if not set(writes[index + 1 :]) & reported:  # the second half of it failed
                failed = {d.operation for o in fresh for d in o.operations if d.reason}
                assert Operation.QBITTORRENT_SET_PORT in failed

    def _judge_readers(self, outcome: Outcome) -> None:
        rig = self._rig
        rig.service._publisher.write()
        shown = (outcome.state, outcome.forwarded_port or None)
        for told in (rig.status, json.loads(rig.get("/status.json")[1])):
            assert (told["state"], told["current_port"]) == shown
        assert rig.shown_state() is outcome.state
        port = rig.metric("qsticky_forwarded_port", tunnel="default")
        assert port == outcome.forwarded_port

    def must_end_well(self) -> None:
        """End all faults, and wait for what is meant to wait: an hour at most."""
        self.heal()
        self._pass(3700.0)
        rig = self._rig
        assert rig.shown_state() == "in_sync"
        assert rig.qbittorrent.bound_ports == set(rig.gluetun.forwarded_ports)


def run(minutes: int, seed: int = 1) -> None:
    """Flap for so many simulated minutes; raises AssertionError at the first wrong thing."""
    with tempfile.TemporaryDirectory() as folder:
        environ = {"REQUEST_TIMEOUT": "1", "LOG_LEVEL": "INFO"}
        with Rig(Path(folder), environ=environ) as rig:
            rig.qbittorrent.writes.clear()
            flapping = Flapping(rig, seed)
            for _ in range(minutes * 60):
                flapping.second()
            flapping.must_end_well()
            print(
                f"{minutes} simulated minutes, {flapping.faults} faults, {flapping.checks} checks,"
                f" {flapping.writes} ports set: none wrong, and all readers agreed"
            )
