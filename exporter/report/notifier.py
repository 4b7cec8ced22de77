"""Sends the notifications that are due, in a thread of its own: no check ever waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from exporter.clock import Clock
from exporter.config.load import TunnelConfig
from exporter.config.secret import Secret
from exporter.errors import unexpected
from exporter.model import Outcome
from exporter.report.log import logger
from exporter.report.messenger import Answer, ask
from exporter.report.notices import Message, Notices

RETRY_AFTER_SECONDS = (10.0, 60.0, 300.0)
_LOOK_EVERY_SECONDS = 2.0

Ask = Callable[[str, Message | None, Collection[int]], list[Answer]]


class _Letter(NamedTuple):
    """A message that some services have not accepted yet."""

    message: Message
    due_at: float
    only: tuple[int, ...] = ()
    """Their numbers; empty = all."""
    tries: int = 0


class Notifier:
    """A reader of outcomes that tells people of them."""

    def __init__(
        self,
        notices: Notices,
        urls: Secret,
        clock: Clock,
        count: Callable[[bool], None],
        ask: Ask = ask,
    ) -> None:
        """`count` is told of each try whether it succeeded."""
        self._notices = notices
        self._urls = urls
        self._clock = clock
        self._count = count
        self._ask = ask
        self._lock = threading.Lock()
        self._letters: list[_Letter] = []

    def set_tunnels(self, tunnels: Iterable[TunnelConfig]) -> None:
        """Learn which tunnels there are from now on."""
        with self._lock:
            self._notices.set_tunnels(tunnels)

    def publish(self, outcome: Outcome) -> None:
        """Take in the outcome of a check."""
        with self._lock:
            self._notices.publish(outcome)

    def start(self) -> None:
        """Start the thread; nobody waits for its end."""
        threading.Thread(target=self._run, name="notifier", daemon=True).start()

    def check_urls(self) -> None:
        """Log what is wrong with NOTIFY_URLS."""
        for answer in self._ask(self._urls.current().value, None, ()):
            if not answer.ok:
                logger.error("%s - %s", answer.text, answer.fix)

    def step(self) -> None:
        """Send what is due."""
        with self._lock:
            message = self._notices.due()
        now = self._clock.monotonic()
        if message:
            self._letters.append(_Letter(message, now))
        due = [letter for letter in self._letters if letter.due_at <= now]
        for letter in due:
            self._letters.remove(letter)
            self._send(letter)

    def _run(self) -> None:
        do = self.check_urls
        while True:
            self._clock.sleep(_LOOK_EVERY_SECONDS)  # the first checks come first
            try:
                do()
            except Exception as error:  # noqa: BLE001  # the next message may be sent
                said = unexpected(error)
                logger.error("Notifications: %s - %s", said.message, said.fix)
            do = self.step

    def _send(self, letter: _Letter) -> None:
        answers = self._ask(self._urls.current().value, letter.message, letter.only)
        for answer in answers:
            self._count(answer.ok)
        failed = [answer for answer in answers if not answer.ok]
        again = [answer for answer in failed if answer.may_try_again]
        last = letter.tries == len(RETRY_AFTER_SECONDS)
        if letter.tries == 0 or last:
            for answer in failed:
                tried = " (given up)" if last else ""
                logger.warning("Notification not sent%s: %s - %s", tried, answer.text, answer.fix)
        if again and not last:
            due_at = self._clock.monotonic() + RETRY_AFTER_SECONDS[letter.tries]
            only = tuple(answer.number for answer in again if answer.number)
            self._letters.append(_Letter(letter.message, due_at, only, letter.tries + 1))
