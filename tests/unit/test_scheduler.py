"""The schedule: what is due when, on a clock that only moves forward."""

import pytest

from exporter.daemon.scheduler import SteadyJob, SteadyScheduler
from tests.fakes import NOW, FakeClock


class Diary:
    """A scheduler, and when its jobs ran."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.scheduler = SteadyScheduler(self.clock)
        self.runs: list[tuple[str, float]] = []

    def job(self, name: str, interval: float) -> SteadyJob:
        job = self.scheduler.every(interval)
        job.do(lambda: self.runs.append((name, self.clock.now - NOW)))
        return job

    def run_for(self, seconds: float) -> list[tuple[str, float]]:
        """Jump from one thing that is due to the next."""
        end = self.clock.now + seconds
        for _ in range(1000):
            self.scheduler.run_pending()
            if self.clock.now + self.scheduler.idle() > end:
                return self.runs
            self.clock.now += self.scheduler.idle()
        raise AssertionError("time stands still")


@pytest.fixture
def diary() -> Diary:
    return Diary()


def test_jobs_run_at_once_and_then_at_their_intervals(diary: Diary) -> None:
    diary.job("a", 30)
    diary.job("b", 45)
    assert diary.run_for(80) == [("a", 0), ("b", 0), ("a", 30), ("b", 45), ("a", 60)]


def test_a_job_that_was_moved_runs_at_its_new_time_only(diary: Diary) -> None:
    job = diary.job("a", 30)
    job.run_in(7)
    job.run_in(5)
    assert diary.run_for(36) == [("a", 5), ("a", 35)]


def test_a_job_may_choose_its_next_time_while_it_runs(diary: Diary) -> None:
    job = diary.scheduler.every(30)

    def run() -> None:
        diary.runs.append(("a", diary.clock.now - NOW))
        job.run_in(2)

    job.do(run)
    assert diary.run_for(5) == [("a", 0), ("a", 2), ("a", 4)]


def test_a_cancelled_job_never_runs_again(diary: Diary) -> None:
    job = diary.job("a", 30)
    diary.run_for(1)
    diary.scheduler.cancel_job(job)
    assert diary.run_for(100) == [("a", 0)]


def test_a_job_that_was_missed_runs_once(diary: Diary) -> None:
    diary.job("a", 30)
    diary.run_for(1)
    diary.clock.now += 1000
    assert diary.run_for(1) == [("a", 0), ("a", 1000)]


def test_without_jobs_nothing_is_ever_due(diary: Diary) -> None:
    assert diary.scheduler.idle() == float("inf")


def test_it_idles_no_longer_than_until_the_next_job_is_due(diary: Diary) -> None:
    job = diary.job("a", 30)
    assert diary.scheduler.idle() == 0
    job.run_in(0.5)
    assert diary.scheduler.idle() == 0.5
    diary.clock.now += 2
    assert diary.scheduler.idle() == 0


def test_a_job_says_in_how_many_seconds_it_is_due(diary: Diary) -> None:
    job = diary.job("a", 30)
    assert job.due_in == 0
    job.run_in(5)
    diary.clock.now += 2
    assert job.due_in == 3
    diary.clock.now += 4
    assert job.due_in == 0
