"""What answers from outside lead to: stories of questions and answers, without servers."""

import pytest

from exporter.model import Answer, Failure, Operation, OperationResult, Outside, Reason
from exporter.tunnel.outside import (
    after_another_port,
    after_answer,
    after_change,
    after_rebind,
    ask_at,
    is_closed,
    wants_rebind,
)

NEW = Outside(changed_at=1000.0)
FAILED = Failure(Operation.REACHABILITY, Reason.RATE_LIMITED, "too often", "ask less often")
INTERVAL = 600.0


def answered(known: Outside, word: str, at: float, *, explained: bool = False) -> Outside:
    reachable = {"open": True, "closed": False, "unknown": None}[word]
    failure = FAILED if reachable is None else None
    done = OperationResult(Operation.REACHABILITY, 0.1)
    answer = Answer(45720, at, reachable, done, failure)
    return after_answer(known, answer, explained=explained)


def after(words: str, known: Outside = NEW) -> Outside:
    """What is known after these answers, a minute apart; `rebind` is one."""
    for number, word in enumerate(words.split(), 1):
        at = NEW.changed_at + 60.0 * number
        known = after_rebind(known, at) if word == "rebind" else answered(known, word, at)
    return known


@pytest.mark.parametrize(
    ("words", "closed", "rebind"),
    [
        ("", False, False),
        ("open", False, False),
        ("closed", False, False),
        ("closed open closed", False, False),
        ("closed closed", True, True),
        ("closed unknown closed", True, True),
        ("closed closed rebind", False, False),
        ("closed closed rebind unknown", False, False),
        ("closed closed rebind closed", True, False),
        ("closed closed rebind closed unknown closed", True, False),
        ("closed closed rebind closed open", False, False),
        ("closed closed rebind open closed closed", True, True),
    ],
)
def test_two_closed_lead_to_one_rebind_and_one_more_to_a_verdict(
    words: str, closed: bool, rebind: bool
) -> None:
    known = after(words)
    assert (is_closed(known), wants_rebind(known)) == (closed, rebind)


def test_another_port_forgets_all_but_when_it_was_asked() -> None:
    known = after_another_port(after("closed closed rebind open closed"), 2000.0)
    assert known == Outside(changed_at=2000.0, asked_at=1300.0)


def test_a_reconnect_forgets_a_first_closed_and_keeps_a_verdict() -> None:
    assert after_change(after("closed"), 2000.0).closed == 0
    assert wants_rebind(after_change(after("closed closed"), 2000.0))
    known = after_change(after("closed closed rebind closed"), 2000.0)
    assert is_closed(known)
    assert not is_closed(answered(known, "open", 2010.0))


def test_an_answer_to_a_question_from_before_a_change_says_nothing() -> None:
    known = after_change(after("closed"), 2000.0)
    for word in ("open", "closed", "unknown"):
        for at in (1999.0, 2000.0):
            assert answered(known, word, at) == known._replace(asked_at=at)


def test_a_closed_that_is_explained_by_something_else_does_not_count() -> None:
    assert answered(NEW, "closed", 1010.0, explained=True).closed == 0


@pytest.mark.parametrize(
    ("known", "due_at"),
    [
        (NEW, 1010.0),
        (answered(NEW, "open", 1010.0), 1610.0),
        (answered(NEW, "unknown", 1010.0), 1610.0),
        (answered(NEW, "closed", 1010.0), 1040.0),
        (answered(answered(NEW, "closed", 1010.0), "unknown", 1040.0), 1640.0),
        (after_change(answered(NEW, "open", 1010.0), 1020.0), 1070.0),
        (after_change(answered(NEW, "open", 1010.0), 1500.0), 1510.0),
        (after("closed closed rebind"), 1190.0),
        (after("closed closed rebind closed"), 1840.0),
    ],
)
def test_asks_10_s_after_a_change_confirms_a_closed_after_30_and_else_by_the_interval(
    known: Outside, due_at: float
) -> None:
    assert ask_at(known, INTERVAL) == due_at
