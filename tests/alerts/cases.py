"""The cases of all alerts, by the alert's name."""

from tests.alerts import process_cases, tunnel_cases
from tests.alerts.story import Case

CASES: dict[str, tuple[Case, ...]] = {
    # an alert on something that is absent has no labels to keep
    name: cases if name == "QStickyAbsent" else (*cases, cases[0].on_another_site())
    for name, cases in (tunnel_cases.CASES | process_cases.CASES).items()
}
