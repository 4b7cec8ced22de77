"""What Prometheus' own checker says about the metrics."""

from dataclasses import replace

from prometheus_client.exposition import generate_latest

from exporter.report.metrics import Metrics
from exporter.report.tally import Tally
from tests.fakes import IN_SYNC, FakeClock, tunnels
from tests.parts import monitoring


def test_promtool_has_nothing_to_say() -> None:
    promtool = monitoring.or_skip(monitoring.promtool)
    tally = Tally("1.2.3", "abcdef", FakeClock())
    tally.set_tunnels(tunnels("home", "seedbox"))
    tally.publish(replace(IN_SYNC, tunnel="home"))
    text = generate_latest(Metrics(tally).registry).decode()
    checked = monitoring.run(promtool, "check", "metrics", stdin=text)
    assert (checked.returncode, checked.stdout) == (0, "")
