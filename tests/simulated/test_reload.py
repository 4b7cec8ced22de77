"""Reloading the configuration of the whole program: by SIGHUP and by a request."""

import contextlib
import json
import re
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from exporter.simulator.world import Fault, Role, SimulatedGluetun, SimulatedQbittorrent
from tests.parts.daemon import QstickyProcess, wait_until


class Pair:
    """A tunnel's two servers."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.gluetun = SimulatedGluetun("3.41", role=Role())
        self.qbittorrent = SimulatedQbittorrent("5.1.0")

    def entry(self, *, port: int | None = None, password: str = "") -> dict[str, object]:
        """The tunnel in the file; its servers' own port and password unless others are given."""
        return {
            "name": self.name,
            "gluetun": {
                "host": self.gluetun.host,
                "port": port or self.gluetun.port,
                "auth_type": "none",
            },
            "qbittorrent": {
                "host": self.qbittorrent.host,
                "port": self.qbittorrent.port,
                "pass": password or self.qbittorrent.password,
            },
        }

    @property
    def logins(self) -> int:
        return len(self.qbittorrent.login_attempts)


class Site:
    """A running qSticky with three pairs of servers, of which its file names some."""

    def __init__(self, folder: Path, *, lifecycle: str = "true") -> None:
        self.file = folder / "qsticky.yaml"
        self.pairs = [Pair(name) for name in "abc"]
        environ = {
            "QSTICKY_CONFIG": str(self.file),
            "CHECK_INTERVAL": "3600",
            "WEB_LISTEN_ADDRESS": "127.0.0.1:0",
            "WEB_ENABLE_LIFECYCLE": lifecycle,
        }
        self.process = QstickyProcess(environ, folder)
        self._leave = contextlib.ExitStack()

    def __enter__(self) -> Self:
        for pair in self.pairs:
            self._leave.enter_context(pair.gluetun)
            self._leave.enter_context(pair.qbittorrent)
        self.write(self.pairs[0].entry(), self.pairs[1].entry())
        self._leave.enter_context(self.process)
        line = self.process.wait_for("Status page and metrics at")
        self.url = re.findall(r"http://\S+(?=/)", line)[0]
        self.wait_until_in_sync("a", "b")
        return self

    def __exit__(self, *_: object) -> None:
        self._leave.close()

    def write(self, *entries: dict[str, object]) -> None:
        """Make the file anew; JSON is YAML too."""
        self.file.write_text(json.dumps({"tunnels": entries}))

    def wait_until_in_sync(self, *names: str) -> None:
        wait_until(
            lambda: all(self.sample("qsticky_port_in_sync", name) == 1 for name in names),
            f"{names} are in sync",
        )

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            text: str = answer.read().decode()
            return text

    def post_reload(self, **headers: str) -> tuple[int, str]:
        request = urllib.request.Request(self.url + "/-/reload", b"", headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def sample(self, metric: str, tunnel: str = "") -> float | None:
        label = f'{{tunnel="{tunnel}"}}' if tunnel else ""
        found = re.findall(rf"^{re.escape(metric + label)} (\S+)$", self.get("/metrics"), re.M)
        return float(found[0]) if found else None


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path) as site:
        yield site


def test_a_file_that_did_not_change_leaves_all_as_it_is(site: Site) -> None:
    assert site.post_reload() == (200, "reloaded\n")
    site.process.wait_for("reloaded; tunnels: 0 added, 0 removed, 0 changed, 2 unchanged")
    assert site.sample("qsticky_config_last_reload_successful") == 1
    assert site.sample("qsticky_config_reloads_total") == 1
    assert site.sample("qsticky_syncs_total", "a") == 1


def test_sighup_adds_and_removes_and_leaves_the_others_alone(site: Site) -> None:
    a, _, c = site.pairs
    site.write(a.entry(), c.entry())

    site.process.process.send_signal(signal.SIGHUP)

    site.process.wait_for("reloaded; tunnels: 1 added, 1 removed, 0 changed, 1 unchanged")
    site.wait_until_in_sync("a", "c")
    assert 'tunnel="b"' not in site.get("/metrics")
    assert list(json.loads(site.get("/status.json"))["tunnels"]) == ["a", "c"]
    assert list(site.process.status["tunnels"]) == ["a", "c"]
    assert ">b<" not in site.get("/")
    assert (site.sample("qsticky_syncs_total", "a"), a.logins) == (1, 1)


def test_a_rejected_file_changes_nothing_and_says_why(site: Site) -> None:
    site.file.write_text("tunnels: [{name: a}, {name: a, rebind: sometimes}]")

    status, message = site.post_reload()

    assert status == 500
    assert message == (
        "not reloaded: the configuration has 2 mistakes:\n"
        "tunnels[1].name: given 'a', as at tunnels[0]; "
        "expected a name of its own for each tunnel\n"
        "tunnels[1].rebind: given 'sometimes'; expected one of auto, always, never\n"
    )
    line = site.process.wait_for("The configuration is not reloaded, all goes on as before")
    assert "ERROR" in line
    assert "given 'sometimes'" in line
    assert site.sample("qsticky_config_last_reload_successful") == 0
    assert site.sample("qsticky_config_reload_failures_total") == 1
    assert list(json.loads(site.get("/status.json"))["tunnels"]) == ["a", "b"]

    site.write(site.pairs[0].entry(), site.pairs[1].entry())
    assert site.post_reload()[0] == 200
    assert site.sample("qsticky_config_last_reload_successful") == 1
    assert [pair.logins for pair in site.pairs] == [1, 1, 0]


def test_a_changed_tunnel_keeps_its_counters_and_what_a_restart_would_keep(site: Site) -> None:
    a, b, c = site.pairs
    site.write(a.entry(port=c.gluetun.port), b.entry())

    assert site.post_reload()[0] == 200

    site.process.wait_for("0 added, 0 removed, 1 changed, 1 unchanged")
    wait_until(lambda: site.sample("qsticky_syncs_total", "a") == 2, "a has been looked at again")
    assert a.logins == 2
    assert b.logins == 1


def test_a_corrected_password_is_tried_at_once(site: Site) -> None:
    a, b, c = site.pairs
    site.write(a.entry(), b.entry(), c.entry(password="wrong"))
    site.post_reload()
    wait_until(
        lambda: site.sample("qsticky_qbittorrent_login_suspended", "c") == 1, "c is rejected"
    )

    site.write(a.entry(), b.entry(), c.entry())
    site.post_reload()

    site.wait_until_in_sync("c")
    assert c.logins == 2


def test_a_rejected_login_is_remembered_whatever_else_changes(site: Site) -> None:
    c = site.pairs[2]
    entry = c.entry(password="wrong")
    site.write(entry)
    site.post_reload()
    wait_until(lambda: c.logins == 1, "c is rejected")
    wait_until(lambda: site.sample("qsticky_syncs_total", "c") == 1, "it is told")
    server = entry["qbittorrent"]
    assert isinstance(server, dict)

    for number, verify in enumerate((True, False, True, False)):
        name = f"renamed-{number}"
        site.write(entry | {"name": name, "qbittorrent": server | {"verify_ssl": verify}})
        site.post_reload()
        wait_until(lambda n=name: site.sample("qsticky_syncs_total", n) == 1, "it was checked")  # type: ignore[misc]
        assert site.sample("qsticky_qbittorrent_login_suspended", name) == 1

    assert c.logins == 1


def test_a_login_of_a_cycle_that_a_reload_overtakes_is_remembered(site: Site) -> None:
    c = site.pairs[2]
    c.gluetun.fail(None, Fault.HANG)
    site.write(c.entry(password="wrong"))
    site.post_reload()
    wait_until(lambda: c.gluetun.requests, "c asks Gluetun, which hangs")
    site.write(c.entry(password="wrong") | {"rebind": "never"})
    site.post_reload()
    c.gluetun.heal()

    wait_until(lambda: site.sample("qsticky_syncs_total", "c") == 1, "the new one was checked")

    assert c.logins == 1
    assert site.sample("qsticky_qbittorrent_login_suspended", "c") == 1


def test_a_form_on_another_site_reloads_nothing(site: Site) -> None:
    assert site.post_reload(Origin="http://evil.example")[0] == 403
    assert site.sample("qsticky_config_reloads_total") == 0


def test_nobody_reloads_by_a_request_unless_that_is_switched_on(tmp_path: Path) -> None:
    with Site(tmp_path, lifecycle="false") as site:
        assert site.post_reload() == (403, "switched off; set WEB_ENABLE_LIFECYCLE=true\n")
        site.process.process.send_signal(signal.SIGHUP)
        site.process.wait_for("The configuration is reloaded")
