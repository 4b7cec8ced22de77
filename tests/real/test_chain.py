"""The whole chain for real: what happens to a tunnel, and what somebody is told of it.

A minute lasts a second here: the rules are the fast copy of alerts.yml. On a machine too busy for
that, it is done again with two seconds.
"""

from collections.abc import Callable

import pytest
import yaml

from tests.conftest import missing_part
from tests.parts import monitoring
from tests.parts.chain import WITHOUT_ANY, Measured, measure
from tests.parts.daemon import ROOT
from tests.parts.debian import PartMissing
from tests.real.chain_faults import FAULTS


@pytest.fixture(scope="module")
def measured(
    tmp_path_factory: pytest.TempPathFactory, show: Callable[[str], None]
) -> list[Measured]:
    """Every fault with what came of it; they all happen at the same time."""
    try:
        monitoring.promtool()
    except PartMissing as error:
        missing_part(f"no real Prometheus and Alertmanager: {error}")
    return measure(tmp_path_factory.mktemp("chain"), FAULTS, show)


@pytest.mark.parametrize("name", [fault.name for fault in (*FAULTS, WITHOUT_ANY)])
def test_one_fault_gives_its_one_alert_and_no_other_and_the_end_is_told_too(
    name: str, measured: list[Measured]
) -> None:
    one = next(each for each in measured if each.fault.name == name)
    assert one.error == ""
    assert one.in_prometheus == one.fault.alerts
    assert one.told == tuple(
        (alert, status) for alert in one.fault.alerts for status in ("firing", "resolved")
    )


def test_every_alert_has_a_fault_that_gives_it() -> None:
    groups = yaml.safe_load((ROOT / "alerts.yml").read_text())["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"]}
    assert frozenset().union(*(fault.alerts for fault in (*FAULTS, WITHOUT_ANY))) == alerts


def test_no_fault_is_to_give_more_than_one_alert() -> None:
    assert all(len(fault.alerts) <= 1 for fault in FAULTS)
