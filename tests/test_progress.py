"""A line a minute where nobody watches, a bar where somebody does, silence on other ranks."""

import io

import pytest

from unmask.training.progress import Progress, duration


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


def run(stream, seconds, quiet=False, start=0, total=300):
    clock = Clock()
    with Progress("pretrain", total, start=start, stream=stream, clock=clock, quiet=quiet) as progress:
        for step in range(start + 1, total + 1):
            clock.now += seconds
            progress.update(step, loss=5 / step, tokens_per_second=12345.6)
    return stream.getvalue()


def test_one_line_a_minute_and_the_first_and_the_last():
    said = run(io.StringIO(), seconds=1.0).splitlines()
    steps = [int(line.split("step ")[1].split("/")[0]) for line in said]
    assert steps == [1, 61, 121, 181, 241, 300]
    assert said[1] == "pretrain: step 61/300  loss 0.082  12,346 tokens/s  4 min left"
    assert said[-1].endswith("5 min spent")


def test_the_last_step_is_said_once():
    assert len(run(io.StringIO(), seconds=60.0, total=3).splitlines()) == 3


def test_time_left_does_not_count_what_was_done_before_a_resume():
    first = run(io.StringIO(), seconds=1.0, start=200).splitlines()[0]
    assert "step 201/300" in first and first.endswith("2 min left")


def test_other_ranks_are_silent():
    assert run(io.StringIO(), seconds=30.0, quiet=True) == ""
    assert run(Terminal(), seconds=30.0, quiet=True) == ""


def test_a_terminal_gets_a_bar_with_figures():
    shown = run(Terminal(), seconds=0.0)
    assert "300/300" in shown and "12,346 tokens/s" in shown and "pretrain" in shown


def test_an_unknown_total_counts_upwards():
    stream, clock = io.StringIO(), Clock()
    with Progress("prepare", None, unit="document", stream=stream, clock=clock) as progress:
        clock.now = 5
        progress.update(1200)
    assert stream.getvalue() == "prepare: document 1,200  5 s spent\n"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.9, "1 min"),
        (90, "2 min"),
        (3599, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words
