import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dashboard.core.listening import (
    Heard,
    Listener,
    Listeners,
    NoSuchArmError,
    pick_user,
)
from services.dashboard.core.track_search import TrackIndex
from shared.events import MAX_ID
from shared.experiments import FIRST_VISITOR, Experiment, Treatment
from tests.unit.dashboard.factories import Dashboard, make_tracks


async def start(dashboard: Dashboard, *, track: str = "101", arm: str = "T1") -> httpx.Response:
    token = await dashboard.token("/listen")
    return await dashboard.send("/listen", {"token": token, "track": track, "arm": arm})


async def report(dashboard: Dashboard, path: str, position: int, **form: str) -> httpx.Response:
    token = await dashboard.token("/rollback")
    return await dashboard.send(path, {"token": token, "position": str(position), **form})


async def test_a_search_finds_tracks(dashboard: Dashboard) -> None:
    page = await dashboard.page("/listen?q=shadow&arm=C")
    assert "The Shadows" in page
    assert "Björk" not in page
    assert 'name="arm" value="C" checked' in page
    assert "No track has these words" in await dashboard.page("/listen?q=zzz")


async def test_without_a_search_some_tracks_are_offered(dashboard: Dashboard) -> None:
    page = await dashboard.page("/listen")
    assert "Some of 4" in page
    assert 'name="track"' in page


async def test_listening_from_the_first_track_to_the_last(dashboard: Dashboard) -> None:
    path = (await start(dashboard)).headers["Location"]
    page = await dashboard.page(path)
    assert "Jóga &lt;live&gt;" in page
    assert "You chose" in page
    assert dashboard.services.reports == []  # nothing is reported before it was heard

    assert (await report(dashboard, path, 1, time="100")).headers["Location"] == path
    page = await dashboard.page(path)
    assert "Apache" in page
    for why in ("0.877", "× 0.800", "1,999", "± 0.50", "v2"):
        assert why in page, why

    await report(dashboard, path, 2, time="35", then="end")
    page = await dashboard.page(path)
    assert "The session is over" in page
    assert "1.35" in page
    user = dashboard.services.reports[0]["path"].removeprefix("/next/")
    assert int(user) >= FIRST_VISITOR
    assert dashboard.services.reports == [
        {"path": f"/next/{user}", "track": 101, "time": 1.0},
        {"path": f"/last/{user}", "track": 102, "time": 0.35},
    ]


async def test_a_form_sent_twice_reports_once(dashboard: Dashboard) -> None:
    path = (await start(dashboard)).headers["Location"]
    for _ in range(2):
        await report(dashboard, path, 1, time="100")
    assert len(dashboard.services.reports) == 1


async def test_after_the_end_nothing_is_reported(dashboard: Dashboard) -> None:
    path = (await start(dashboard)).headers["Location"]
    for _ in range(2):
        await report(dashboard, path, 1, time="100", then="end")
    assert len(dashboard.services.reports) == 1


@pytest.mark.parametrize("time", ["", "-1", "101", "1.5", "nan", "²"])
async def test_a_time_that_is_no_percentage_is_refused(dashboard: Dashboard, time: str) -> None:
    path = (await start(dashboard)).headers["Location"]
    assert (await report(dashboard, path, 1, time=time)).status_code == 422
    assert dashboard.services.reports == []


@pytest.mark.parametrize("track", ["", "999", "x", "²", "1" * 30])
async def test_a_track_that_is_not_there_is_refused(dashboard: Dashboard, track: str) -> None:
    assert (await start(dashboard, track=track)).status_code == 422


async def test_an_arm_that_is_not_there_is_refused(dashboard: Dashboard) -> None:
    assert (await start(dashboard, arm="T9")).status_code == 422


async def test_a_form_of_another_page_starts_nothing(dashboard: Dashboard) -> None:
    answer = await dashboard.send("/listen", {"track": "101", "arm": "C"})
    assert answer.status_code == 403


async def test_an_unknown_session_says_so(dashboard: Dashboard) -> None:
    page = await dashboard.page("/listen/abcdefgh1234", status=404)
    assert "No such session" in page


async def test_a_listener_who_is_silent_for_too_long_is_forgotten(dashboard: Dashboard) -> None:
    path = (await start(dashboard)).headers["Location"]
    dashboard.clock[0] = 1801.0
    await dashboard.page(path, status=404)


async def test_an_absent_recommender_loses_nothing(dashboard: Dashboard) -> None:
    path = (await start(dashboard)).headers["Location"]
    dashboard.services.away.add("recommender")
    answer = await report(dashboard, path, 1, time="100")
    assert answer.status_code == 503
    assert "The recommender does not answer" in answer.text
    dashboard.services.away.clear()
    await report(dashboard, path, 1, time="100")
    assert "Apache" in await dashboard.page(path)


async def test_an_absent_catalogue_is_a_state_of_the_page(dashboard: Dashboard) -> None:
    dashboard.services.away.add("catalog")
    assert "No track can be chosen:" in await dashboard.page("/listen?q=shadow")


@given(st.integers(0, 2**31), st.integers(1, 9))
def test_a_visitor_falls_into_the_chosen_arm(seed: int, weight: int) -> None:
    arms = (Treatment(name="C", weight=weight), Treatment(name="T1"))
    experiment = Experiment(name="E", treatments=arms, coverage=0.5)
    numbers = iter(range(seed, seed + 100_000))
    user = pick_user(experiment, "T1", draw=lambda below: next(numbers) % below)
    treatment = experiment.assign(user)
    assert treatment is not None
    assert treatment.name == "T1"
    assert FIRST_VISITOR <= user <= MAX_ID


def test_an_arm_that_hardly_anybody_is_in_is_refused() -> None:
    arms = (Treatment(name="C", weight=1e9), Treatment(name="T1"))
    with pytest.raises(NoSuchArmError, match="hardly anybody"):
        pick_user(Experiment(name="E", treatments=arms), "T1", draw=lambda _: 7)


def test_the_oldest_of_too_many_listeners_is_forgotten() -> None:
    listeners = Listeners(timeout_s=10, seconds=lambda: 0.0)
    track = make_tracks().tracks[0]
    for n in range(1001):
        listeners.add(Listener(str(n), n, "C", [Heard(track=track)]))
    assert listeners.find("0") is None
    assert listeners.find("1") is not None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("shadow", [102, 103, 104]),  # beginnings of words first
        ("SHADOW glass", [103, 104]),
        ("bjork", [101]),
        ("joga", [101]),
        ("", []),
        ("  ", []),
        ("apache shadows", [102]),
    ],
)
def test_search_by_words(text: str, found: list[int]) -> None:
    assert [track.track for track in TrackIndex(make_tracks()).search(text)] == found


def test_search_ends_at_the_limit() -> None:
    assert len(TrackIndex(make_tracks()).search("a", limit=2)) == 2
