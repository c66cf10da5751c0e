"""The change log holds what was committed, and nothing that is not sound is believed."""

import os
from pathlib import Path

import pytest

from dtms.adapters.store_sql.changelog import ChangeLog
from dtms.adapters.store_sql.segments import changes, last_number, segments


def one(number: int) -> list[tuple[str, list[dict[str, object]]]]:
    return [("trades", [{"ticket": number, "stop_loss": 1.1 + number / 1e5}])]


def written(folder: Path, count: int, start: int = 0) -> ChangeLog:
    log = ChangeLog(folder)
    log.open(start)
    for number in range(start + 1, start + count + 1):
        log.hear(number, one(number))
    return log


def numbers(folder: Path, after: int = 0) -> list[int]:
    return [change.number for change in changes(folder, after)]


def test_what_is_heard_is_read_back_to_the_last_bit(tmp_path: Path) -> None:
    written(tmp_path, 3).close()
    assert [(c.number, [(t, list(r)) for t, r in c.written]) for c in changes(tmp_path, 0)] == [
        (n, one(n)) for n in (1, 2, 3)
    ]


def test_it_goes_on_where_it_ended(tmp_path: Path) -> None:
    written(tmp_path, 3).close()
    log = ChangeLog(tmp_path)
    assert log.open(3), "nothing is missing"
    log.hear(4, one(4))
    log.close()
    assert numbers(tmp_path) == [1, 2, 3, 4]
    assert len(segments(tmp_path)) == 1


def test_a_torn_last_line_is_left_out_and_written_over(tmp_path: Path) -> None:
    written(tmp_path, 3).close()
    path = segments(tmp_path)[0].path
    path.write_bytes(path.read_bytes()[:-9])
    assert last_number(tmp_path) == 2
    log = ChangeLog(tmp_path)
    assert log.open(2)
    log.hear(3, one(3))
    log.close()
    assert numbers(tmp_path) == [1, 2, 3]


def test_every_flipped_bit_ends_what_is_believed_before_it(tmp_path: Path) -> None:
    written(tmp_path, 3).close()
    path = segments(tmp_path)[0].path
    sound = path.read_bytes()
    second = sound.index(b"\n") + 1
    for place in range(second, len(sound) - 1, 7):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 0x10]) + sound[place + 1 :])
        believed = [(c.number, [(t, list(r)) for t, r in c.written]) for c in changes(tmp_path, 0)]
        assert believed == [(n, one(n)) for n in range(1, len(believed) + 1)]
        assert 1 <= len(believed) < 3, place


def test_a_store_that_is_ahead_begins_a_new_segment_and_says_that_something_is_missing(tmp_path: Path) -> None:
    written(tmp_path, 3).close()
    log = ChangeLog(tmp_path)
    assert not log.open(5), "changes 4 and 5 were never heard of"
    log.hear(6, one(6))
    log.close()
    assert numbers(tmp_path) == [1, 2, 3], "what follows a gap is not applied"
    assert numbers(tmp_path, 5) == [6]


def test_a_change_that_was_not_heard_of_ends_the_log_and_is_told(tmp_path: Path) -> None:
    log = written(tmp_path, 2)
    log.hear(4, one(4))
    assert log.failure == "change 3 was not heard of"
    log.hear(5, one(5))
    log.begin_segment(lambda: 5)
    assert log.failure is None
    log.hear(6, one(6))
    log.close()
    assert numbers(tmp_path) == [1, 2]
    assert numbers(tmp_path, 5) == [6]


def test_a_segment_is_never_written_over(tmp_path: Path) -> None:
    written(tmp_path, 3).close()
    log = ChangeLog(tmp_path)
    log.open(0)  # an older file was put in the store's place by hand
    log.close()
    assert [p.name for p in tmp_path.glob("*.set-aside")] == ["changes-000000000000.set-aside"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_full_disk_ends_the_log_with_a_word_and_disturbs_no_commit(tmp_path: Path) -> None:
    log = written(tmp_path, 1)
    assert log._file is not None
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, log._file.fileno())
    os.close(full)
    log.hear(2, one(2))
    assert log.failure == "it cannot be written: No space left on device"
    log.hear(3, one(3))
    log.close()
    assert numbers(tmp_path) == [1]
