"""Dead workers' files become one archive a kind, no total changes, and a crash anywhere loses nothing."""

from __future__ import annotations

import errno
import itertools
import os
import signal
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from prometheus_client import generate_latest
from prometheus_client.mmap_dict import MmapedDict
from support.scraping import NOBODY, key, names, samples, stock, write

from pylog_struct.errors import ConfigError
from pylog_struct.web._metrics.scrape import Families
from pylog_struct.web._multiprocess import directory as directories
from pylog_struct.web._multiprocess import liveness
from pylog_struct.web._multiprocess.files import CorruptFileError, listing, read_archive
from pylog_struct.web._multiprocess.lock import NAME, locked
from pylog_struct.web.metrics import fold_dead_workers

if not hasattr(os, "fork"):
    pytest.skip("nothing is folded on Windows", allow_module_level=True)

# Python 3.12 warns of forks beside threads (of the test runner, here).
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")

HERE = os.getpid()
COUNT = key("c", "c_total", {"a": "x"})


def scrape(directory, *, folding=True):
    """What an endpoint would show; trouble fails the test."""

    def trouble(kind, message, error=None):
        pytest.fail(f"{message}: {error}")

    families = directories.collect(os.fspath(directory), folding=folding, trouble=trouble)
    return samples(generate_latest(Families(families)).decode())


def everything(directory, owner, weight):
    """The files of a worker that has all that outlives it."""
    write(directory, "counter", owner, {COUNT: weight, key("d", "d_total"): 1.0})
    write(directory, "summary", owner, {key("s", "s_count"): 1.0, key("s", "s_sum"): weight})
    write(
        directory,
        "histogram",
        owner,
        {
            key("h", "h_bucket", {"le": "1.0"}): 1.0,
            key("h", "h_bucket", {"le": "+Inf"}): weight,
            key("h", "h_sum"): weight / 2,
        },
    )
    for mode in ("sum", "min", "max", "mostrecent"):
        name = f"g_{mode}"
        write(directory, f"gauge_{mode}", owner, {key(name, name): (weight, weight)})


def test_the_files_of_the_dead_become_one_of_each_kind(tmp_path):
    for owner, weight in ((HERE, 5.0), (NOBODY, 2.0), (NOBODY + 1, 7.0), (NOBODY + 2, 3.0)):
        everything(tmp_path, owner, weight)
    before = stock(tmp_path)

    assert fold_dead_workers(tmp_path) == 3 * 7
    assert len(names(tmp_path)) == 2 * 7
    assert scrape(tmp_path) == stock(tmp_path) == before
    assert before["c_total", (("a", "x"),)] == 17.0
    assert before["h_bucket", (("le", "+Inf"),)] == 21.0
    assert [before[f"g_{mode}", ()] for mode in ("sum", "min", "max", "mostrecent")] == [
        17.0, 2.0, 7.0, 7.0,
    ]  # fmt: skip


def test_folding_again_adds_up_and_folding_nothing_changes_nothing(tmp_path):
    for number in range(20):
        everything(tmp_path, NOBODY + number, 3.0)
        assert fold_dead_workers(tmp_path) == 7
        assert fold_dead_workers(tmp_path) == 0
        assert len(names(tmp_path)) == 7
    assert scrape(tmp_path)["c_total", (("a", "x"),)] == 60.0
    assert stock(tmp_path) == scrape(tmp_path)


def test_a_scrape_folds(tmp_path):
    everything(tmp_path, NOBODY, 3.0)
    assert scrape(tmp_path, folding=False)["c_total", (("a", "x"),)] == 3.0
    assert names(tmp_path)[0] == f"counter_{NOBODY}.db"

    assert scrape(tmp_path)["c_total", (("a", "x"),)] == 3.0
    assert names(tmp_path)[0] == "counter_folded.db"
    assert len(names(tmp_path)) == 7


def test_live_gauges_and_those_with_a_series_for_each_process_go_with_it(tmp_path):
    for mode in ("all", "liveall", "livesum", "livemin", "livemax", "livemostrecent"):
        for owner in (HERE, NOBODY):
            write(tmp_path, f"gauge_{mode}", owner, {key(mode, mode): (1.0, 1.0)})

    assert fold_dead_workers(tmp_path) == 6
    assert all(name.endswith(f"_{HERE}.db") for name in names(tmp_path))
    assert scrape(tmp_path)["livesum", ()] == 1.0
    assert scrape(tmp_path)["all", (("pid", str(HERE)),)] == 1.0


def test_a_gauge_of_a_mode_that_nobody_knows_is_left_alone(tmp_path):
    path = write(tmp_path, "gauge_median", NOBODY, {key("g", "g"): 2.0})

    assert fold_dead_workers(tmp_path) == 0
    assert path.exists()
    assert scrape(tmp_path) == stock(tmp_path) == {("g", (("pid", str(NOBODY)),)): 2.0}


@pytest.mark.parametrize(
    "owner", [pytest.param(HERE, id="own"), "worker-7", "0", "007", "1" * 30, "9999999999", 1]
)
def test_what_is_alive_or_named_after_no_pid_is_left_alone(tmp_path, owner):
    path = write(tmp_path, "counter", owner, {COUNT: 2.0})

    assert fold_dead_workers(tmp_path) == 0
    assert path.exists()


def test_a_worker_of_another_container_is_alive_though_its_pid_is_not(tmp_path):
    """Only the kernel knows: somebody has the file open for writing."""
    path = tmp_path / f"counter_{NOBODY}.db"
    elsewhere = MmapedDict(os.fspath(path))
    try:
        elsewhere.write_value(COUNT, 1.0, 0.0)
        assert fold_dead_workers(tmp_path) == 0
        elsewhere.write_value(COUNT, 2.0, 0.0)
        assert scrape(tmp_path)["c_total", (("a", "x"),)] == 2.0
        assert names(tmp_path) == [path.name]
    finally:
        elsewhere.close()
    assert fold_dead_workers(tmp_path) == 1
    assert scrape(tmp_path)["c_total", (("a", "x"),)] == 2.0


def test_a_pid_that_comes_back_between_two_looks_loses_nothing(tmp_path, monkeypatch):
    """It opens the dead one's file just before the claim, and counts on in it under the new name."""
    path = write(tmp_path, "counter", NOBODY, {COUNT: 5.0})
    renamed = os.rename
    reborn = []

    def rename(source, target):
        reborn.append(MmapedDict(os.fspath(path)))
        renamed(source, target)

    monkeypatch.setattr(os, "rename", rename)
    assert fold_dead_workers(tmp_path) == 0
    monkeypatch.undo()
    reborn[0].write_value(COUNT, 8.0, 0.0)

    assert scrape(tmp_path) == stock(tmp_path) == {("c_total", (("a", "x"),)): 8.0}
    assert fold_dead_workers(tmp_path) == 0
    reborn[0].close()
    assert fold_dead_workers(tmp_path) == 1
    assert scrape(tmp_path) == stock(tmp_path) == {("c_total", (("a", "x"),)): 8.0}
    assert names(tmp_path) == ["counter_folded.db"]


def test_a_pid_that_comes_back_after_the_claim_has_a_file_of_its_own(tmp_path, monkeypatch):
    write(tmp_path, "counter", NOBODY, {COUNT: 5.0})
    renamed = os.rename

    def rename(source, target):
        renamed(source, target)
        write(tmp_path, "counter", NOBODY, {COUNT: 1.0})

    monkeypatch.setattr(os, "rename", rename)
    assert fold_dead_workers(tmp_path) == 1
    assert scrape(tmp_path, folding=False)["c_total", (("a", "x"),)] == 6.0
    assert names(tmp_path) == [f"counter_{NOBODY}.db", "counter_folded.db"]


def test_a_claimed_file_is_dead_though_its_pid_is_another_process_by_now(tmp_path):
    """A crash after the claim, and a pid that came back."""
    write(tmp_path, "counter", f"{HERE}-dead-0123456789abcdef", {COUNT: 5.0})
    assert fold_dead_workers(tmp_path) == 1
    assert scrape(tmp_path) == stock(tmp_path) == {("c_total", (("a", "x"),)): 5.0}


def test_where_the_kernel_has_no_leases_the_pid_decides(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EINVAL, "no leases here")

    monkeypatch.setattr(liveness.fcntl, "fcntl", refuse)
    write(tmp_path, "counter", NOBODY, {COUNT: 5.0})
    write(tmp_path, "counter", HERE, {COUNT: 5.0})
    claimed = write(tmp_path, "counter", f"{HERE}-dead-0123456789abcdef", {COUNT: 5.0})
    assert fold_dead_workers(tmp_path) == 1
    assert claimed.exists()
    assert scrape(tmp_path)["c_total", (("a", "x"),)] == 15.0


def test_files_of_another_user_are_left_to_that_user(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "not yours")

    monkeypatch.setattr(liveness.fcntl, "fcntl", refuse)
    write(tmp_path, "counter", NOBODY, {COUNT: 5.0})
    assert fold_dead_workers(tmp_path) == 0


def test_a_process_of_another_user_is_alive(monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EPERM, "not yours")

    monkeypatch.setattr(os, "kill", refuse)
    assert liveness.is_running(NOBODY)


def test_looking_for_writers_kills_nobody(tmp_path):
    """Opening a file at the moment of a look sends a signal: one that is ignored."""
    path = write(tmp_path, "counter", NOBODY, {COUNT: 5.0})
    stop = threading.Event()

    def open_and_close():
        while not stop.is_set():
            with path.open("r+b"):
                pass

    thread = threading.Thread(target=open_and_close)
    thread.start()
    try:
        seen = {liveness.is_open_elsewhere(os.fspath(path)) for _ in range(3000)}
    finally:
        stop.set()
        thread.join()
    assert seen <= {True, False}
    assert liveness.is_open_elsewhere(os.fspath(path)) is False


@pytest.mark.parametrize(
    "content", [b"\xff" * 100, struct.pack("i4xi", 64, 1000) + bytes(56), b"\x01"]
)
def test_a_broken_file_is_set_aside_and_the_others_are_folded(tmp_path, capfd, content):
    write(tmp_path, "counter", NOBODY, {COUNT: 5.0})
    (tmp_path / f"counter_{NOBODY + 1}.db").write_bytes(content)

    assert fold_dead_workers(tmp_path) == 1
    assert scrape(tmp_path) == stock(tmp_path) == {("c_total", (("a", "x"),)): 5.0}
    assert names(tmp_path) == ["counter_folded.db"]
    assert (tmp_path / "counter.broken").read_bytes() == content
    assert "cannot be folded: set aside" in capfd.readouterr().err


@pytest.mark.parametrize("odd", ["no json", "[1, 2]", '["c", "c_total", 5, ""]'])
def test_an_entry_that_would_break_every_scrape_is_set_aside(tmp_path, capfd, odd):
    write(tmp_path, "counter", NOBODY, {odd: 5.0})
    write(tmp_path, "counter", NOBODY + 1, {COUNT: 5.0})

    assert fold_dead_workers(tmp_path) == 1
    assert stock(tmp_path) == {("c_total", (("a", "x"),)): 5.0}
    assert "set aside" in capfd.readouterr().err


@pytest.mark.parametrize("size", [0, 65536])
def test_a_worker_that_died_while_making_its_file_leaves_nothing(tmp_path, size):
    (tmp_path / f"counter_{NOBODY}.db").write_bytes(bytes(size))

    assert fold_dead_workers(tmp_path) == 1
    assert names(tmp_path) == ["counter_folded.db"]
    assert scrape(tmp_path) == stock(tmp_path) == {}


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, struct.pack("i4x", 8), None])
def test_a_broken_archive_is_set_aside_and_said(tmp_path, capfd, content):
    write(tmp_path, "counter", NOBODY, {COUNT: 5.0})
    fold_dead_workers(tmp_path)
    archive = tmp_path / "counter_folded.db"
    whole = archive.read_bytes()
    archive.write_bytes(whole[:-3] + b"!!!" if content is None else content)
    with pytest.raises(CorruptFileError):
        read_archive(os.fspath(archive))
    write(tmp_path, "counter", NOBODY + 1, {COUNT: 2.0})

    assert fold_dead_workers(tmp_path) == 1
    assert scrape(tmp_path) == {("c_total", (("a", "x"),)): 2.0}
    assert "are lost" in capfd.readouterr().err


def test_trouble_with_one_kind_is_said_and_the_others_are_folded(tmp_path, monkeypatch, capfd):
    everything(tmp_path, NOBODY, 3.0)
    before = stock(tmp_path)
    replaced = os.replace

    def replace(source, target):
        if "counter" in target:
            raise OSError(errno.ENOSPC, "No space left on device", target)
        replaced(source, target)

    monkeypatch.setattr(os, "replace", replace)
    assert fold_dead_workers(tmp_path) == 6
    assert "cannot fold into" in capfd.readouterr().err
    assert scrape(tmp_path, folding=False) == stock(tmp_path) == before
    monkeypatch.undo()
    assert fold_dead_workers(tmp_path) == 1
    assert scrape(tmp_path) == stock(tmp_path) == before
    assert len(names(tmp_path)) == 7


def test_what_cannot_be_removed_is_not_counted_again(tmp_path, monkeypatch):
    unlinked = os.unlink
    stuck = []

    def unlink(path, **more):
        if "-dead-" in os.fspath(path):
            stuck.append(path)
            raise PermissionError(errno.EPERM, "Operation not permitted", path)
        unlinked(path, **more)

    write(tmp_path, "counter", NOBODY, {COUNT: 5.0})
    monkeypatch.setattr(os, "unlink", unlink)
    for _ in range(2):
        fold_dead_workers(tmp_path)
        assert scrape(tmp_path, folding=False)["c_total", (("a", "x"),)] == 5.0
    assert stuck
    monkeypatch.undo()
    write(tmp_path, "counter", NOBODY + 1, {COUNT: 1.0})
    assert fold_dead_workers(tmp_path) == 2
    assert scrape(tmp_path) == stock(tmp_path) == {("c_total", (("a", "x"),)): 6.0}


def test_a_file_that_somebody_else_removes_meanwhile_is_no_trouble(tmp_path, monkeypatch, capfd):
    """prometheus-client's ``mark_process_dead`` takes no lock."""
    write(tmp_path, "gauge_livesum", NOBODY, {key("g", "g"): 1.0})
    renamed = os.rename

    def rename(source, target):
        Path(source).unlink()
        renamed(source, target)

    monkeypatch.setattr(os, "rename", rename)
    assert fold_dead_workers(tmp_path) == 0
    assert capfd.readouterr().err == ""


# -- killed at every step --------------------------------------------------------------------------

CALLS = ("rename", "replace", "unlink", "fsync", "write", "close", "open")


def _die_in_a_child(directory, step, *, after):
    """Fold in a child that is killed before or after its call number *step*; whether it was."""
    pid = os.fork()
    if pid == 0:  # pragma: no cover - it ends with a signal
        count = itertools.count(1)

        def deadly(call):
            def wrapper(*arguments, **more):
                fatal = next(count) == step
                if fatal and not after:
                    if call is written:  # half of it arrives
                        call(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
                result = call(*arguments, **more)
                if fatal:
                    os.kill(os.getpid(), signal.SIGKILL)
                return result

            return wrapper

        written = os.write
        for name in CALLS:
            setattr(os, name, deadly(getattr(os, name)))
        try:
            directories.fold_directory(os.fspath(directory))
        finally:
            os._exit(0)
    status = os.waitpid(pid, 0)[1]
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_fold_that_is_killed_at_any_step_loses_and_doubles_nothing(tmp_path, after):
    expected = {}
    for step in itertools.count(1):
        directory = tmp_path / str(step)
        directory.mkdir()
        for number in range(2):  # an archive to begin with
            write(directory, "counter", NOBODY + number, {COUNT: 1.0})
            write(directory, "gauge_max", NOBODY + number, {key("g", "g"): 1.0 + number})
        fold_dead_workers(directory)
        for number in (2, 3):
            write(directory, "counter", NOBODY + number, {COUNT: 10.0})
            write(directory, "gauge_max", NOBODY + number, {key("g", "g"): 10.0 + number})
        expected = {("c_total", (("a", "x"),)): 22.0, ("g", ()): 13.0}

        killed = _die_in_a_child(directory, step, after=after)
        assert scrape(directory, folding=False) == expected, f"just after step {step}"
        assert scrape(directory) == expected, f"folded after step {step}"
        assert names(directory) == ["counter_folded.db", "gauge_max_folded.db"]
        assert stock(directory) == expected
        fold_dead_workers(directory)
        assert scrape(directory) == expected
        if not killed:
            break
    assert step > 25  # open, look, rename, write, sync, replace, unlink: each of them was tried


def test_folds_that_are_killed_again_and_again_lose_and_double_nothing(tmp_path):
    """The second crash meets what the first one left."""
    write(tmp_path, "counter", NOBODY, {COUNT: 1.0})
    fold_dead_workers(tmp_path)
    total = 1.0
    for number, step in enumerate((14, 21, 17, 25, 12, 19, 28, 8, 23, 16, 30, 11), start=1):
        for extra in (0, 1):
            write(tmp_path, "counter", NOBODY + 2 * number + extra, {COUNT: 1.0})
        total += 2.0
        _die_in_a_child(tmp_path, step, after=bool(number % 2))
        assert scrape(tmp_path, folding=False) == {("c_total", (("a", "x"),)): total}
    assert scrape(tmp_path) == stock(tmp_path) == {("c_total", (("a", "x"),)): total}
    assert names(tmp_path) == ["counter_folded.db"]


# -- side by side ----------------------------------------------------------------------------------


def test_folds_and_scrapes_at_once_see_every_count_once(tmp_path):
    """Threads, as their locks are of different descriptors, exclude each other like processes."""
    expected = {("c_total", (("a", "x"),)): 40.0}
    for number in range(40):
        write(tmp_path, "counter", NOBODY + number, {COUNT: 1.0})
    wrong, barrier = [], threading.Barrier(4)

    def run():
        barrier.wait()
        for _ in range(10):
            found = scrape(tmp_path)
            if found != expected:
                wrong.append(found)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert names(tmp_path) == ["counter_folded.db"]


def test_the_lock_is_shared_by_scrapes_and_alone_for_a_fold(tmp_path):
    where = os.fspath(tmp_path)
    shared = {"exclusive": False, "timeout": 0.01}
    alone = {"exclusive": True, "timeout": 0.01}
    with locked(where, **shared) as first, locked(where, **shared) as second:
        assert (first, second) == (True, True)
        with locked(where, **alone) as third:
            assert third is False
    with locked(where, **alone) as first, locked(where, **shared) as second:
        assert (first, second) == (True, False)
    with locked(where, **alone) as again:
        assert again is True


def test_a_child_does_not_keep_the_lock_of_its_parent(tmp_path):
    """A fork while another thread is folding; then the parent gives the lock back, the child lives."""
    where = os.fspath(tmp_path)
    ready, go = os.pipe(), os.pipe()
    with locked(where, exclusive=True, timeout=0):
        pid = os.fork()
        if pid == 0:  # pragma: no cover - it ends with _exit
            try:
                held = {file.path for file in psutil.Process().open_files()}
                os.write(ready[1], b"y" if str(tmp_path / NAME) in held else b"n")
                os.read(go[0], 1)
            finally:
                os._exit(0)
        assert os.read(ready[0], 1) == b"n"
    try:
        with locked(where, exclusive=True, timeout=0) as held:
            assert held is True
    finally:
        os.write(go[1], b"x")
        os.waitpid(pid, 0)
        for fd in (*ready, *go):
            os.close(fd)


def test_a_file_system_without_locks_folds_nothing_and_says_so(tmp_path, monkeypatch, capfd):
    def refuse(*_, **__):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("pylog_struct._flock.lock", refuse)
    write(tmp_path, "counter", NOBODY, {COUNT: 5.0})
    assert fold_dead_workers(tmp_path) == 0
    assert scrape(tmp_path) == {("c_total", (("a", "x"),)): 5.0}
    assert names(tmp_path) == [f"counter_{NOBODY}.db"]
    assert "nothing is folded" in capfd.readouterr().err


# -- the public function ---------------------------------------------------------------------------


def test_without_a_directory_nothing_happens(monkeypatch):
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    assert fold_dead_workers() == 0


def test_the_environment_names_the_directory(tmp_path, monkeypatch):
    write(tmp_path, "counter", NOBODY, {COUNT: 5.0})
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", os.fspath(tmp_path))
    assert fold_dead_workers() == 1


def test_a_directory_that_is_not_there_is_said_and_not_raised(tmp_path, capfd):
    assert fold_dead_workers(tmp_path / "missing") == 0
    assert "missing" in capfd.readouterr().err


@pytest.mark.parametrize("directory", [5, b"bytes", "", ["list"]])
def test_what_is_no_path_is_refused(directory):
    with pytest.raises(ConfigError, match=r"directory: .* is not the path of a directory"):
        fold_dead_workers(directory)


# -- real processes --------------------------------------------------------------------------------

WORKER = """
import os, sys
from prometheus_client import Counter, Gauge, Histogram

work = Counter("work", "Work done.", ["kind"])
seconds = Histogram("seconds", "Time.", buckets=(1, 2))
here = Gauge("here", "Processes.", multiprocess_mode="livesum")
each = Gauge("each", "One series a process.", multiprocess_mode="all")
peak = Gauge("peak", "The highest.", multiprocess_mode="max")
number = 0
for _ in range(int(sys.argv[1])):
    children = []
    for _ in range(4):
        number += 1
        pid = os.fork()
        if pid == 0:
            work.labels("a").inc(3)
            work.labels("b").inc()
            seconds.observe(1.5)
            here.set(1)
            each.set(1)
            peak.set(number)
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    sys.stdout.write("\\n")
    sys.stdout.flush()
    sys.stdin.readline()
"""


@pytest.mark.slow
def test_totals_are_true_and_files_few_after_five_hundred_workers(tmp_path):
    """Four at a time, 125 times over; scraped in between, and no counter ever goes back."""
    rounds = 125
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(rounds)],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": os.fspath(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        before = {}
        for number in range(1, rounds + 1):
            assert process.stdout.readline() == "\n"
            found = scrape(tmp_path)
            assert found["work_total", (("kind", "a"),)] == 3 * 4 * number
            assert all(found[each] >= value for each, value in before.items())
            before = {each: value for each, value in found.items() if each[0] == "work_total"}
            # The parent has one file of each kind too: it made the metrics.
            assert len(names(tmp_path)) <= 2 * 5
            process.stdin.write("\n")
            process.stdin.flush()
        assert process.wait(60) == 0
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.communicate()
    found = scrape(tmp_path)
    assert found["work_total", (("kind", "b"),)] == 4 * rounds
    assert found["seconds_count", ()] == 4 * rounds
    assert found["seconds_sum", ()] == 1.5 * 4 * rounds
    assert found["seconds_bucket", (("le", "1.0"),)] == 0
    assert found["peak", ()] == 4 * rounds
    assert not [name for name, _ in found if name in {"here", "each"}]
    assert len(names(tmp_path)) == 3
    assert stock(tmp_path) == found


def test_the_names_are_understood(tmp_path):
    for name in ("counter_12.db", "gauge_livesum_12.db", "counter_folded.db", "summary_x_y.db"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "histogram_12-dead-0123456789abcdef.db").write_bytes(b"")
    found = {
        file.name: (file.kind, file.mode, file.owner, file.pid, file.claimed, file.is_archive)
        for file in listing(os.fspath(tmp_path))
    }
    assert found == {
        "counter_12.db": ("counter", "", "12", 12, False, False),
        "counter_folded.db": ("counter", "", "folded", None, False, True),
        "gauge_livesum_12.db": ("gauge_livesum", "livesum", "12", 12, False, False),
        "histogram_12-dead-0123456789abcdef.db": ("histogram", "", "12", 12, True, False),
        "summary_x_y.db": ("summary", "", "x_y", None, False, False),
    }
