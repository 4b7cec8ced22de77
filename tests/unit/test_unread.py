"""Answers that nobody reads to their end take no more memory than is allowed."""

from exporter.web.unread import Unread

MEGABYTE = 1_000_000


def answers(count: int) -> list[bytes]:
    return [bytes([number]) * MEGABYTE for number in range(count)]


def test_beyond_the_bound_the_readers_of_the_oldest_answer_are_cut_off() -> None:
    unread = Unread(most_bytes=3 * MEGABYTE + 100_000)
    readers = [unread.open(answer) for answer in answers(5)]
    assert [reader.closed for reader in readers] == [True, True, False, False, False]
    assert readers[-1].read() == answers(5)[-1]


def test_readers_of_the_same_answer_share_it() -> None:
    unread = Unread(most_bytes=3 * MEGABYTE)
    [answer] = answers(1)
    readers = [unread.open(answer) for _ in range(1000)]
    assert not any(reader.closed for reader in readers)
    assert unread.total_bytes == 2 * MEGABYTE


def test_readers_count_too() -> None:
    unread = Unread(most_bytes=MEGABYTE)
    readers = [unread.open(b"healthy %d" % number) for number in range(2000)]
    assert sum(not reader.closed for reader in readers) < 1000


def test_an_answer_larger_than_the_bound_is_still_sent() -> None:
    unread = Unread(most_bytes=10)
    [answer] = answers(1)
    assert unread.open(answer).read() == answer


def test_what_was_read_or_given_up_is_held_no_longer() -> None:
    unread = Unread()
    [answer] = answers(1)
    readers = [unread.open(answer) for _ in range(2)]
    readers[0].close()
    readers[0].close()
    assert unread.total_bytes == MEGABYTE + 1000
    readers[1].close()
    assert unread.total_bytes == 0
