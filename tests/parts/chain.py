"""Daemons on simulated servers, a real Prometheus, a real Alertmanager and who it tells."""

import contextlib
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Condition, Event, Thread
from typing import Any, Self

import yaml

from exporter.simulator.world import Role, SimulatedGluetun, SimulatedQbittorrent
from tests.parts.daemon import ROOT, QstickyProcess
from tests.parts.fast_alerts import MINUTE, faster
from tests.parts.monitoring import RealAlertmanager, RealPrometheus, WebhookReceiver, wait_until
from tests.parts.qbittorrent import free_port

HELD_MINUTES = 45.0
"""How long a fault lasts: longer than every alert waits, so that a second one would come too."""
FIRING_MINUTES = 75.0
RESOLVED_MINUTES = 150.0
AFTERWARDS_MINUTES = 35.0
"""How long to listen after the fault is over: what waits half an hour would come until then."""
RESOLVED_FOR_MINUTES = 10.0
LATER_SECONDS = 30.0
"""For what a daemon and a scrape need on a busy machine."""
PACES = (1, 2)
"""Seconds that a minute of the rules lasts: at first, and on a machine too busy for that."""
STARVED = frozenset({"QStickyDown", "QStickySyncStalled"})
"""Where these come unexpected, the machine gave a daemon no time for seconds, or it is broken."""

API_KEY = "simulated-key"
NOBODY = "no qSticky"

_HANG = """
import pathlib, time
from exporter.clock import Clock

def monotonic(self):
    while pathlib.Path({marker!r}).exists():
        time.sleep(0.05)
    return time.monotonic()

Clock.monotonic = monotonic
"""
"""Lets the loop hang on request: the main thread asks for the time at each turn."""


class Stand:
    """One qSticky process with both its servers; Prometheus calls it by its name."""

    def __init__(self, name: str, folder: Path, environ: Mapping[str, str], pace: int = 1) -> None:
        self.name = name
        self.pace = pace
        self.over = Event()
        """Whether the fault is to end."""
        self.roles = [Role(auth="apikey", apikey=API_KEY)]
        self.gluetun = SimulatedGluetun("3.41", role=self.roles)
        self.qbittorrent = SimulatedQbittorrent("5.1.0")
        self.web_port = free_port()
        self.state = folder / "state"
        self.password_file = folder / "password"
        self.config_file = folder / "qsticky.yaml"
        self.prometheus: RealPrometheus | None = None
        self.work: Thread | None = None
        self._marker = folder / "hang"
        self._python_path = folder / "python"
        for directory in (self.state, self._python_path):
            directory.mkdir(parents=True)
        self.password_file.write_text(self.qbittorrent.password)
        self.config_file.write_text("tunnels: [{name: default}]\n")
        (self._python_path / "sitecustomize.py").write_text(_HANG.format(marker=str(self._marker)))
        self._environ = {
            "GLUETUN_HOST": self.gluetun.host,
            "GLUETUN_PORT": str(self.gluetun.port),
            "GLUETUN_APIKEY": API_KEY,
            "QBITTORRENT_HOST": self.qbittorrent.host,
            "QBITTORRENT_PORT": str(self.qbittorrent.port),
            "QBITTORRENT_PASS_FILE": str(self.password_file),
            "QSTICKY_CONFIG": str(self.config_file),
            "CHECK_INTERVAL": str(pace),
            "REQUEST_TIMEOUT": "1",
            "WEB_LISTEN_ADDRESS": f"127.0.0.1:{self.web_port}",
            "PYTHONPATH": f"{self._python_path}:{ROOT}",
            **environ,
        }

    def __enter__(self) -> Self:
        self.gluetun.start()
        self.qbittorrent.start()
        self.start_daemon()
        return self

    def __exit__(self, *_: object) -> None:
        self.end_work()
        self.kill_daemon()
        self.qbittorrent.__exit__()
        self.gluetun.__exit__()

    def start_daemon(self) -> None:
        """Start the daemon, on the same web port and status file as before."""
        self.daemon = QstickyProcess(self._environ, self.state)
        self.daemon.start()

    def kill_daemon(self) -> None:
        """End the daemon without a warning, as the kernel does when memory is short."""
        self.daemon.__exit__(None, None, None)

    def restart_daemon(self) -> None:
        """Start the daemon anew, and wait until Prometheus has seen that."""
        before = self._seen_start()
        self.daemon.stop()
        self.kill_daemon()
        self.start_daemon()
        wait_until(lambda: self._seen_start() > before, f"{self.name} is back", LATER_SECONDS)

    def hang(self) -> None:
        """Let the daemon's loop hang; its web server goes on."""
        self._marker.touch()

    def hang_no_longer(self) -> None:
        """Let the loop go on."""
        self._marker.unlink()

    def let_pass(self, minutes: float) -> bool:
        """Wait so many minutes of the rules; tells whether the fault was over before that."""
        return self.over.wait(minutes * self.pace)

    def at_work(self, act: Callable[[], None], pause_minutes: float) -> None:
        """Do something again and again in the background, until the fault is over."""

        def work() -> None:
            act()
            while not self.let_pass(pause_minutes):
                act()

        self.work = Thread(target=work, name=self.name, daemon=True)
        self.work.start()

    def end_work(self) -> None:
        """End what goes on in the background."""
        self.over.set()
        if self.work:
            self.work.join()

    def _seen_start(self) -> float:
        assert self.prometheus
        seen = self.prometheus.query(f'process_start_time_seconds{{instance="{self.name}"}}')
        return seen[0].value if seen else 0.0


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that happens to a tunnel, how it ends, and who is to be told what."""

    name: str
    title: str
    alerts: frozenset[str] = frozenset()
    happens: Callable[[Stand], object]
    ends: Callable[[Stand], object] = Stand.end_work
    environ: Mapping[str, str] = field(default_factory=dict)


WITHOUT_ANY = Fault(
    name=NOBODY,
    title="Prometheus has the rules, but no qSticky among its targets",
    alerts=frozenset({"QStickyAbsent"}),
    happens=lambda _: None,
)
"""Happens to a Prometheus, not to a stand."""


@dataclass(frozen=True)
class Measured:
    """What came of a fault."""

    fault: Fault
    in_prometheus: frozenset[str]
    """The alerts that fired, those too that Alertmanager kept to itself."""
    told: tuple[tuple[str, str], ...]
    """What the webhook was told: alert and status, each as often as it came."""
    error: str = ""

    @property
    def alerts(self) -> frozenset[str]:
        """The alerts that somebody was told of."""
        return frozenset(alert for alert, _ in self.told)

    @property
    def unresolved(self) -> frozenset[str]:
        """The alerts whose last word is not that they are resolved."""
        return frozenset(alert for alert, status in dict(self.told).items() if status == "firing")


class Inbox:
    """Sorts what the webhook receives by instance, and lets several threads wait for it."""

    def __init__(self, receiver: WebhookReceiver, expected: Mapping[str, frozenset[str]]) -> None:
        self.starved = False
        """Whether the machine is too busy: then nobody waits any longer."""
        self._receiver = receiver
        self._expected = expected
        self._changed = Condition()
        self._told: dict[str, list[tuple[str, str]]] = {}

    def start(self) -> None:
        """Sort from now on."""
        Thread(target=self._sort, daemon=True).start()

    def told(self, instance: str) -> tuple[tuple[str, str], ...]:
        """All changes so far, in order: alert and status."""
        with self._changed:
            return tuple(self._told.get(instance, ()))

    def wait_for(self, instance: str, alert: str, status: str, seconds: float) -> bool:
        """Wait until an alert of the instance has that status."""
        return self._wait(lambda: dict(self.told(instance)).get(alert) == status, seconds)

    def another_than(self, instance: str, alerts: frozenset[str], seconds: float) -> bool:
        """Listen for so long whether any other alert comes."""
        return self._wait(lambda: not {one for one, _ in self.told(instance)} <= alerts, seconds)

    def _wait(self, happened: Callable[[], bool], seconds: float) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self.starved or happened(), max(0.0, seconds))
            return happened()

    def _sort(self) -> None:
        while True:
            for alert in self._receiver.notifications.get()["alerts"]:
                labels = alert["labels"]
                self._note(labels["instance"], (labels["alertname"], alert["status"]))

    def _note(self, instance: str, change: tuple[str, str]) -> None:
        with self._changed:
            self.starved |= change[0] in STARVED - self._expected.get(instance, frozenset())
            told = self._told.setdefault(instance, [])
            # a group is sent again as a whole when one of it changes
            if dict(told).get(change[0]) != change[1]:
                told.append(change)
            self._changed.notify_all()


class FastPrometheus(RealPrometheus):
    """Looks back as far as its rules expect it to, in time that runs faster."""

    pace = 1

    def arguments(self) -> list[str]:
        """As ever, but 5 minutes are shorter."""
        return [*super().arguments(), f"--query.lookback-delta={5 * self.pace}s"]

    def reload(self, config: str) -> None:
        """Take another configuration, without a restart."""
        self.config.write_text(config)
        request = urllib.request.Request(f"{self.url}/-/reload", data=b"", method="POST")
        urllib.request.urlopen(request, timeout=LATER_SECONDS).close()


class Chain:
    """All parts, for one run of all faults at the same time, each on a stand of its own."""

    def __init__(self, folder: Path, faults: Sequence[Fault], pace: int = 1) -> None:
        self._folder = folder
        self._pace = pace
        self._faults = faults
        self._leave = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with self._leave:
            self._receiver = self._leave.enter_context(WebhookReceiver())
            expected = {fault.name: fault.alerts for fault in self._faults}
            self._inbox = Inbox(self._receiver, expected)
            self._inbox.start()
            self._stands = [self._stand(fault) for fault in self._faults]
            folder = self._made("alertmanager")
            self._alertmanager = self._leave.enter_context(
                RealAlertmanager(folder, alertmanager_config(self._receiver.url))
            )
            targets = {stand.name: stand.web_port for stand in self._stands}
            self._prometheus = self._server("prometheus", targets)
            for stand in self._stands:
                stand.prometheus = self._prometheus
            self._leave = self._leave.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._leave.close()

    @property
    def starved(self) -> bool:
        """Whether the machine was too busy to measure at this pace."""
        return self._inbox.starved

    def run(self) -> list[Measured]:
        """Let all faults happen; the answer is in their order, the missing qSticky last."""
        wanted = len(self._stands)
        all_well = f"count(qsticky_port_in_sync == 1) == {wanted}"
        wait_until(
            lambda: self._prometheus.query(all_well), f"{wanted} tunnels in sync", 2 * LATER_SECONDS
        )
        with ThreadPoolExecutor(wanted + 1) as threads:
            nobody = threads.submit(self._without_any)
            errors = list(threads.map(self._tell, self._faults, self._stands))
        fired = fired_in(self._prometheus)
        return [
            Measured(fault, fired.get(fault.name, frozenset()), self._inbox.told(fault.name), error)
            for fault, error in zip(self._faults, errors, strict=True)
        ] + [nobody.result()]

    def _tell(self, fault: Fault, stand: Stand) -> str:
        """One fault from its beginning to its end; the answer says what went wrong."""
        began = time.monotonic()
        try:
            fault.happens(stand)
            for alert in fault.alerts:
                self._inbox.wait_for(stand.name, alert, "firing", FIRING_MINUTES * self._pace)
            left = began + HELD_MINUTES * self._pace - time.monotonic()
            self._inbox.another_than(stand.name, fault.alerts, left)
            fault.ends(stand)
            self._listen_to_the_end(stand.name, fault.alerts)
        except Exception as error:  # noqa: BLE001  # told with the fault that it belongs to
            return f"{type(error).__name__}: {error}"
        return ""

    def _listen_to_the_end(self, name: str, alerts: frozenset[str]) -> None:
        ended = time.monotonic()
        for alert in alerts:
            self._inbox.wait_for(name, alert, "resolved", RESOLVED_MINUTES * self._pace)
        left = ended + AFTERWARDS_MINUTES * self._pace - time.monotonic()
        self._inbox.another_than(name, alerts, max(left, RESOLVED_FOR_MINUTES * self._pace))

    def _without_any(self) -> Measured:
        """A second Prometheus with the same rules and no qSticky, until it is given one."""
        alerts = WITHOUT_ANY.alerts
        prometheus = self._server(NOBODY, {})
        for alert in alerts:
            self._inbox.wait_for(NOBODY, alert, "firing", FIRING_MINUTES * self._pace)
        self._inbox.another_than(NOBODY, alerts, HELD_MINUTES * self._pace)
        prometheus.reload(self._config({NOBODY: self._stands[0].web_port}))
        self._listen_to_the_end(NOBODY, alerts)
        fired = frozenset().union(*fired_in(prometheus).values())
        return Measured(WITHOUT_ANY, fired, self._inbox.told(NOBODY))

    def _stand(self, fault: Fault) -> Stand:
        folder = self._made(fault.name)
        return self._leave.enter_context(Stand(fault.name, folder, fault.environ, self._pace))

    def _server(self, name: str, targets: Mapping[str, int]) -> FastPrometheus:
        folder = self._made(name)
        (folder / "alerts.yml").write_text(
            faster((ROOT / "alerts.yml").read_text(), MINUTE // self._pace)
        )
        prometheus = FastPrometheus(folder, self._config(targets))
        prometheus.pace = self._pace
        return self._leave.enter_context(prometheus)

    def _config(self, targets: Mapping[str, int]) -> str:
        return yaml.safe_dump(
            {
                "global": {
                    "scrape_interval": f"{self._pace}s",
                    "evaluation_interval": f"{self._pace}s",
                    # for the alert that has no labels of its own
                    "external_labels": {} if len(targets) > 1 else {"instance": NOBODY},
                },
                "rule_files": ["alerts.yml"],
                "alerting": {
                    "alertmanagers": [
                        {"static_configs": [{"targets": [f"127.0.0.1:{self._alertmanager.port}"]}]}
                    ]
                },
                "scrape_configs": [
                    {
                        "job_name": "qsticky",
                        "static_configs": [
                            {"targets": [f"127.0.0.1:{port}"], "labels": {"instance": name}}
                            for name, port in targets.items()
                        ],
                    }
                ],
            }
        )

    def _made(self, name: str) -> Path:
        folder = self._folder / name.replace(" ", "-")
        folder.mkdir()
        return folder


def measure(
    folder: Path, faults: Sequence[Fault], say: Callable[[str], object] = print
) -> list[Measured]:
    """Let all faults happen; at a slower pace once more where the machine is too busy."""
    found: list[Measured] = []
    for pace in PACES:
        directory = folder / f"pace-{pace}"
        directory.mkdir()
        with Chain(directory, faults, pace) as chain:
            found = chain.run()
        say(f"chain: a minute lasted {pace} s{', too short here' if chain.starved else ''}")
        if not chain.starved:
            break
    return found


def alertmanager_config(webhook: str) -> str:
    """The configuration that we ship, quicker, and with the webhook as the one who is told."""
    file = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
    config: dict[str, Any] = yaml.safe_load(file.read_text())
    told = {"name": "test", "webhook_configs": [{"url": webhook, "send_resolved": True}]}
    config["receivers"] = [told]
    for route in (config["route"], *config["route"].pop("routes", [])):
        route["receiver"] = "test"
    config["route"] |= {"group_wait": "100ms", "group_interval": "1s"}
    return yaml.safe_dump(config)


def fired_in(prometheus: RealPrometheus) -> dict[str, frozenset[str]]:
    """The alerts that fired at any time, by instance."""
    found: dict[str, frozenset[str]] = {}
    for labels, _ in prometheus.query('max_over_time(ALERTS{alertstate="firing"}[1h])'):
        instance = labels.get("instance", "")
        found[instance] = found.get(instance, frozenset()) | {labels["alertname"]}
    return found
