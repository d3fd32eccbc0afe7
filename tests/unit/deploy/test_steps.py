"""Steps in order."""

import io

import pytest
from rich.console import Console

from deploy.steps import Show, Step, StepError, count_up, run_steps


def run(*steps: Step) -> tuple[bool, str]:
    output = io.StringIO()
    is_done = run_steps(steps, Console(file=output, width=200, highlight=False))
    return is_done, output.getvalue()


def failing(error: Exception) -> Step:
    def fail(_: Show) -> str:
        raise error

    return Step("Break", fail)


def test_steps_are_numbered_and_timed_and_say_what_came_out() -> None:
    is_done, output = run(Step("One", lambda _: "first"), Step("Two", lambda _: ""))
    lines = output.splitlines()
    assert is_done
    assert lines[0] == "1/2 One"
    assert lines[1] == "first"
    assert lines[2].endswith(" s")
    assert lines[3] == "2/2 Two"
    assert lines[-1].startswith("Done in ")


def test_a_step_that_fails_ends_the_run_and_says_why() -> None:
    reached: list[int] = []
    error = StepError("training failed: no data")
    is_done, output = run(failing(error), Step("After", lambda _: str(reached.append(1))))
    assert not is_done
    assert "Break: failed" in output
    assert "training failed: no data" in output
    assert reached == []
    assert "Done" not in output


def test_an_error_of_the_program_itself_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        run(failing(ZeroDivisionError()))


def test_brackets_in_messages_are_printed_as_they_are() -> None:
    _, output = run(failing(StepError("loc [bold] is missing")))
    assert "loc [bold] is missing" in output


def test_a_growing_number_is_shown() -> None:
    shown: list[str] = []
    advance = count_up(shown.append, 2_500, "sessions")
    advance(1_000)
    advance(500)
    assert shown == ["1,000 of 2,500 sessions", "1,500 of 2,500 sessions"]
