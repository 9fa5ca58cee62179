"""The spill file: framing, torn tails, adoption, bounds, privacy."""

from __future__ import annotations

import os
import stat
import tempfile
import threading

import pytest
from support.queue_sinks import record

from pylog_struct.sinks._queue.spill import Spill as _Spill


def Spill(place, max_bytes, name, lost=None):
    return _Spill(place, max_bytes, name, lost or pytest.fail)


@pytest.fixture
def base(tmp_path):
    return str(tmp_path / "spill")


def fill(spill, *items):
    for item in items:
        assert spill.append(item, sync=True, wait=1.0)


def test_records_come_back_in_order_and_once(base):
    spill = Spill(base, 10_000, "q")
    items = [record("a", 40, 12.5), record(b"\xff\x00 b\r", 50), record("", 40)]
    fill(spill, *items)
    assert (spill.records, spill.bytes) == (3, 6)
    assert spill.peek(2, 1000) == items[:2]
    spill.settle(2)
    assert spill.peek(2, 1000) == items[2:]
    spill.settle(1)
    assert spill.peek(2, 1000) == []
    assert (spill.records, spill.bytes, spill.paths) == (0, 0, [])
    assert (spill.appended, spill.settled) == (3, 3)
    assert spill.close() == 0


def test_a_line_with_a_newline_survives(base):
    spill = Spill(base, 10_000, "q")
    items = [record("a\nb\n", 40), record("c", 40)]
    fill(spill, *items)
    assert spill.peek(10, 1000) == items
    spill.settle(2)


def test_batches_are_limited_by_bytes_but_for_one_large_record(base):
    spill = Spill(base, 10_000, "q")
    fill(spill, record("x" * 50), record("y"), record("z"))
    assert len(spill.peek(10, 20)) == 1
    spill.settle(1)
    assert len(spill.peek(1, 20)) == 1
    spill.settle(1)
    spill.peek(5, 20)
    spill.settle(1)


def test_an_empty_file_is_removed_and_a_new_one_made_on_demand(base, tmp_path):
    spill = Spill(base, 10_000, "q")
    for _ in range(2):
        fill(spill, record("a"))
        assert len(list(tmp_path.iterdir())) == 1
        spill.peek(1, 10)
        spill.settle(1)
        assert list(tmp_path.iterdir()) == []


def test_it_is_bounded(base):
    spill = Spill(base, 100, "q")
    assert spill.append(record("x" * 60), sync=False, wait=0)
    assert not spill.append(record("x" * 60), sync=False, wait=0)
    assert spill.records == 1
    spill.close()


def test_nowhere_is_never_available():
    spill = Spill(False, 100, "q")
    assert not spill.append(record("x"), sync=True, wait=0)
    assert not spill.enabled


def test_leftovers_are_adopted_once_and_only_from_the_dead(base, tmp_path):
    first = Spill(base, 10_000, "q")
    fill(first, record("a", 40, 1.5), record("b", 50))
    second = Spill(base, 10_000, "q")
    assert second.adopt() == [], "the owner lives"
    assert first.close() == 2
    assert [item.level for item in second.adopt()] == [40, 50]
    assert second.adopt() == []
    third = Spill(base, 10_000, "q")
    assert third.adopt() == []
    fill(second, record("c", 40))
    assert second.peek(10, 1000) == [record("a", 40, 1.5), record("b", 50)]
    second.settle(2)
    assert second.peek(10, 1000) == [record("c", 40)]
    second.settle(1)
    assert list(tmp_path.iterdir()) == []


def test_what_was_delivered_before_the_end_is_not_delivered_again(base):
    first = Spill(base, 10_000, "q")
    fill(first, *[record(number) for number in range(5)])
    first.peek(3, 1000)
    first.settle(3)
    assert first.close() == 2
    second = Spill(base, 10_000, "q")
    assert len(second.adopt()) == 2
    assert second.peek(10, 1000) == [record(3), record(4)]
    second.close()


@pytest.mark.parametrize("cut", [1, 5, 20, 30])
def test_a_torn_tail_costs_only_the_record_that_was_torn(base, tmp_path, cut):
    first = Spill(base, 10_000, "q")
    fill(first, record("whole " * 5, 40), record("torn " * 5, 40))
    first.close()
    (path,) = tmp_path.iterdir()
    os.truncate(path, path.stat().st_size - cut)
    second = Spill(base, 10_000, "q")
    assert len(second.adopt()) == 1
    assert second.peek(10, 1000) == [record("whole " * 5, 40)]
    second.settle(1)


@pytest.mark.parametrize(
    "content",
    [b"", b"something else\n" * 9, b"pylog-spill 1 0000000000000000x000\n", None],
)
def test_strange_files_are_left_alone(base, tmp_path, content):
    stranger = tmp_path / "spill.12.1"
    if content is None:
        stranger.mkdir()
    else:
        stranger.write_bytes(content)
    spill = Spill(base, 10_000, "q")
    assert spill.adopt() == []
    assert stranger.exists()


def test_a_leftover_with_nothing_in_it_is_removed(base, tmp_path):
    (tmp_path / "spill.12.1").write_bytes(b"pylog-spill 1 %020d\n" % 35)
    Spill(base, 10_000, "q").adopt()
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_given_up_with_its_count(base, tmp_path):
    spill = Spill(base, 10_000, "q")
    fill(spill, record("aaaa"), record("bbbb"))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes().replace(b"aaaa", b"axaa"))
    assert spill.peek(10, 1000) == []
    assert spill.give_up() == 2
    assert (spill.records, spill.settled, spill.give_up()) == (0, 2, 0)


def test_a_deleted_file_is_given_up_too(base, tmp_path, capsys):
    spill = Spill(base, 10_000, "q")
    fill(spill, record("aaaa"))
    next(tmp_path.iterdir()).unlink()
    assert spill.peek(10, 1000) == []
    assert spill.give_up() == 1


def test_a_place_that_cannot_be_is_no_crash(tmp_path, capfd):
    (tmp_path / "file").write_text("")
    spill = Spill(str(tmp_path / "file" / "spill"), 1000, "q")
    assert spill.adopt() == []
    assert not spill.append(record("x"), sync=True, wait=0)
    assert "q: no spill file" in capfd.readouterr().err


def test_a_full_disk_leaves_the_file_whole(base, monkeypatch):
    spill = Spill(base, 10_000, "q")
    fill(spill, record("good"))

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert not spill.append(record("lost"), sync=True, wait=0)
    fill(spill, record("next"))
    assert spill.peek(10, 1000) == [record("good"), record("next")]
    spill.settle(2)


def test_a_nested_call_leaves_its_record_with_the_call_it_interrupted(base, monkeypatch):
    spill = Spill(base, 10_000_000, "q")
    nested = [record(f"nested {number}") for number in range(3)]
    answers = []
    real = os.fsync

    def interrupted(descriptor):
        if not answers:
            answers.extend(spill.append(item, sync=True, wait=0) for item in nested)
            answers.append(spill.append(record("x" * 2_000_000), sync=True, wait=0))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", interrupted)
    fill(spill, record("outer"))
    assert answers == [True, True, True, False]
    assert spill.records == 4
    assert spill.peek(10, 100) == [record("outer"), *nested]
    spill.settle(4)


def test_nested_calls_leave_only_so_many(base, monkeypatch):
    spill = Spill(base, 1_000_000, "q")
    answers = []
    real = os.fsync

    def interrupted(descriptor):
        answers.extend(spill.append(record("n"), sync=True, wait=0) for _ in range(1100))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", interrupted)
    fill(spill, record("outer"))
    assert answers[:1100].count(True) == 1024
    monkeypatch.undo()
    accepted = answers.count(True)
    assert spill.close() == accepted + 1


def test_a_nested_record_that_could_not_be_stored_after_all_is_told(base, monkeypatch):
    lost = []
    spill = Spill(base, 40, "q", lost.append)
    real = os.fsync
    late = record("x" * 30)

    def interrupted(descriptor):
        assert spill.append(late, sync=True, wait=0)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", interrupted)
    fill(spill, record("y" * 30))
    assert set(lost) == {late}
    spill.close()


def test_files_are_readable_by_their_owner_only(base, tmp_path):
    spill = Spill(base, 10_000, "q")
    previous = os.umask(0)
    try:
        fill(spill, record("secret"))
    finally:
        os.umask(previous)
    (path,) = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    spill.close()


def test_the_private_place_is_private_and_survives_a_close(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spill = Spill(True, 10_000, "a:b")
    assert not spill.kept
    fill(spill, record("x"))
    (directory,) = tmp_path.iterdir()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert spill.adopt() == []
    assert spill.close() == 1
    assert len(list(directory.iterdir())) == 1
    assert not spill.append(record("late"), sync=True, wait=0)


def test_a_directory_that_others_can_read_is_refused(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / f"pylog-spill-{os.getuid()}").mkdir(mode=0o755)
    assert not Spill(True, 10_000, "q").append(record("x"), sync=True, wait=0)
    assert "not a private directory" in capfd.readouterr().err


def test_the_child_of_a_fork_lets_go_without_touching_the_file(base):
    spill = Spill(base, 10_000, "q")
    fill(spill, record("parent's"))
    child = os.fork()
    if child == 0:
        spill.forget()
        os._exit(0 if Spill(base, 10_000, "q").adopt() == [] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert spill.peek(1, 100) == [record("parent's")]
    spill.settle(1)


def test_many_threads_append_whole_records(base):
    spill = Spill(base, 10**6, "q")

    def work(number):
        for step in range(50):
            assert spill.append(record(f"{number}.{step}"), sync=False, wait=10)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [item.line.decode() for item in spill.peek(1000, 10**6)]
    assert sorted(found) == sorted(f"{a}.{b}" for a in range(4) for b in range(50))
    spill.settle(200)
