"""When a notification is sent, to which services again, and that nobody waits for it."""

import subprocess
import sys
import threading
from collections.abc import Collection
from pathlib import Path

import pytest

from exporter.clock import Clock
from exporter.config.secret import Secret
from exporter.model import Topic
from exporter.report.messenger import Answer
from exporter.report.notices import Message, Notices
from exporter.report.notifier import Notifier
from tests.fakes import IN_SYNC, NOW, FakeClock, tunnels
from tests.parts.documentation import ROOT

MESSAGE = Message(Topic.PROBLEM, "qSticky: problem", "Gluetun timed out")
ACCEPTED = Answer(1, ok=True, text="URL 1 accepted the notification")
REFUSED = Answer(2, ok=False, text="URL 2 answered 500", fix="mend it", may_try_again=True)
INVALID = Answer(3, ok=False, text="URL 3 is none", fix="compare it")


class OneMessage(Notices):
    """Has one message, due at once."""

    def __init__(self) -> None:
        super().__init__((), Clock(), {})
        self.left = [MESSAGE]

    def due(self) -> Message | None:
        return self.left.pop() if self.left else None


class Post:
    """A notifier, and what it asks of the services."""

    def __init__(self, *answers: list[Answer], urls: Secret | None = None) -> None:
        self.clock = FakeClock()
        self.answers = list(answers)
        self.asked: list[tuple[float, str, Message | None, tuple[int, ...]]] = []
        self.counted: list[bool] = []
        self.notifier = Notifier(
            OneMessage(),
            urls or Secret("json://a json://b"),
            self.clock,
            self.counted.append,
            self.ask,
        )

    def ask(self, urls: str, message: Message | None, only: Collection[int]) -> list[Answer]:
        self.asked.append((self.clock.now - NOW, urls, message, tuple(only)))
        return self.answers.pop(0)

    def run_for(self, seconds: int) -> None:
        for _ in range(seconds):
            self.notifier.step()
            self.clock.now += 1


def test_a_message_goes_to_all_services_once() -> None:
    post = Post([ACCEPTED])
    post.run_for(1000)
    assert post.asked == [(0, "json://a json://b", MESSAGE, ())]
    assert post.counted == [True]


def test_who_did_not_accept_is_tried_three_times_more(caplog: pytest.LogCaptureFixture) -> None:
    post = Post([ACCEPTED, REFUSED, INVALID], [REFUSED], [REFUSED], [REFUSED])
    post.run_for(1000)
    assert [(at, only) for at, _, _, only in post.asked] == [
        (0, ()),
        (10, (2,)),
        (70, (2,)),
        (370, (2,)),
    ]
    assert post.counted == [True, False, False, False, False, False]
    assert caplog.messages == [
        "Notification not sent: URL 2 answered 500 - mend it",
        "Notification not sent: URL 3 is none - compare it",
        "Notification not sent (given up): URL 2 answered 500 - mend it",
    ]


def test_the_next_try_can_succeed() -> None:
    post = Post([REFUSED], [Answer(2, ok=True, text="")])
    post.run_for(1000)
    assert post.counted == [False, True]


def test_urls_in_a_file_are_read_again_at_each_use(tmp_path: Path) -> None:
    file = tmp_path / "urls"
    file.write_text("json://new\n")
    post = Post([ACCEPTED], urls=Secret("json://old", file))
    post.run_for(1)
    assert [urls for _, urls, _, _ in post.asked] == ["json://new"]


def test_what_is_wrong_with_the_urls_is_said_at_the_start(caplog: pytest.LogCaptureFixture) -> None:
    post = Post([ACCEPTED, INVALID])
    post.notifier.check_urls()
    assert [message for _, _, message, _ in post.asked] == [None]
    assert caplog.messages == ["URL 3 is none - compare it"]


def test_an_outcome_is_taken_in_while_a_service_hangs() -> None:
    post, asked, release = Post(), threading.Event(), threading.Event()

    def hang(urls: str, message: Message | None, only: Collection[int]) -> list[Answer]:
        asked.set()
        release.wait(60)
        return []

    post.notifier._ask = hang
    sending = threading.Thread(target=post.notifier.step)
    sending.start()
    assert asked.wait(60)
    post.notifier.set_tunnels(tunnels("default"))
    post.notifier.publish(IN_SYNC)
    assert sending.is_alive()
    release.set()
    sending.join()


def test_a_mistake_of_ours_does_not_end_the_thread(caplog: pytest.LogCaptureFixture) -> None:
    class Ended(BaseException):
        pass

    class Impatient(FakeClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            if self.now > NOW + 10:
                raise Ended

    post = Post()  # has no answer: an IndexError
    post.notifier._clock = Impatient()
    with pytest.raises(Ended):
        post.notifier._run()
    assert len(post.asked) == 2
    assert "an unexpected IndexError at test_notifier.py" in caplog.messages[0]


_HANGS = """
import threading
from exporter.clock import Clock
from exporter.config.secret import Secret
from exporter.report.notices import Notices
from exporter.report.notifier import Notifier

asked = threading.Event()

def hang(*_):
    asked.set()
    threading.Event().wait()

Notifier(Notices((), Clock(), {}), Secret("json://a"), Clock(), print, hang).start()
asked.wait()
"""


def test_the_program_ends_while_a_service_hangs() -> None:
    ended = subprocess.run([sys.executable, "-c", _HANGS], cwd=ROOT, timeout=60, check=False)
    assert ended.returncode == 0
