"""In sync means that a peer gets in: random stories of a VPN, judged at the end of each check.

A peer outside knows the truth. `EXAMPLES=1000 pytest tests/simulated/test_truth.py` looks for
other stories than the same few of each run.
"""

import contextlib
import math
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from exporter.model import Outcome, SyncState
from exporter.simulator.world import VERSIONS, Version
from tests.parts.outside import Outside
from tests.rig import FIRST_PORT, Recorder, Rig, make_rig, rebinds

GAPS = st.sampled_from([0.87, 3.0, 40.0]) | st.floats(0.87, 6.0)
"""Of a reconnect; 0.87 is the shortest that was measured, 1.3 s without a port."""
PAUSES = st.sampled_from([0.7, 5.0, 31.0, 100.0]) | st.floats(0.7, 35.0)
PUSHES_AFTER = st.sampled_from([0.45, 0.5, 1.2])
"""From the VPN's return to Gluetun's push; the port is there after 0.43 s."""
BINDINGS = st.sampled_from(["tun0", ""])
GUARD_SECONDS = 300.0
"""For so long six re-binds keep a seventh waiting."""
SHOWN_AFTER = 1.5
"""How late a reconnect may be shown: by the push that it causes, or by a connection status."""
STEPS = 14


class Witness(Recorder):
    """Knows at the end of each check whether a peer would have got in."""

    def __init__(self) -> None:
        super().__init__()
        self.rig: Rig | None = None
        self.lies: list[str] = []
        self.qbittorrent_changed = False
        """Since it was asked last: it is not where the port alone is watched."""

    def publish(self, outcome: Outcome) -> None:
        super().publish(outcome)
        if self.rig is None:
            return
        truth = self.rig.qbittorrent.peer_gets_in(outcome.forwarded_port)
        began, changed = self.rig.check_began_at, self.rig.qbittorrent.vpn_interface.changed_at
        if self.qbittorrent_changed:
            began = -math.inf
        if not truth and changed < began - SHOWN_AFTER:
            if outcome.in_sync:
                self.lies.append(f"in sync but closed at {self.rig.clock.now}")
            if outcome.port_bound:
                self.lies.append(f"bound but closed at {self.rig.clock.now}")
        claimed_closed = outcome.state is SyncState.NOT_LISTENING and outcome.qbittorrent
        if claimed_closed and truth and changed < began and not self.is_guarded(outcome):
            self.lies.append(f"not listening but open at {self.rig.clock.now}")
        if outcome.state is SyncState.NOT_REACHABLE:
            self.lies.append(f"not reachable, but a peer told the truth at {self.rig.clock.now}")
        self.qbittorrent_changed = self.qbittorrent_changed and outcome.is_watch

    def is_guarded(self, outcome: Outcome) -> bool:
        """Whether a re-bind is wanted and has to wait."""
        return any("reopened 6 times" in failure.message for failure in outcome.failures)


class Story(RuleBasedStateMachine):
    """A VPN that comes and goes, with a Gluetun that pushes or not."""

    @initialize(
        version=st.sampled_from(VERSIONS),
        binding=BINDINGS,
        late=st.booleans(),
        pushes=st.booleans(),
        wrong_port=st.booleans(),
        asked=st.booleans(),
    )
    def begin(  # noqa: PLR0913  # each is drawn by its name
        self,
        *,
        version: Version,
        binding: str,
        late: bool,
        pushes: bool,
        wrong_port: bool,
        asked: bool,
    ) -> None:
        self.folder = tempfile.TemporaryDirectory()
        first = 21000 if wrong_port else FIRST_PORT
        self.leave = contextlib.ExitStack()
        environ = {}
        if asked:
            service = self.leave.enter_context(Outside())
            service.reply = self.try_from_outside
            environ["REACHABILITY_URL"] = f"{service.url}/{{port}}"
        self.rig = make_rig(
            Path(self.folder.name),
            version=version,
            interface=binding,
            listening_port=first,
            environ=environ,
        )
        self.pushes, self.binding = pushes, binding
        self.witness = self.rig.recorder = Witness()
        interface = self.rig.qbittorrent.vpn_interface
        interface.comes_up_late = late
        self.rig.gluetun.carry(interface)
        self.rig.__enter__()
        self.witness.rig = self.rig
        self.rig.run_for(4.0)

    def teardown(self) -> None:
        if hasattr(self, "rig"):
            self.rig.__exit__()
            self.leave.close()
            self.folder.cleanup()

    def try_from_outside(self, target: str) -> str:
        gets_in = self.rig.qbittorrent.peer_gets_in(int(target.removeprefix("/")))
        return str(gets_in).lower()

    # what happens

    @rule(gap=GAPS, same_port=st.booleans(), delay=PUSHES_AFTER, pause=PAUSES)
    def the_vpn_reconnects(self, gap: float, same_port: bool, delay: float, pause: float) -> None:
        port = None if same_port else 40_000 + len(self.witness.outcomes)
        self.rig.gluetun.reconnect(port, gap_seconds=gap)
        self.live_on(gap + delay)
        self.push()
        self.live_on(pause)

    @rule(gap=GAPS, delay=PUSHES_AFTER, pause=PAUSES)
    def the_vpn_comes_back_with_another_address(
        self, gap: float, delay: float, pause: float
    ) -> None:
        self.rig.gluetun.reconnect(
            gap_seconds=gap, public_ip="192.0.2.77", addresses=("10.2.0.9", "fd00:2::9")
        )
        self.live_on(gap + delay)
        self.push()
        self.live_on(pause)

    @rule(away=st.sampled_from([1.0, 3.0]), key=st.sampled_from([0.0, 20.0]), pause=PAUSES)
    def gluetun_restarts(self, away: float, key: float, pause: float) -> None:
        self.rig.gluetun.restart(away_seconds=away, another_key_seconds=key, tunnel_seconds=2.0)
        self.live_on(away + 2.1)
        self.push()
        self.live_on(key + pause)

    @rule(pause=PAUSES)
    def qbittorrent_restarts(self, pause: float) -> None:
        self.witness.qbittorrent_changed = True
        self.rig.qbittorrent.restart()
        self.live_on(pause)

    @rule(gap=GAPS, while_away=st.booleans())
    def qsticky_restarts(self, gap: float, while_away: bool) -> None:
        if while_away:
            self.rig.gluetun.reconnect(gap_seconds=gap)
            self.rig.clock.now += gap + 1.0
        self.rig.start_daemon()
        self.live_on(4.0)

    @rule(seconds=PAUSES)
    def nothing_happens(self, seconds: float) -> None:
        self.live_on(seconds)

    @rule(pause=PAUSES)
    def somebody_binds_qbittorrent_to_loopback_for_a_while(self, pause: float) -> None:
        self.witness.qbittorrent_changed = True
        self.rig.qbittorrent.set_preferences({"current_network_interface": "lo"})
        self.live_on(pause)
        self.witness.qbittorrent_changed = True
        self.rig.qbittorrent.set_preferences({"current_network_interface": self.binding})
        self.live_on(pause)

    @rule()
    def once_calm_it_is_open_within_5_seconds(self) -> None:
        """The guard may make it wait before."""
        self.live_on(GUARD_SECONDS + 31)
        assert self.rig.last.in_sync, self.rig.last.failures
        assert self.rig.qbittorrent.peer_gets_in(self.rig.last.forwarded_port)
        self.rig.gluetun.reconnect(gap_seconds=0.87)
        self.live_on(1.4)
        self.push()
        self.live_on(5.0)
        assert self.rig.last.in_sync, self.rig.last.failures
        assert self.rig.qbittorrent.peer_gets_in(self.rig.last.forwarded_port)
        before = rebinds(*self.witness.outcomes)
        self.live_on(100.0)
        assert rebinds(*self.witness.outcomes) == before
        assert self.rig.last.in_sync

    # how time passes

    def live_on(self, seconds: float) -> None:
        self.rig.run_for(seconds)
        assert self.witness.lies == []

    def push(self) -> None:
        """As Gluetun's up command does."""
        if self.pushes:
            self.rig.loop.request_check(pushed=True)


def test_whenever_a_check_says_in_sync_a_peer_gets_in() -> None:
    run_state_machine_as_test(Story, settings=settings(stateful_step_count=STEPS))
