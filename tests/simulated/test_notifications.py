"""Notifications, sent by the child process through Apprise to a receiver of the test's own."""

import contextlib
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.cli import main
from exporter.model import Topic
from exporter.report.messenger import Answer, ask
from exporter.report.notices import Message
from tests.parts.documentation import ROOT
from tests.parts.receiver import Receiver
from tests.rig import Rig, make_rig

MESSAGE = Message(Topic.PROBLEM, "qSticky: problem", "seedbox-1: no <port>, since 14:13")
UNDERSTANDS = "is one that Apprise understands"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def notified(receiver: Receiver, tmp_path: Path) -> Iterator[Rig]:
    with make_rig(tmp_path, environ={"NOTIFY_URLS": f"json://{receiver.place}/"}) as rig:
        yield rig


def said(answers: list[Answer]) -> dict[int, tuple[bool, str]]:
    return {answer.number: (answer.ok, answer.text) for answer in answers}


# The child


def test_a_message_reaches_every_service(receiver: Receiver) -> None:
    urls = f"json://{receiver.place}/a?to=x,y, xml://{receiver.place}/b,json://{receiver.place}/c"
    answers = ask(urls, MESSAGE)
    assert [answer.ok for answer in answers] == [True, True, True]
    posts = dict(receiver.posts)
    assert set(posts) == {"/a", "/b", "/c"}
    assert '"message": "seedbox-1: no <port>, since 14:13"' in posts["/a"]
    assert '"type": "failure"' in posts["/a"]
    assert "<Message>seedbox-1: no &lt;port&gt;, since 14:13</Message>" in posts["/b"]


def test_each_service_says_what_it_answered(receiver: Receiver) -> None:
    with Receiver() as gone:
        pass
    urls = (
        f"json://{receiver.place}/ok json://{receiver.place}/500/x xml://{receiver.place}/404/x "
        f"json://{gone.place}/ discrod://id/token tokenonly"
    )
    assert said(ask(urls, MESSAGE)) == {
        1: (True, "URL 1 of NOTIFY_URLS (json://…) accepted the notification"),
        2: (False, "URL 2 of NOTIFY_URLS (json://…) answered 500"),
        3: (False, "URL 3 of NOTIFY_URLS (xml://…) answered 404"),
        4: (False, "URL 4 of NOTIFY_URLS (json://…) gave no answer"),
        5: (False, "URL 5 of NOTIFY_URLS (discrod://…) is none that Apprise understands"),
        6: (False, "URL 6 of NOTIFY_URLS is none that Apprise understands"),
    }


def test_only_some_are_asked_again(receiver: Receiver) -> None:
    urls = f"json://{receiver.place}/a json://{receiver.place}/b json://{receiver.place}/c"
    assert [answer.number for answer in ask(urls, MESSAGE, [2])] == [2]
    assert [path for path, _ in receiver.posts] == ["/b"]


def test_a_service_that_hangs_is_killed_and_keeps_no_other_from_being_told(
    receiver: Receiver,
) -> None:
    urls = f"json://{receiver.place}/hang/?rto=600 json://{receiver.place}/ok"
    assert said(ask(urls, MESSAGE, limit_seconds=6)) == {
        1: (False, "URL 1 of NOTIFY_URLS (json://…) did not answer in time"),
        2: (True, "URL 2 of NOTIFY_URLS (json://…) accepted the notification"),
    }
    assert children() == []


def children() -> list[str]:
    """What others can see of the programs that this one has started."""
    found = []
    for listed in Path("/proc/self/task").glob("*/children"):
        for pid in listed.read_text().split():
            with contextlib.suppress(OSError):
                found += [Path("/proc", pid, file).read_text() for file in ("cmdline", "environ")]
    return [seen for seen in found if "send_notifications" in seen or "canary" in seen]


def test_nobody_sees_a_url_in_the_list_of_processes(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("notify_urls", "json://canary")
    monkeypatch.setenv("QBITTORRENT_PASS", "canary")
    urls = f"json://canary:finch@{receiver.place}/hang/?rto=600"
    sending = threading.Thread(target=ask, args=(urls, MESSAGE))
    sending.start()
    assert receiver.hanging.wait(60)
    [seen] = children()
    assert "send_notifications" in seen
    receiver.__exit__()
    sending.join()


def test_without_apprise_the_fix_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "apprise.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    [answer] = ask("json://localhost", MESSAGE)
    assert "Apprise" in answer.text
    assert "pip install 'qsticky[notify]'" in answer.fix
    assert not answer.may_try_again


def test_the_lines_to_paste_are_urls() -> None:
    page = (ROOT / "docs" / "notifications.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| .* \| `(\w+://\S+)`", page, re.MULTILINE)
    schemes = {line.partition("://")[0] for line in lines}
    assert {"ntfys", "discord", "gotify", "mailtos"} <= schemes
    answers = ask(" ".join(lines), None)
    assert [answer.text for answer in answers if not answer.ok] == []
    assert len(answers) == len(lines) == 7


# The whole program


def step(rig: Rig) -> None:
    """Gather what there is for 10 s, and send it."""
    assert rig.service.notifier
    rig.service.notifier.step()
    rig.run_for(11)
    rig.service.notifier.step()


def test_a_problem_and_its_end_are_told_over_a_restart(notified: Rig, receiver: Receiver) -> None:
    notified.check()
    notified.gluetun.stop()
    notified.run_for(95)
    step(notified)
    notified.start_daemon()
    notified.run_for(95)
    step(notified)
    notified.gluetun.start()
    notified.run_for(65)
    step(notified)
    problem, recovery = receiver.messages
    assert problem[:2] == ("failure", "qSticky: problem")
    assert re.match(r"Gluetun .*, since 2026-09-21 14:1\d UTC\nFix: check that", problem[2])
    assert recovery == ("success", "qSticky: recovery", "Open again on port 45720 after 3 min")
    assert notified.metric("qsticky_notifications_total") == 1
    assert notified.metric("qsticky_notification_failures_total") == 0


def test_a_wrong_url_is_said_once_and_the_port_is_set_nevertheless(tmp_path: Path) -> None:
    with make_rig(tmp_path, environ={"NOTIFY_URLS": "discrod://a/b"}) as rig:
        assert rig.service.notifier
        rig.service.notifier.check_urls()
        assert rig.check().in_sync
        [error] = [message for level, message in rig.lines() if level == "ERROR"]
        assert error.startswith("URL 1 of NOTIFY_URLS (discrod://…) is none that Apprise")


def test_nothing_is_made_without_urls(rig: Rig) -> None:
    assert rig.service.notifier is None


# The commands


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    monkeypatch.setenv("HEALTH_FILE", str(tmp_path / "status.json"))
    return monkeypatch


def test_notify_sends_a_test_message(
    receiver: Receiver, environ: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environ.setenv("NOTIFY_URLS", f"json://{receiver.place}/")
    assert main(["notify"]) == 0
    assert receiver.messages == [("info", "qSticky: test", "Notifications of qSticky arrive here.")]
    environ.setenv("NOTIFY_URLS", f"json://{receiver.place}/500/")
    assert main(["notify"]) == 3
    assert capsys.readouterr().out == (
        "✓ URL 1 of NOTIFY_URLS (json://…) accepted the notification\n"
        "✗ URL 1 of NOTIFY_URLS (json://…) answered 500\n"
        "    → check that the service runs, and its address and token in the URL\n"
    )


def test_notify_without_urls_is_a_mistake(
    environ: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["notify"]) == 2
    assert "NOTIFY_URLS: not set" in capsys.readouterr().err


def test_check_reads_the_urls_and_sends_nothing(
    receiver: Receiver, environ: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environ.setenv("NOTIFY_URLS", f"json://{receiver.place}/ discrod://a/b")
    assert main(["check"]) == 3
    lines = [line for line in capsys.readouterr().out.splitlines() if "NOTIFY_URLS" in line]
    assert lines == [
        f"✓ URL 1 of NOTIFY_URLS (json://…) {UNDERSTANDS}",
        "✗ URL 2 of NOTIFY_URLS (discrod://…) is none that Apprise understands",
    ]
    assert receiver.posts == []
