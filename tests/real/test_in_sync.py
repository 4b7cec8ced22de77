"""In sync means open: stories of a VPN, told by a peer outside and by status.json at once.

Every story is lived by real qBittorrents with a real qSticky, each tunnel in a network of its own,
many at a time. Every 0.1 s a peer at the other end of the VPN connects to the forwarded port, and
status.json is read. What is asserted is how long the two differ.
"""

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import missing_part
from tests.parts import namespace, qbittorrent
from tests.parts.debian import PartMissing
from tests.parts.namespace import NamespaceMissing, in_namespace
from tests.parts.peer import Lie, lies
from tests.parts.vpn_life import (
    ALL,
    ALL_OF_KERNEL,
    CHECK_INTERVAL,
    LOOPBACK,
    REOPENS_SOCKETS,
    TUN0,
    Binding,
    VpnLife,
    reopens_socket,
)

# one worker for all: they live at once anyway
pytestmark = pytest.mark.xdist_group("in_sync")

AT_ONCE = 12
"""Tunnels that live at the same time: mostly they wait."""

MARGIN = 0.75
"""For a busy machine: each sample, each check and each question takes its time."""
CALM_WITHIN = CHECK_INTERVAL + 2 * MARGIN
CLAIM_SECONDS = 1.0
POLL_SECONDS = 1.0
"""How often Gluetun is asked where a reconnect that nobody saw would close the port for good."""
STATUS_LAG = 1.5
"""How old the connection status is from qBittorrent 4.6 on: a check before that sees nothing."""
SEEN = 0.6
"""How long before a check the VPN goes, for the check to meet it on its way."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A story, who lives it, and how long status.json may say what is no longer so."""

    title: str
    story: Callable[[VpnLife], None]
    bindings: Sequence[Binding] = (TUN0, ALL, ALL_OF_KERNEL)
    versions: Sequence[str] = tuple(REOPENS_SOCKETS)
    unpolled: bool = False
    """Asking Gluetun every second would not help, or is over after a push."""
    slower: float = 0.0
    """How many seconds longer than usual it takes to find out."""
    called_closed: float = 1.0
    """For how many seconds an open port may be called closed."""
    asked: bool = False
    """A service outside is asked, now and then; the story says when it has to be known."""


# the stories


def two_reconnects(life: VpnLife) -> None:
    with life.running():
        before = life.rebinds
        for _ in range(2):
            life.wait_for_check()
            life.sleep(CHECK_INTERVAL - SEEN)
            life.reconnect()
            life.wait_until_calm(CALM_WITHIN)
            life.sleep(2)
        assert life.rebinds - before == (0 if life.reopens_socket else 2)


def ten_reconnects(life: VpnLife) -> None:
    with life.running():
        for _ in range(10):
            life.reconnect()
            life.sleep(0.7)
        life.sleep(CHECK_INTERVAL)
        # so many re-binds in so short a time are too many; then it says that it is closed
        assert life.is_calm or life.peer.last.state == "not_listening"


def an_unseen_reconnect(life: VpnLife) -> None:
    with life.running():
        life.wait_for_check()
        life.reconnect()
        life.wait_until_calm(CALM_WITHIN)
        life.sleep(CHECK_INTERVAL + 1)
        assert life.is_calm


def another_key(life: VpnLife) -> None:
    with life.running():
        life.wait_for_check()
        life.refuse_key()
        life.reconnect()
        life.sleep(CHECK_INTERVAL)
        life.gluetun.heal()
        life.wait_until_calm(CHECK_INTERVAL + CALM_WITHIN)
        life.sleep(1)


def a_start_of_qsticky(life: VpnLife) -> None:
    with life.running():
        life.update_qsticky(life.reconnect)
        life.wait_until_calm(CALM_WITHIN)
        life.sleep(CHECK_INTERVAL + 1)
        assert life.is_calm


def a_push(life: VpnLife) -> None:
    with life.running():
        for _ in range(2):
            life.wait_for_check()
            life.reconnect(push=True)
            life.wait_until(lambda: life.peer.last.open, 1.0 + MARGIN, "the port is open")
            life.wait_until_calm(CALM_WITHIN)


def gluetun_restarts(life: VpnLife) -> None:
    with life.running():
        life.restart_gluetun(CHECK_INTERVAL + 2)
        life.wait_until_calm(CALM_WITHIN)
        life.sleep(1)


def four_seconds_away(life: VpnLife) -> None:
    with life.running():
        for number in range(4):
            life.wait_for_check()
            life.sleep(CHECK_INTERVAL - 1.5)
            life.reconnect(4.0 + number / 4)
            life.wait_until_calm(CALM_WITHIN)


def interface_gone(life: VpnLife) -> None:
    with life.running():
        namespace.lose_vpn()
        life.sleep(CHECK_INTERVAL + STATUS_LAG + MARGIN)
        assert life.peer.last.state == "not_listening"
        life.sleep(2)
        life.make_vpn()
        life.wait_until_calm(CALM_WITHIN)
        life.sleep(1)


def interface_missing_at_the_start(life: VpnLife) -> None:
    with life.running(vpn=False, calm=False):
        once = life.once()
        life.sleep(70)  # the first repair comes after a minute
        assert life.peer.last.state == "not_listening"
        assert life.qsticky.status["tunnels"]["default"]["last_success"] is None
        assert once == 3
        life.make_vpn()
        life.wait_until_calm(CALM_WITHIN)


def loopback_alone(life: VpnLife) -> None:
    with life.running(calm=False):
        life.sleep(2 * CHECK_INTERVAL)
        assert life.peer.last.state == "not_listening"
        life.set_by_hand(current_network_interface="tun0")
        life.wait_until_calm(CALM_WITHIN)


def down_command(life: VpnLife) -> None:
    """Gluetun's wiki recommends it; here no up command follows."""
    with life.running():
        life.wait_for_check()
        life.set_by_hand(listen_port=0, current_network_interface="lo")
        life.reconnect()
        life.sleep(2 * CHECK_INTERVAL)
        assert life.peer.last.state == "not_listening"


def qbittorrent_restarts(life: VpnLife) -> None:
    with life.running():
        life.wait_for_check()
        life.sleep(CHECK_INTERVAL - SEEN)
        life.reconnect()
        life.sleep(2)
        life.wait_until_calm(CALM_WITHIN)
        rebinds = life.rebinds
        life.qbittorrent.stop()
        life.wait_for_check()
        life.qbittorrent.start()
        life.wait_until_calm(CALM_WITHIN)
        life.wait_for_check()
        assert life.rebinds == rebinds


def provider_drops_everything(life: VpnLife) -> None:
    """Gluetun says that the VPN runs and has a port, qBittorrent listens, and nobody gets in."""
    with life.running(calm=False):
        life.provider_drops(True)
        life.wait_until(lambda: life.peer.last.state == "in_sync", 20, "all looks right")
        life.wait_until(lambda: life.peer.last.state == "not_reachable", 130, "it is found out")
        assert not life.peer.last.open
        assert life.rebinds == 1
        life.provider_drops(False)
        life.wait_until_calm(70)


SCENES = (
    # the longest first
    Scene(
        "a provider that drops everything",
        provider_drops_everything,
        bindings=(TUN0,),
        versions=("5.1.0",),
        asked=True,
    ),
    Scene(
        "an interface that is missing when all start",
        interface_missing_at_the_start,
        bindings=(TUN0,),
        called_closed=CHECK_INTERVAL,
    ),
    Scene(
        "the VPN is away for 4 s four times",
        four_seconds_away,
        bindings=(TUN0,),
    ),
    # the seventh re-bind has to wait, even where the port is open by itself
    Scene("ten reconnects 0.7 s apart", ten_reconnects, called_closed=math.inf),
    Scene("two reconnects within a minute", two_reconnects),
    Scene("qBittorrent restarts after a reconnect", qbittorrent_restarts, unpolled=True),
    Scene("a reconnect seen only by another key", another_key),
    Scene("a reconnect between two checks", an_unseen_reconnect),
    Scene("a reconnect while qSticky is down", a_start_of_qsticky),
    Scene("two reconnects with a push", a_push, unpolled=True),
    Scene("Gluetun restarts", gluetun_restarts),
    Scene(
        "the interface goes and comes back, and Gluetun tells nothing",
        interface_gone,
        bindings=(TUN0,),
        # the others notice nothing themselves
        versions=[version for version, reopens in REOPENS_SOCKETS.items() if reopens],
        slower=STATUS_LAG,
        called_closed=CHECK_INTERVAL,
    ),
    Scene(
        "bound to the loopback interface alone",
        loopback_alone,
        bindings=(LOOPBACK,),
        called_closed=CHECK_INTERVAL,
    ),
    Scene("a down command without an up command", down_command, bindings=(TUN0,)),
)


@dataclass(frozen=True, slots=True)
class Case:
    scene: Scene
    version: str
    binding: Binding

    def __str__(self) -> str:
        return f"{self.scene.title}-{self.version}-{self.binding}"

    def may_last(self, lie: Lie) -> float:
        """Return how many seconds that lie is allowed."""
        if self.scene.asked:
            return math.inf
        if lie.what.startswith("port_bound"):
            return MARGIN
        if lie.what.startswith("not_listening"):
            return MARGIN + self.scene.called_closed
        if lie.is_claim:
            return MARGIN + CLAIM_SECONDS
        polled = not reopens_socket(self.version, self.binding) and not self.scene.unpolled
        return MARGIN + (POLL_SECONDS if polled else CHECK_INTERVAL) + self.scene.slower


CASES = [
    Case(scene, version, binding)
    for scene in SCENES
    for version in scene.versions
    for binding in scene.bindings
    # this libtorrent opens nothing again in any case
    if REOPENS_SOCKETS[version] or binding is not ALL_OF_KERNEL
]


@dataclass(slots=True)
class Record:
    """What came of a case."""

    lies: list[Lie] = field(default_factory=list)
    error: BaseException | None = None
    output: str = ""


class Stage:
    """Lives many cases at once, each in a thread and a network of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._cancelled = threading.Event()
        self._records: dict[str, Future[Record]] = {}

    def begin(self, case: Case) -> None:
        """Live it as soon as there is room."""
        self._records[str(case)] = self._pool.submit(self._live, case, len(self._records))

    def record(self, case: Case) -> Record:
        return self._records[str(case)].result()

    def close(self) -> None:
        self._cancelled.set()
        self._pool.shutdown(cancel_futures=True)

    def _live(self, case: Case, number: int) -> Record:
        record = Record()
        folder = self._folder / str(number)
        folder.mkdir()

        def work() -> None:
            life = VpnLife(
                case.version, case.binding, folder, self._cancelled, asked=case.scene.asked
            )
            try:
                case.scene.story(life)
            finally:
                record.lies = lies(life.peer.samples)
                record.output = life.output

        try:
            in_namespace(work)
        except Exception as error:  # noqa: BLE001  # the test raises it
            record.error = error
        return record


@pytest.fixture(scope="module")
def stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    try:
        namespace.require_namespaces()
        for version in REOPENS_SOCKETS:
            qbittorrent.launcher(version)
    except (NamespaceMissing, PartMissing) as error:
        missing_part(str(error))
    made = Stage(tmp_path_factory.mktemp("in-sync"))
    for item in request.session.items:
        if isinstance(item, pytest.Function) and item.module is request.module:
            case = item.callspec.params["case"]
            assert isinstance(case, Case)
            made.begin(case)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_status_json_says_what_a_peer_finds(
    stage: Stage, case: Case, show: Callable[[str], None]
) -> None:
    record = stage.record(case)
    told = [f"{lie} (at most {case.may_last(lie):.1f} s)" for lie in record.lies]
    show("\n  ".join([str(case), *told, *([repr(record.error)] if record.error else [])]))
    too_long = [str(lie) for lie in record.lies if lie.seconds > case.may_last(lie)]
    if record.error:
        raise AssertionError(f"{too_long}\n{record.output}") from record.error
    assert too_long == [], record.output
