"""What all files of a directory say together is what prometheus-client's own collector says."""

from __future__ import annotations

import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from support.scraping import NOBODY, key, names, samples, stock, write

from pylog_struct.web._metrics.scrape import Families
from pylog_struct.web._multiprocess import directory as directories
from pylog_struct.web._multiprocess.files import CorruptFileError, encode, listing, read
from pylog_struct.web._multiprocess.lock import locked

MODES = ("all", "liveall", "sum", "livesum", "min", "livemin", "max", "livemax",
         "mostrecent", "livemostrecent")  # fmt: skip
HERE = os.getpid()


@pytest.fixture(name="troubles")
def _troubles():
    return []


@pytest.fixture(name="scrape")
def _scrape_fixture(tmp_path, troubles):
    """Scrape the directory; troubles are noted."""

    def scrape(*, folding=False, directory=tmp_path):
        def trouble(kind, message, error=None):
            troubles.append((kind, message, error))

        families = directories.collect(os.fspath(directory), folding=folding, trouble=trouble)
        return samples(generate_latest(Families(families)).decode())

    return scrape


def _histogram(name, counts, total, labels=None):
    labels = labels or {}
    found = {
        key(name, f"{name}_bucket", {**labels, "le": bound}): count
        for bound, count in counts.items()
    }
    return {**found, key(name, f"{name}_sum", labels): total}


def test_an_empty_directory_says_nothing(scrape, troubles):
    assert scrape() == {}
    assert troubles == []


def test_a_directory_that_is_not_there_is_an_error(scrape, tmp_path):
    with pytest.raises(FileNotFoundError):
        scrape(directory=tmp_path / "missing")
    with pytest.raises(FileNotFoundError):
        scrape(directory=tmp_path / "missing", folding=True)


def test_each_kind_and_mode_is_combined_as_prometheus_client_does(scrape, tmp_path, troubles):
    for owner in (HERE, NOBODY + 1, NOBODY + 2, "uwsgi-3"):
        weight = float(str(owner)[-1])
        write(tmp_path, "counter", owner, {key("c", "c_total", {"a": "x"}): weight})
        write(tmp_path, "summary", owner, {key("s", "s_count"): 2.0, key("s", "s_sum"): weight})
        bounds = {"0.5": 1.0, "10.0": weight, "+Inf": 3.0}
        write(tmp_path, "histogram", owner, _histogram("h", bounds, 7.5, {"b": "y"}))
        for mode in MODES:
            write(
                tmp_path, f"gauge_{mode}", owner, {key(f"g_{mode}", f"g_{mode}"): (weight, weight)}
            )

    assert scrape() == stock(tmp_path)
    assert len(scrape()) == 1 + 2 + 5 + 8 + 2 * 4  # of each kind, and of the ten modes
    assert troubles == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("counter", "histogram", *(f"gauge_{mode}" for mode in MODES))),
            st.integers(1, 4),
            st.dictionaries(
                st.tuples(st.sampled_from("xyz"), st.sampled_from(("1.0", "2.5", "10.0", "+Inf"))),
                st.tuples(
                    st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 2)),
                    st.integers(0, 5).map(float),
                ),
                max_size=8,
            ),
        ),
        max_size=8,
        unique_by=lambda one: one[:2],
    )
)
def test_any_files_are_combined_as_prometheus_client_does(tmp_path_factory, files):
    where = tmp_path_factory.mktemp("any")
    for kind, number, values in files:
        name = f"m_{kind}"
        sample = {"counter": f"{name}_total", "histogram": f"{name}_bucket"}.get(kind, name)
        label = "le" if kind == "histogram" else "b"
        written = {  # no two workers set a gauge at the same moment: the order of files is no rule
            key(name, sample, {"a": a, label: b}): (value, moment and moment + number / 10)
            for (a, b), (value, moment) in sorted(values.items())
        }
        write(where, kind, NOBODY + number, written)

    def trouble(kind, message, error=None):
        pytest.fail(message)

    families = directories.collect(os.fspath(where), folding=False, trouble=trouble)
    found = samples(generate_latest(Families(families)).decode())
    assert found == pytest.approx(stock(where))


def test_workers_with_different_help_texts_still_add_up(scrape, tmp_path):
    write(tmp_path, "counter", HERE, {key("c", "c_total", text="Old."): 2.0})
    write(tmp_path, "counter", NOBODY, {key("c", "c_total", text="New."): 3.0})
    write(tmp_path, "gauge_max", HERE, {key("g", "g", text="Old."): 2.0})
    write(tmp_path, "gauge_max", NOBODY, {key("g", "g", text="New."): 3.0})

    assert scrape() == {("c_total", ()): 5.0, ("g", ()): 3.0}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\x01\x02\x03", id="three bytes"),
        pytest.param(b"\xff" * 4096, id="negative"),
        pytest.param(b"this is no file of prometheus-client" * 100, id="text"),
        pytest.param(struct.pack("i4xi", 64, 1000) + bytes(56), id="an entry beyond the end"),
        pytest.param(struct.pack("i4xi", 64, 0) + bytes(56), id="an entry without a key"),
        pytest.param(struct.pack("i4x", 10), id="more in use than there is"),
        pytest.param(struct.pack("i4x", 9) + b"\x01", id="half an entry"),
    ],
)
def test_a_broken_file_is_left_out_and_said(scrape, tmp_path, troubles, content):
    write(tmp_path, "counter", HERE, {key("c", "c_total"): 2.0})
    broken = tmp_path / f"counter_{NOBODY}.db"
    broken.write_bytes(content)

    assert scrape() == {("c_total", ()): 2.0}
    assert [(kind, message) for kind, message, _ in troubles] == [
        ("file", f"counter_{NOBODY}.db cannot be read and is left out")
    ]
    assert isinstance(troubles[0][2], CorruptFileError)


@pytest.mark.parametrize(
    "odd",
    [b"no json", b"[1, 2]", b'["n n", "x", {}, "A text."]', b'["n", "x", 5, ""]', b"\xff\xfe"],
)
def test_an_entry_that_makes_no_sense_is_left_out_and_said(scrape, tmp_path, troubles, odd):
    good = key("c", "c_total").encode()
    (tmp_path / f"counter_{HERE}.db").write_bytes(encode({good: (4.0, 0.0), odd: (5.0, 0.0)}, []))

    found = scrape()
    assert found[("c_total", ())] == 4.0
    if odd != b'["n n", "x", {}, "A text."]':  # a name like that is allowed from 0.22 on
        assert [kind for kind, _, _ in troubles] == ["file"]


@pytest.mark.parametrize("size", [0, 65536])
def test_a_file_in_the_making_has_no_values_yet(scrape, tmp_path, troubles, size):
    (tmp_path / f"counter_{HERE}.db").write_bytes(bytes(size))

    assert scrape() == {}
    assert troubles == []


def test_files_of_others_are_not_looked_at(scrape, tmp_path, troubles):
    for name in ("notes.txt", "info_1.db", "counter.db", "counter_5.db.new", "gauge_5.db"):
        (tmp_path / name).write_bytes(b"whatever")

    assert scrape(folding=True) == {}
    assert troubles == []


def test_a_file_that_cannot_be_opened_is_left_out_and_said(scrape, tmp_path, troubles):
    (tmp_path / f"counter_{HERE}.db").mkdir()

    assert scrape() == {}
    assert [kind for kind, _, _ in troubles] == ["file"]


def test_long_files_are_read_to_their_end(scrape, tmp_path):
    many = {key("c", "c_total", {"n": f"{n}" * 20}): float(n) for n in range(2000)}
    path = write(tmp_path, "counter", HERE, many)

    assert sum(scrape().values()) == sum(range(2000))
    assert len(read(os.fspath(path))) == 2000
    assert scrape() == stock(tmp_path)


def test_gauges_of_dead_processes_vanish_when_their_mode_says_so(scrape, tmp_path):
    for mode in MODES:
        write(tmp_path, f"gauge_{mode}", NOBODY, {key(f"g_{mode}", f"g_{mode}"): (3.0, 3.0)})

    assert sorted(name for name, _ in scrape(folding=True)) == [
        "g_max", "g_min", "g_mostrecent", "g_sum",
    ]  # fmt: skip


def test_a_lock_that_somebody_sits_on_delays_a_scrape_but_fails_none(
    scrape, tmp_path, monkeypatch, troubles
):
    """Not folded, but right: the dead worker's live gauge is gone, its counter is there."""
    monkeypatch.setattr(directories, "FOLD_WAIT", 0.01)
    monkeypatch.setattr(directories, "READ_WAIT", 0.01)
    write(tmp_path, "counter", NOBODY, {key("c", "c_total"): 2.0})
    write(tmp_path, "gauge_livesum", NOBODY, {key("g", "g"): 2.0})
    with locked(os.fspath(tmp_path), exclusive=True, timeout=1) as held:
        assert held
        assert scrape(folding=True) == {("c_total", ()): 2.0}
        assert f"counter_{NOBODY}.db" in names(tmp_path)
    assert scrape(folding=True) == {("c_total", ()): 2.0}
    assert names(tmp_path) == ["counter_folded.db"]
    assert troubles == []


def test_without_the_lock_a_file_that_vanishes_is_looked_for_again(
    scrape, tmp_path, monkeypatch, troubles
):
    """A fold that goes on after a scrape lost patience: the values have moved to another file."""
    monkeypatch.setattr(directories, "READ_WAIT", 0.01)
    path = write(tmp_path, "counter", NOBODY, {key("c", "c_total"): 2.0})
    listed = listing(os.fspath(tmp_path))
    looks = []

    def look(where):
        looks.append(where)
        return listed if len(looks) == 1 else listing(where)

    path.rename(tmp_path / f"counter_{NOBODY + 1}.db")
    monkeypatch.setattr(directories, "listing", look)
    with locked(os.fspath(tmp_path), exclusive=True, timeout=1):
        assert scrape() == {("c_total", ()): 2.0}
    assert len(looks) == 2
    assert troubles == []


def test_a_read_only_directory_is_scraped_without_a_lock(scrape, tmp_path, monkeypatch, capfd):
    write(tmp_path, "counter", NOBODY, {key("c", "c_total"): 2.0})
    opened = os.open

    def refuse(path, flags, *mode, **more):
        if flags & os.O_CREAT:
            raise PermissionError(13, "Permission denied", path)
        return opened(path, flags, *mode, **more)

    monkeypatch.setattr(os, "open", refuse)
    assert scrape(folding=True) == {("c_total", ()): 2.0}
    assert names(tmp_path) == [f"counter_{NOBODY}.db"]
    assert "nothing is folded" in capfd.readouterr().err
