"""Several processes, one rolling set of files: every line exactly once."""

from __future__ import annotations

import collections
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.rolling import content, files

from pylog_struct.sinks.rolling_file import RollingFileSink

if sys.platform == "win32":
    pytest.skip("one process only on Windows", allow_module_level=True)

# Python 3.12 warns of forks beside threads (the janitor's, here); surviving them is the point.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")

WORKER = Path(__file__).parents[1] / "support" / "rolling_worker.py"
# Seconds in the name: rolls by time every second, by size in between.
PATTERN = "app-%d{yyyy-MM-dd-HH-mm-ss}-%i.jsonl.gz"


class Worker:
    """One writing process, and what it said it had accepted."""

    def __init__(self, directory: Path, identity: str, count: int, batch: int, fault: str) -> None:
        self.identity = identity
        self.process = subprocess.Popen(
            [
                sys.executable,
                str(WORKER),
                str(directory / "app.jsonl"),
                str(directory / PATTERN),
                identity,
                str(count),
                str(batch),
                fault,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,  # communicate() would not see what a readline() before it had read ahead
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def ready(self) -> None:
        assert self.process.stdout.readline() == b"ready\n"

    def start(self) -> None:
        self.process.stdin.write(b"\n")
        self.process.stdin.close()
        self.process.stdin = None

    def accepted(self, timeout: float = 60) -> int:
        """Wait for its end; return how many records it had accepted."""
        said, _ = self.process.communicate(timeout=timeout)
        numbers = [int(line) for line in said.split(b"\n")[:-1]]
        return numbers[-1] if numbers else 0


def counted(directory: Path) -> tuple[collections.Counter[str], list[bytes]]:
    """How often each identity occurs, and the lines that are no JSON."""
    found: collections.Counter[str] = collections.Counter()
    broken = []
    for name in files(directory):
        data = content(directory / name)
        for line in data.splitlines():
            try:
                found[json.loads(line)["id"]] += 1
            except ValueError:
                broken.append(line)
    return found, broken


def tidy(directory: Path) -> None:
    """A last process that comes later: recovers what a killed one left, compresses the rest."""
    sink = RollingFileSink(
        directory / "app.jsonl", pattern=str(directory / PATTERN), max_bytes="40 kB"
    )
    sink.write([])
    from pylog_struct.record import Record

    sink.write([Record(20, b'{"id":"last"}')])
    sink.close(20)


def run(directory: Path, faults: list[str], count: int, batch: int) -> dict[str, int]:
    workers = [
        Worker(directory, f"w{number}", count, batch, fault) for number, fault in enumerate(faults)
    ]
    for worker in workers:
        worker.ready()
    for worker in workers:
        worker.start()
    return {worker.identity: worker.accepted() for worker in workers}


def require_once(directory: Path, accepted: dict[str, int], batch: int, killed: set[str]) -> None:
    found, broken = counted(directory)
    assert len(broken) <= len(killed), "only a killed process may leave a torn line"
    assert [name for name, times in found.items() if times != 1] == []
    for identity, count in accepted.items():
        mine = sorted(int(name.split("-")[1]) for name in found if name.startswith(f"{identity}-"))
        if identity in killed:
            # The batch in flight may be whole in the file without having been acknowledged.
            assert mine[:count] == list(range(count))
            assert len(mine) <= count + batch
        else:
            assert mine == list(range(count))


def test_four_processes_lose_and_repeat_nothing(tmp_path):
    accepted = run(tmp_path, ["none"] * 4, count=6_000, batch=7)
    assert set(accepted.values()) == {6_006 // 7 * 7}
    tidy(tmp_path)
    require_once(tmp_path, accepted, 7, set())
    names = files(tmp_path)
    archives = [name for name in names if name != "app.jsonl"]
    assert len(archives) > 20
    assert all(name.endswith(".gz") for name in archives)
    assert not list(tmp_path.glob(".*.tmp"))


@pytest.mark.parametrize("fault", ["die-in-roll", "die-before-link"])
def test_a_process_killed_in_the_middle_of_a_roll_over_costs_nothing(tmp_path, fault):
    accepted = run(tmp_path, [fault, "none", "none", "none"], count=3_500, batch=7)
    assert accepted["w0"] < 3_500
    tidy(tmp_path)
    require_once(tmp_path, accepted, 7, {"w0"})
    assert (tmp_path / "app.jsonl").stat().st_nlink == 1


def test_processes_killed_at_random_moments_cost_no_line_of_the_others(tmp_path):
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    chance = random.Random(seed)
    workers = [Worker(tmp_path, f"w{number}", 100_000, 5, "none") for number in range(4)]
    survivor = Worker(tmp_path, "s", 4_000, 5, "none")
    for worker in (*workers, survivor):
        worker.ready()
    for worker in (*workers, survivor):
        worker.start()
    accepted = {}
    for worker in workers:
        for _ in range(chance.randrange(20, 250)):  # moments are counted in batches, not seconds
            worker.process.stdout.readline()
        os.kill(worker.process.pid, signal.SIGKILL)
        accepted[worker.identity] = worker.accepted()
    accepted["s"] = survivor.accepted()
    assert accepted["s"] == 4_000
    tidy(tmp_path)
    found, broken = counted(tmp_path)
    assert len(broken) <= 4
    assert [name for name, times in found.items() if times != 1] == []
    for identity, count in accepted.items():
        have = {int(name.split("-")[1]) for name in found if name.startswith(f"{identity}-")}
        if count:  # the pipe may have lost what it had not handed on, never the file
            assert set(range(count)) <= have


def test_fifty_forked_writers_share_a_handler_made_by_their_parent(tmp_path):
    from pylog_struct.record import Record

    sink = RollingFileSink(tmp_path / "app.jsonl", max_bytes="400 kB")
    sink.write([Record(20, b'{"id":"p-0"}')])
    children = []
    for child in range(50):
        pid = os.fork()
        if pid == 0:
            try:
                for number in range(10):
                    line = json.dumps({"id": f"{child}-{number}", "p": "x" * 10_000})
                    sink.write([Record(20, line.encode())])
                sink.close(5)
                os._exit(0)
            except BaseException:
                os._exit(1)
        children.append(pid)
    assert {os.waitpid(pid, 0)[1] for pid in children} == {0}
    sink.write([Record(20, b'{"id":"p-1"}')])
    sink.close(5)
    found, broken = counted(tmp_path)
    assert broken == []
    assert len(found) == 502
    assert set(found.values()) == {1}


def test_a_stopped_process_delays_nobody_and_loses_nothing(tmp_path):
    """A process that sits on the roll lock: the others go on and roll later."""
    from pylog_struct.record import Record

    code = (
        "import sys\n"
        "from pylog_struct.sinks._rolling.files import Ownership\n"
        "from pylog_struct.sinks._rolling.state import RollLock\n"
        f"lock = RollLock({str(tmp_path / '.app.jsonl.lock')!r}, Ownership(), parents=True)\n"
        "with lock.hold(5) as held:\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.readline()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert holder.stdout.readline() == b"held\n"
        events = []
        sink = RollingFileSink(tmp_path / "app.jsonl", max_bytes=100, on_event=events.append)
        started = time.monotonic()
        for number in range(20):
            sink.write([Record(20, b'{"id":"%d"}' % number)])
        assert time.monotonic() - started < 10
        assert "deferred" in [event.kind for event in events]
        assert sink.statistics().details["rollovers_deferred"] >= 1
        sink.close(1)
    finally:
        holder.communicate(b"\n", timeout=10)
    again = RollingFileSink(tmp_path / "app.jsonl", max_bytes=100)
    again.write([Record(20, b'{"id":"20"}')])
    again.close(1)
    found, broken = counted(tmp_path)
    assert broken == []
    assert sorted(map(int, found)) == list(range(21))
    assert len(files(tmp_path)) == 2
