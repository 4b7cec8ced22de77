"""The whole chain, once for real: qSticky, Prometheus, Alertmanager, and who is notified.

When which alert fires is tested in tests/alerts, in promtool's virtual time.
"""

import contextlib
import json
import re
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import Empty

import pytest
import yaml

from exporter.simulator.world import Role, SimulatedGluetun, SimulatedQbittorrent
from tests.conftest import missing_part
from tests.parts import monitoring
from tests.parts.daemon import ROOT, QstickyProcess, clock_off_by, wait_until, way_to
from tests.parts.debian import PartMissing
from tests.parts.monitoring import RealAlertmanager, RealPrometheus
from tests.parts.qbittorrent import free_port
from tests.parts.receiver import Receiver

API_KEY = "simulated-key"
PORT = 45720
PATIENCE_SECONDS = 30.0


def told(receiver: Receiver) -> tuple[str, str, int]:
    """Wait for the next notification; return its alert, its status, and of how many tunnels."""
    message = json.loads(receiver.arrived.get(timeout=PATIENCE_SECONDS))
    return message["groupLabels"]["alertname"], message["status"], len(message["alerts"])


@dataclass
class Chain:
    """All parts, one tunnel in sync."""

    gluetun: SimulatedGluetun
    qbittorrent: SimulatedQbittorrent
    daemon: QstickyProcess
    web_port: int
    prometheus: RealPrometheus
    receiver: Receiver

    def told(self) -> tuple[str, str]:
        """Wait for the next notification, of one alert; return its name and status."""
        try:
            name, status, count = told(self.receiver)
        except Empty:
            raise AssertionError(f"nobody is told anything:\n{self.daemon.output}") from None
        assert count == 1
        return name, status

    def in_sync(self) -> bool:
        return bool(self.prometheus.query("qsticky_port_in_sync == 1"))


@pytest.fixture(scope="module")
def parts() -> None:
    try:
        monitoring.promtool()
        clock_off_by(0)
    except PartMissing as error:
        missing_part(f"no real Prometheus and Alertmanager: {error}")


@pytest.fixture(scope="module")
def chain(parts: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    with running_chain(tmp_path_factory.mktemp("chain")) as chain:
        yield chain


@contextlib.contextmanager
def running_chain(folder: Path, **environ: str) -> Iterator[Chain]:
    # what waits for minutes waits for seconds here
    rules = re.sub(r"for: (10|5|2)m", "for: 2s", (ROOT / "alerts.yml").read_text())
    (folder / "alerts.yml").write_text(rules)
    with contextlib.ExitStack() as stack:
        receiver = stack.enter_context(Receiver())
        role = Role(auth="apikey", apikey=API_KEY)
        gluetun = stack.enter_context(SimulatedGluetun("3.41", role=role, forwarded_port=PORT))
        qbittorrent = stack.enter_context(SimulatedQbittorrent("5.1.0"))
        alertmanager = RealAlertmanager(folder, alertmanager_config(receiver.url))
        stack.enter_context(alertmanager)
        port = free_port()
        daemon = stack.enter_context(qsticky(gluetun, qbittorrent, port, folder, environ))
        config = prometheus_config(port, alertmanager.port)
        prometheus = stack.enter_context(RealPrometheus(folder, config))
        chain = Chain(gluetun, qbittorrent, daemon, port, prometheus, receiver)
        wait_until(chain.in_sync, "Prometheus knows a tunnel in sync")
        yield chain


def qsticky(
    gluetun: SimulatedGluetun,
    qbittorrent: SimulatedQbittorrent,
    port: int,
    folder: Path,
    environ: Mapping[str, str],
) -> QstickyProcess:
    given = {"CHECK_INTERVAL": "1", "WEB_LISTEN_ADDRESS": f"127.0.0.1:{port}"}
    return QstickyProcess({**way_to(gluetun, qbittorrent, API_KEY), **given, **environ}, folder)


def alertmanager_config(webhook: str) -> str:
    """Return the configuration that we ship, quicker, with a webhook as the receiver."""
    config = yaml.safe_load((ROOT / "deploy" / "alertmanager" / "alertmanager.yml").read_text())
    config["receivers"] = [{"name": "test", "webhook_configs": [{"url": webhook}]}]
    for route in (config["route"], *config["route"].pop("routes", [])):
        route["receiver"] = "test"
    config["route"] |= {"group_wait": "100ms", "group_interval": "1s"}
    return yaml.safe_dump(config)


def prometheus_config(port: int, alertmanager_port: int) -> str:
    """Return the configuration that we ship, quicker, with the ports of this test."""
    text = (ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text()
    text = text.replace("qsticky:9809", f"127.0.0.1:{port}")
    config = yaml.safe_load(text.replace("alertmanager:9093", f"127.0.0.1:{alertmanager_port}"))
    config["global"] |= {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = ["alerts.yml"]
    jobs = [job for job in config["scrape_configs"] if job["job_name"] == "qsticky"]
    config["scrape_configs"] = jobs
    return yaml.safe_dump(config)


CAUSES: dict[str, tuple[Callable[[Chain], object], Callable[[Chain], object]]] = {
    "QStickyNoForwardedPort": (
        lambda chain: chain.gluetun.change_port(0),
        lambda chain: chain.gluetun.change_port(PORT + 1),
    ),
    "QStickyQbittorrentUnreachable": (
        lambda chain: chain.qbittorrent.stop(),
        lambda chain: chain.qbittorrent.start(),
    ),
    "QStickyDown": (
        lambda chain: chain.daemon.kill(),
        lambda chain: chain.daemon.start(),
    ),
}


@pytest.mark.parametrize("alert", CAUSES)
def test_a_cause_is_told_once_and_so_is_its_end(alert: str, chain: Chain) -> None:
    happens, ends = CAUSES[alert]
    happens(chain)
    assert chain.told() == (alert, "firing")
    ends(chain)
    assert chain.told() == (alert, "resolved")
    wait_until(chain.in_sync, "the tunnel is in sync again")
    assert chain.receiver.arrived.empty()


def test_five_minutes_between_the_clocks_are_told_and_change_nothing_else(
    parts: None, tmp_path: Path
) -> None:
    with running_chain(tmp_path, **clock_off_by(-300)) as chain:
        assert chain.told() == ("QStickyClockSkew", "firing")
        chain.gluetun.change_port(0)
        assert chain.told() == ("QStickyNoForwardedPort", "firing")
        assert not chain.prometheus.query('ALERTS{alertname="QStickySyncStalled"}')


@pytest.fixture
def alerting(parts: None, tmp_path: Path) -> Iterator[tuple[RealAlertmanager, Receiver]]:
    with (
        Receiver() as receiver,
        RealAlertmanager(tmp_path, alertmanager_config(receiver.url)) as alertmanager,
    ):
        yield alertmanager, receiver


NAS, ATTIC = "nas:9809", "attic:9809"


def test_tunnels_that_break_at_once_are_one_message_each_way(
    alerting: tuple[RealAlertmanager, Receiver],
) -> None:
    alertmanager, receiver = alerting
    alerts = [labels("QStickyVPNDown", NAS, tunnel=f"tunnel{i}") for i in range(300)]
    alertmanager.send(alerts)
    assert told(receiver) == ("QStickyVPNDown", "firing", 300)
    alertmanager.send([labels("QStickyVPNDown", ATTIC, tunnel=t) for t in ("one", "two")])
    assert told(receiver) == ("QStickyVPNDown", "firing", 2)
    alertmanager.send(alerts, ended=True)
    assert told(receiver) == ("QStickyVPNDown", "resolved", 300)
    assert receiver.arrived.empty()


def test_while_qsticky_is_down_nobody_is_told_that_something_else_ended(
    alerting: tuple[RealAlertmanager, Receiver],
) -> None:
    alertmanager, receiver = alerting
    vpn, down = labels("QStickyVPNDown", NAS, tunnel="home"), labels("QStickyDown", NAS)
    alertmanager.send([vpn])
    assert told(receiver) == ("QStickyVPNDown", "firing", 1)
    alertmanager.send([down])
    assert told(receiver) == ("QStickyDown", "firing", 1)
    alertmanager.send([vpn], ended=True)
    # by its end, an interval of all groups has passed
    other = labels("QStickyAbsent", "")
    alertmanager.send([other])
    assert told(receiver) == ("QStickyAbsent", "firing", 1)
    alertmanager.send([other], ended=True)
    assert told(receiver) == ("QStickyAbsent", "resolved", 1)
    alertmanager.send([down], ended=True)
    assert told(receiver) == ("QStickyDown", "resolved", 1)


def labels(alert: str, instance: str, **others: str) -> dict[str, str]:
    return {"alertname": alert, "instance": instance, "severity": "critical", **others}


def test_every_query_of_the_dashboards_is_answered(chain: Chain) -> None:
    texts = [file.read_text() for file in (ROOT / "grafana" / "dashboards").glob("*.json")]
    panels = [panel for text in texts for panel in json.loads(text)["panels"]]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    for name, value in (("__rate_interval", "1m"), ("__range", "1m"), (r"\w+", ".+")):
        queries = [re.sub(rf"\$(\{{{name}\}}|{name}\b)", value, query) for query in queries]

    answers = {query: chain.prometheus.query(query) for query in queries}

    assert len(answers) > 20
    empty = [query for query, series in answers.items() if not series]
    assert len(empty) < len(answers) / 5, empty


def test_promtool_finds_nothing_wrong_with_the_metrics(chain: Chain) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{chain.web_port}/metrics") as answer:
        text = answer.read().decode()
    checked = monitoring.run(monitoring.promtool(), "check", "metrics", stdin=text)
    assert (checked.returncode, checked.stdout) == (0, "")
