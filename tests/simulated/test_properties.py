"""Whatever happens in whatever order: what must always hold.

The same examples each time; `EXAMPLES=1000 pytest tests/simulated/test_properties.py` looks for
others. Where one fails, hypothesis prints its steps, and a blob with which to play them again.
"""

import json
import math
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from exporter.model import NO_PORT, Operation, Outcome, Reason, SyncState
from exporter.simulator.world import (
    VERSIONS,
    AnyFault,
    Fault,
    RedirectAway,
    SimulatedGluetun,
    SimulatedQbittorrent,
    Status,
    Version,
)
from exporter.web.words import WORDS
from tests.fakes import FakeClock
from tests.rig import ON_TUN0, Rig, role_with

# far apart, so that the neighbour that a re-bind sets is none of them
PORTS = st.sampled_from([2000, 20000, 45720, 50001, 65535])
USERS_PORTS = st.sampled_from([0, 6881, 21000, 65000])
FAULTS: st.SearchStrategy[AnyFault] = st.sampled_from(
    [
        Fault.RESET,
        Fault.LOST,
        Fault.CUT,
        Fault.WRONG_LENGTH,
        Fault.GARBAGE,
        Fault.HTML,
        Fault.WRONG_TYPE,
        Fault.BAD_GZIP,
        Fault.REDIRECT_LOOP,
        RedirectAway("http://127.0.0.1:9/"),
        Status(401, "Unauthorized"),
        Status(403, "Forbidden"),
        Status(404),
        Status(502),
    ]
)
GLUETUN_PATHS = st.sampled_from(
    [None, "/v1/portforward", "/v1/vpn/status", "/v1/publicip/ip", "/v1/openvpn"]
)
QBITTORRENT_PATHS = st.sampled_from(
    [
        None,
        "/api/v2/auth/login",
        "/api/v2/app/version",
        "/api/v2/app/preferences",
        "/api/v2/app/setPreferences",
        "/api/v2/log/main",
        "/api/v2/transfer/info",
    ]
)
TIMES = st.sampled_from([None, 1, 2])
SECONDS = st.sampled_from([0.5, 1.0, 5.0, 31.0, 100.0, 330.0])
STEPS = 25
HOUR = 3600.0


class Life(RuleBasedStateMachine):
    """A daemon, its two servers, the user, the provider and bad luck."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.checked = 0
        self.clock_set_at_outcome = -1
        self.failed_logins: list[float] = []
        self.clock_was_put_forward = False
        self.hour_seemed_over = False
        """Whether a start found an hour gone by since tries that were just made."""
        self.loud_lines = 0
        self.deaf = False
        """Whether the VPN reconnected while Gluetun gave no valid answer, unseen by any check."""
        self.limited_until = -math.inf
        """Until when logins or re-binds may have to wait, for good reasons."""

    @initialize(version=st.sampled_from(VERSIONS), rebind=st.sampled_from(["auto", "always"]))
    def begin(self, version: Version, rebind: str) -> None:
        clock = FakeClock()
        time = clock.monotonic
        self.rig = Rig(
            Path(self.folder.name),
            clock=clock,
            gluetun=SimulatedGluetun("3.41", role=role_with(), clock=time),
            qbittorrent=SimulatedQbittorrent(version, clock=time, **ON_TUN0),
            environ={"REBIND": rebind, "REQUEST_TIMEOUT": "10"},
        )
        self.rig.__enter__()
        self.rig.qbittorrent.writes.clear()
        self.rig.turn()
        self.judge()

    def teardown(self) -> None:
        if hasattr(self, "rig"):
            self.rig.__exit__()
        self.folder.cleanup()

    # what happens

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: float) -> None:
        end = self.rig.clock.now + seconds
        while self.rig.clock.now + self.rig.loop.idle() < end:
            self.rig.clock.now += self.rig.loop.idle()
            self.turn()
        self.rig.clock.now = max(self.rig.clock.now, end)

    @rule(port=PORTS)
    def provider_changes_the_port(self, port: int) -> None:
        self.rig.gluetun.change_port(port)

    @rule(port=st.none() | PORTS, gap=st.sampled_from([0.5, 20.0, 300.0]))
    def vpn_reconnects(self, port: int | None, gap: float) -> None:
        if self.rig.gluetun.forwarded_ports:
            self.rig.gluetun.reconnect(port, gap_seconds=gap)
            self.rig.qbittorrent.vpn_interface_recreated()
            self.limit(HOUR)
            self.rig.clock.now += 0.2
            self.rig.loop.request_check()
            self.turn()
            self.deaf = self.deaf or not self.shows_a_reconnect()

    def shows_a_reconnect(self) -> bool:
        """Whether the last check could tell; libtorrent 2.0.8 needs to be told."""
        last = self.rig.last
        if self.rig.qbittorrent.version != "4.5.2" or last.state is SyncState.VPN_DOWN:
            return True
        gone = [failure for failure in last.failures if failure.reason is Reason.CONNECTION]
        return any(failure.operation is Operation.GLUETUN_PORT for failure in gone)

    @rule(status=st.sampled_from(["stopped", "crashed", "running"]))
    def vpn_status_becomes(self, status: str) -> None:
        self.rig.gluetun.vpn_status = status

    @rule()
    def port_goes(self) -> None:
        self.rig.gluetun.forwarded_ports = []

    @rule(path=GLUETUN_PATHS, fault=FAULTS, times=TIMES)
    def gluetun_fails(self, path: str | None, fault: AnyFault, times: int | None) -> None:
        self.rig.gluetun.fail(path, fault, times)

    @rule(path=QBITTORRENT_PATHS, fault=FAULTS, times=TIMES)
    def qbittorrent_fails(self, path: str | None, fault: AnyFault, times: int | None) -> None:
        self.rig.qbittorrent.fail(path, fault, times)
        self.limit(HOUR)  # a login whose answer was lost counts as tried

    @rule()
    def gluetun_stops(self) -> None:
        self.rig.gluetun.stop()

    @rule()
    def qbittorrent_restarts(self) -> None:
        self.rig.qbittorrent.restart()
        self.deaf = False

    @rule()
    def qbittorrent_forgets_its_sessions(self) -> None:
        self.rig.qbittorrent.end_sessions()

    @rule(port=USERS_PORTS)
    def somebody_sets_the_port(self, port: int) -> None:
        before = len(self.rig.qbittorrent.writes)
        self.rig.qbittorrent.listening_port = port
        del self.rig.qbittorrent.writes[before:]

    @rule(port=PORTS)
    def somebody_takes_the_port(self, port: int) -> None:
        self.rig.qbittorrent.occupied.add(port)
        self.limit(HOUR)

    @rule(right=st.booleans())
    def the_password_changes(self, right: bool) -> None:
        self.rig.qbittorrent.set_password("simulated-password" if right else "another")
        self.rig.qbittorrent.restart()  # as where it makes up a password at each start
        self.limit(HOUR)

    @rule(pushed=st.booleans())
    def asked_for_a_check(self, pushed: bool) -> None:
        self.rig.loop.request_check(pushed=pushed)
        self.turn()

    @rule()
    def qsticky_is_killed_and_started(self) -> None:
        self.hour_seemed_over = self.hour_seemed_over or self.clock_was_put_forward
        self.rig.start_daemon()
        self.loud_lines = self.count_loud_lines()
        self.turn()

    @rule(step=st.sampled_from([-1e6, -3600.0, 3600.0, 1e6]))
    def the_clock_is_set(self, step: float) -> None:
        self.rig.clock.offset += step
        self.clock_was_put_forward = self.clock_was_put_forward or step > 0
        self.clock_set_at_outcome = self.checked

    @precondition(lambda self: self.checked)
    @rule()
    def everything_is_repaired(self) -> None:
        rig = self.rig
        self.end_all_faults()
        if rig.clock.now < self.limited_until:
            self.time_passes(self.limited_until - rig.clock.now)
        for _ in range(3):
            rig.next_check()
            self.judge()
        assert rig.last.in_sync, rig.last.failures
        assert self.deaf or rig.qbittorrent.bound_ports == {rig.last.forwarded_port}

    def end_all_faults(self) -> None:
        rig = self.rig
        for server in (rig.gluetun, rig.qbittorrent):
            server.heal()
            server.start()
        rig.qbittorrent.occupied.clear()
        rig.qbittorrent.set_password("simulated-password")
        with rig.gluetun._lock:
            rig.gluetun._vpn.agenda.clear()
        rig.gluetun.vpn_status = "running"
        rig.gluetun.forwarded_ports = rig.gluetun.forwarded_ports or [45720]

    # what must hold

    def limit(self, seconds: float) -> None:
        """A wait that is meant to be, such as one hour after rejected logins."""
        self.limited_until = self.rig.clock.now + seconds

    def turn(self) -> None:
        self.rig.turn()
        self.judge()

    def judge(self) -> None:
        """Judge what is new since this was done last."""
        rig = self.rig
        fresh = rig.recorder.outcomes[self.checked :]
        self.checked = len(rig.recorder.outcomes)
        writes, rig.qbittorrent.writes[:] = list(rig.qbittorrent.writes), []
        rig.qbittorrent.requests.clear()
        self.check_writes(writes, fresh)
        self.check_logins()

    def check_writes(self, writes: list[int], fresh: list[Outcome]) -> None:
        """Only what Gluetun reported in these checks, or its neighbour and then itself."""
        reported = {outcome.forwarded_port for outcome in fresh} - {NO_PORT}
        for index, port in enumerate(writes):
            if port in reported:
                continue
            wanted = port - 1 if port - 1 in reported else port + 1
            assert wanted in reported, f"wrote {port}; Gluetun reported {reported}"
            if writes[index + 1 : index + 2] != [wanted]:
                broken = [done for outcome in fresh for done in outcome.operations if done.reason]
                assert Operation.QBITTORRENT_SET_PORT in {done.operation for done in broken}

    def check_logins(self) -> None:
        """Fewer than 5 failed logins an hour, so never a ban."""
        if self.hour_seemed_over:
            return
        server, now = self.rig.qbittorrent, self.rig.clock.now
        self.failed_logins += [now] * (server.failed_logins - len(self.failed_logins))
        assert len([at for at in self.failed_logins if now - at < HOUR]) < 5
        assert not server._access._banned_until

    def on_disk(self) -> Any:
        """status.json, once a write that is owed was done: that takes a second at most."""
        if self.rig.service._publisher.due_in_seconds <= 1.001:  # rounded
            self.rig.service._publisher.write()
        return self.rig.status

    def count_loud_lines(self) -> int:
        text = self.rig.log.getvalue()
        return text.count(" - WARNING - ") + text.count(" - ERROR - ")

    @precondition(lambda self: self.checked)
    @invariant()
    def all_readers_agree(self) -> None:
        rig = self.rig
        if rig.service.board.views()["default"].outcome is None:
            return
        state = rig.last.state
        assert rig.shown_state() is state
        port = rig.last.forwarded_port
        for told in (json.loads(rig.get("/status.json")[1]), self.on_disk()):
            assert (told["state"], told["current_port"]) == (state, port or None)
        assert rig.metric("qsticky_forwarded_port", tunnel="default") == port
        if self.clock_set_at_outcome != self.checked:
            # until the next check, a clock set forward looks like a daemon that is stuck
            assert WORDS[state].label in rig.get("/")[1]
        counted = sum(
            rig.metric("qsticky_log_messages_total", level=level) for level in ("warning", "error")
        )
        assert counted == self.count_loud_lines() - self.loud_lines
        assert (state is SyncState.IN_SYNC) <= (rig.last.listening_port == port != NO_PORT)
        assert "unexpected error" not in rig.log.getvalue()

    @invariant()
    def memory_is_bounded(self) -> None:
        if not hasattr(self, "rig"):
            return
        tunnel = self.rig.tunnel
        assert len(tunnel._qbittorrent._bind_log.sockets) <= 400
        assert len(tunnel._logins.state.attempts) <= 60
        assert len(self.rig.service.board.views()["default"].events) <= 20
        assert self.rig.path.stat().st_size < 10_000


def test_whatever_happens_the_promises_hold() -> None:
    run_state_machine_as_test(
        Life,
        settings=settings(stateful_step_count=STEPS),
    )
