"""What Prometheus' own checker says about the metrics."""

from prometheus_client.exposition import generate_latest

from exporter.report.metrics import Metrics
from exporter.report.tally import Tally
from tests.conftest import missing_part
from tests.fakes import IN_SYNC, FakeClock, tunnels
from tests.parts import monitoring
from tests.parts.debian import PartMissing


def test_promtool_has_nothing_to_say() -> None:
    try:
        promtool = monitoring.promtool()
    except PartMissing as error:
        missing_part(f"no promtool: {error}")
    tally = Tally("1.2.3", "abcdef", FakeClock())
    tally.set_tunnels(tunnels("home", "seedbox"))
    tally.publish(IN_SYNC._replace(tunnel="home"))
    text = generate_latest(Metrics(tally).registry).decode()
    checked = monitoring.run(promtool, "check", "metrics", stdin=text)
    assert (checked.returncode, checked.stdout) == (0, "")
