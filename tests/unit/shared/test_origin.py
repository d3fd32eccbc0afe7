import pytest

from shared.http import ProblemError
from shared.origin import check_origin


def refuses(origin: str, host: str, *, is_local: bool) -> bool:
    try:
        check_origin({b"origin": origin.encode(), b"host": host.encode()}, is_local=is_local)
    except ProblemError:
        return True
    return False


@pytest.mark.parametrize("host", ["127.0.0.1:5002", "localhost:5002", "[::1]:5002", "localhost"])
def test_a_page_of_the_service_itself_may_post(host: str) -> None:
    assert not refuses(f"http://{host}", host, is_local=True)


def test_a_name_that_was_made_to_lead_to_loopback_may_not() -> None:
    # The browser takes both for one site: its page was loaded from there before the name moved.
    assert refuses("http://evil.example:5002", "evil.example:5002", is_local=True)
    assert refuses("http://10.0.0.1", "10.0.0.1", is_local=True)


def test_a_service_that_others_reach_goes_by_any_name() -> None:
    assert not refuses("https://segue.example", "segue.example", is_local=False)


@pytest.mark.parametrize(
    "origin",
    ["http://localhost", "http://localhost:5004", "null", "http://[", "", "localhost:5002"],
)
def test_another_port_or_nothing_is_another_site(origin: str) -> None:
    for is_local in (True, False):
        assert refuses(origin, "localhost:5002", is_local=is_local)


def test_programs_say_nothing_and_may() -> None:
    check_origin({b"host": b"trainer:5002"}, is_local=True)
