"""Hooks: installed together, taken back together, whatever fails."""

from __future__ import annotations

import pytest

from pylog_struct.hooks import Hooks


class RecordingHook:
    def __init__(self, name, journal, *, fail_install=None, fail_uninstall=None):
        self.name, self.journal = name, journal
        self.fail_install, self.fail_uninstall = fail_install, fail_uninstall

    def install(self):
        if self.fail_install is not None:
            raise self.fail_install
        self.journal.append(f"+{self.name}")

    def uninstall(self):
        self.journal.append(f"-{self.name}")
        if self.fail_uninstall is not None:
            raise self.fail_uninstall


@pytest.fixture(name="journal")
def _journal():
    return []


def test_installed_in_order_and_taken_back_in_reverse(journal):
    hooks = Hooks(*(RecordingHook(name, journal) for name in "abc"))
    assert journal == []
    hooks.install()
    hooks.uninstall()
    hooks.uninstall()
    assert journal == ["+a", "+b", "+c", "-c", "-b", "-a"]


def test_one_that_cannot_be_taken_back_is_reported_and_holds_up_no_other(journal, capsys):
    broken = RecordingHook("b", journal, fail_uninstall=ValueError("stuck"))
    hooks = Hooks(RecordingHook("a", journal), broken, RecordingHook("c", journal))
    hooks.install()
    hooks.uninstall()
    assert journal[3:] == ["-c", "-b", "-a"]
    assert "RecordingHook could not be taken back (ValueError: stuck)" in capsys.readouterr().err


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_if_one_cannot_be_installed_those_before_it_are_taken_back(journal, error):
    hooks = Hooks(
        RecordingHook("a", journal),
        RecordingHook("b", journal, fail_install=error),
        RecordingHook("c", journal),
    )
    with pytest.raises(type(error)):
        hooks.install()
    assert journal == ["+a", "-a"]
    hooks.uninstall()
    assert journal == ["+a", "-a"]


def test_what_both_configurations_have_stays_in_place_all_the_time(journal):
    a, b, c = (RecordingHook(name, journal) for name in "abc")
    first, second = Hooks(a, b), Hooks(b, c)
    first.install()
    second.install(first)
    assert journal == ["+a", "+b", "-a", "+c"]
    first.uninstall()
    assert journal == ["+a", "+b", "-a", "+c"]
    second.uninstall()
    assert journal[4:] == ["-c", "-b"]


def test_a_failed_take_over_takes_the_shared_ones_back_too(journal):
    a = RecordingHook("a", journal)
    first, second = Hooks(a), Hooks(a, RecordingHook("b", journal, fail_install=ValueError("no")))
    first.install()
    with pytest.raises(ValueError, match="no"):
        second.install(first)
    assert journal == ["+a", "-a"]


def test_what_previous_never_installed_is_installed(journal):
    a = RecordingHook("a", journal)
    Hooks(a).install(Hooks(a))
    assert journal == ["+a"]
