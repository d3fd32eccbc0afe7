import json
import logging
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.logs import (
    REQUEST_ID,
    TRACE_ID,
    JsonFormatter,
    TextFormatter,
    add_context,
    mask_secrets,
)

FORMATTERS = pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])


def make_record(message: str, *arguments: object, **extra: Any) -> logging.LogRecord:
    record = logging.LogRecord("name", logging.WARNING, "file", 1, message, arguments, None)
    record.__dict__.update(extra)
    add_context(record)
    return record


def test_json_is_one_object_with_what_is_known() -> None:
    tokens = REQUEST_ID.set("r1"), TRACE_ID.set("t1")
    line = JsonFormatter().format(make_record("n is %d", 3, session="s1", status=200))
    REQUEST_ID.reset(tokens[0])
    TRACE_ID.reset(tokens[1])
    entry = json.loads(line)
    assert entry.pop("time").endswith("+00:00")
    assert entry == {
        "level": "WARNING",
        "logger": "name",
        "message": "n is 3",
        "request_id": "r1",
        "trace_id": "t1",
        "session": "s1",
        "status": 200,
    }


def test_text_ends_with_what_is_known() -> None:
    line = TextFormatter().format(make_record("done", session="s1"))
    assert line.endswith("WARNING name: done session=s1")
    assert TextFormatter().format(make_record("done")).endswith("name: done")


@FORMATTERS
def test_no_password_of_a_url_is_logged_not_even_in_a_traceback(
    formatter: logging.Formatter,
) -> None:
    url = "postgresql://segue:hunter2@db:5432/segue"
    record = make_record("cannot reach %s or %s", url, "redis://:hunter2@cache/0")
    try:
        raise ConnectionError(f"no {url}")
    except ConnectionError:
        record.exc_info = sys.exc_info()
    line = formatter.format(record)
    assert "hunter2" not in line
    assert "postgresql://segue:***@db:5432/segue" in line
    assert "redis://:***@cache/0" in line


@FORMATTERS
def test_no_token_is_logged(formatter: logging.Formatter) -> None:
    line = formatter.format(make_record("sent Authorization: Bearer abc.DEF-123=="))
    assert "abc" not in line
    assert "Bearer ***" in line


def test_an_entry_is_one_line_of_json_whatever_it_says() -> None:
    line = JsonFormatter().format(make_record('a "quoted"\nline\x00\ud83d'.replace("\ud83d", "é")))
    assert "\n" not in line
    assert json.loads(line)["message"] == 'a "quoted"\nline\x00é'


@given(
    st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=4).map("pw!{}".format),
    st.sampled_from(["redis", "rediss", "postgresql", "postgresql+asyncpg", "http"]),
    st.text(alphabet="abc_.-", max_size=5),
)
def test_a_password_is_masked_whatever_it_is(password: str, scheme: str, user: str) -> None:
    masked = mask_secrets(f"x {scheme}://{user}:{password}@host:1/db y")
    assert masked == f"x {scheme}://{user}:***@host:1/db y"


@given(st.text())
def test_masking_loses_nothing_of_a_text_without_secrets(text: str) -> None:
    if "@" not in text and "bearer" not in text.lower() and "basic" not in text.lower():
        assert mask_secrets(text) == text
