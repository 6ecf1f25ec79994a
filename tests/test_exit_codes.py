"""The exit code of a sweep counts its failures and is never taken for a mistake or a Ctrl-C."""

import pytest

from slackoff import exit_codes


@pytest.mark.parametrize(("failed", "code"), [(0, 0), (1, 11), (3, 13), (100, 110), (108, 110)])
def test_the_exit_code_counts_failures(failed: int, code: int):
    assert exit_codes.of_failures(failed) == code


def test_no_count_is_a_code_with_another_meaning():
    counts = {exit_codes.of_failures(failed) for failed in range(1, 1000)}
    assert len(counts) == 100
    assert counts.isdisjoint({0, 1, exit_codes.MISTAKE, exit_codes.STOPPED, 120, 127})
    assert max(counts) < 128  # from there on shells count signals
