"""Do the tests of the alerts notice mistakes? Each of some hundred small ones must fail a test."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from tests.alerts.cases import CASES
from tests.alerts.mutants import Mutant, mutants
from tests.alerts.story import promtool_files
from tests.alerts.test_alerts import EVERY_RULE
from tests.parts import monitoring


@EVERY_RULE
def test_every_small_mistake_in_an_alert_is_noticed(
    rule: dict[str, object], tmp_path: Path
) -> None:
    promtool = monitoring.or_skip(monitoring.promtool)
    name = str(rule["alert"])

    def survives(numbered: tuple[int, Mutant]) -> bool:
        directory = tmp_path / str(numbered[0])
        directory.mkdir()
        return passes(promtool, numbered[1], name, directory)

    with ThreadPoolExecutor(2) as pool:
        candidates = list(enumerate(mutants(rule)))
        verdicts = list(pool.map(survives, candidates))
    survivors = [
        mutant.change
        for (_, mutant), survived in zip(candidates, verdicts, strict=True)
        if survived
    ]
    assert survivors == []


def passes(promtool: Path, mutant: Mutant, name: str, directory: Path) -> bool:
    """Whether all tests of an alert pass although it has a mistake."""
    rules = directory / "rules.yml"
    rules.write_text(yaml.safe_dump({"groups": [{"name": "mutant", "rules": [mutant.rule]}]}))
    file = directory / "test.yml"
    # one case at a time: most mistakes show in the first
    for case in CASES[name]:
        (document,) = promtool_files("rules.yml", [case], only=name)
        file.write_text(yaml.safe_dump(document))
        if monitoring.run(promtool, "test", "rules", file).returncode != 0:
            return False
    return True


def test_the_rule_itself_passes_its_tests(tmp_path: Path) -> None:
    """Or else every mutant would seem to be noticed."""
    promtool = monitoring.or_skip(monitoring.promtool)
    rule = EVERY_RULE.args[1][0].values[0]
    assert passes(promtool, Mutant("none", rule), rule["alert"], tmp_path)
