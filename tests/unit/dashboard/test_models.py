import pytest

from services.dashboard.core.model_history import find_losses, make_rows
from tests.unit.dashboard.factories import JOB_ID, Dashboard, make_job, make_model

CHANGES = [("POST", "/models/v1/activate"), ("POST", "/models/rollback")]


async def test_versions_are_listed_with_metrics_and_parent(dashboard: Dashboard) -> None:
    page = await dashboard.page("/models")
    assert page.index('id="v2"') < page.index('id="v1"')
    assert "recall at k" in page
    assert "0.250" in page
    assert 'After <a href="/models/v1">v1</a>, generation 2' in page
    assert page.count("state-serving") == 1
    assert 'href="/models/v1/activate"' in page
    assert 'href="/models/v2/activate"' not in page


async def test_a_version_shows_how_it_learnt_and_what_its_training_left(
    dashboard: Dashboard,
) -> None:
    page = await dashboard.page("/models/v2")
    assert 'aria-label="Loss by epoch: training, validation"' in page
    picture = f"/trainings/{JOB_ID}/artifacts/embedding_map.png"
    assert f'src="{picture}"' in page
    answer = await dashboard.client.get(picture)
    assert (answer.content, answer.headers["Content-Type"]) == (b"png", "image/png")
    missing = await dashboard.client.get(f"/trainings/{JOB_ID}/artifacts/none.png")
    assert missing.status_code == 404


async def test_the_map_is_searched_by_artist_and_title(dashboard: Dashboard) -> None:
    dashboard.services.artifacts = ["map.json", "map.png"]
    page = await dashboard.page("/models/v2")
    assert "<title>Apache · The Shadows · surf</title>" in page
    assert "map.png" not in page.split('id="losses"')[0]  # the drawn map takes its place
    assert "map-searched" not in page
    found = await dashboard.page("/models/v2?q=shadow+river&colours=artist")
    assert "1 found and ringed: River of Glass" in found
    lost = await dashboard.page("/models/v2?q=meshadow")
    assert "nobody has listened to “Glass”" in lost
    assert "No track has these words" in await dashboard.page("/models/v2?q=zzz")
    fetched = [path for _, path in dashboard.services.requests if path.endswith("map.json")]
    assert len(fetched) == 1


@pytest.mark.parametrize("broken", [{}, {"n_laid_out": 5, "tracks": [], "x": [], "y": []}])
async def test_a_map_that_cannot_be_read_gives_way_to_its_picture(
    dashboard: Dashboard, broken: dict[str, object]
) -> None:
    dashboard.services.artifacts = ["map.json", "map.png"]
    dashboard.services.map = broken
    assert "artifacts/map.png" in await dashboard.page("/models/v2")


async def test_without_a_catalogue_the_picture_is_shown(dashboard: Dashboard) -> None:
    dashboard.services.artifacts = ["map.json", "map.png"]
    dashboard.services.away.add("catalog")
    assert "artifacts/map.png" in await dashboard.page("/models/v2")


async def test_a_version_without_its_training_has_a_page(dashboard: Dashboard) -> None:
    page = await dashboard.page("/models/v1")
    assert "1,234 playbacks" in page
    assert "How it learnt" not in page
    assert "Activate …" in page


async def test_an_unknown_version_is_404(dashboard: Dashboard) -> None:
    assert "No such model version" in await dashboard.page("/models/v9", status=404)


@pytest.mark.parametrize(
    ("path", "change"),
    [("/models/v1/activate", "/models/v1/activate"), ("/rollback", "/models/rollback")],
)
async def test_a_confirmed_change_reaches_the_trainer(
    dashboard: Dashboard, path: str, change: str
) -> None:
    token = await dashboard.token(path)
    assert not set(CHANGES) & set(dashboard.services.requests)  # asking changes nothing
    answer = await dashboard.send(path, {"token": token})
    assert answer.status_code == 303
    assert ("POST", change) in dashboard.services.requests
    page = await dashboard.page(answer.headers["Location"].partition("#")[0])
    assert "Done." in page
    assert 'card-active" id="v1"' in page


@pytest.mark.parametrize(
    ("form", "headers"),
    [
        ({}, {}),
        ({"token": "0" * 64}, {}),
        ({"token": "ä"}, {}),
        (None, {"Origin": "http://evil.example"}),
        (None, {"Origin": "null"}),
        (None, {"Cookie": "segue_browser=planted"}),
    ],
)
async def test_a_change_that_our_page_did_not_ask_for_is_refused(
    dashboard: Dashboard, form: dict[str, str] | None, headers: dict[str, str]
) -> None:
    token = await dashboard.token("/rollback")
    answer = await dashboard.send(
        "/rollback", {"token": token} if form is None else form, **headers
    )
    assert answer.status_code == 403
    assert not set(CHANGES) & set(dashboard.services.requests)


async def test_a_change_without_a_cookie_is_refused(dashboard: Dashboard) -> None:
    token = await dashboard.token("/rollback")
    dashboard.client.cookies.clear()
    assert (await dashboard.send("/rollback", {"token": token})).status_code == 403


async def test_a_form_that_is_too_large_is_refused(dashboard: Dashboard) -> None:
    assert (await dashboard.send("/rollback", {"token": "x" * 70_000})).status_code == 413


async def test_a_refused_change_says_why(dashboard: Dashboard) -> None:
    token = await dashboard.token("/rollback")
    answer = await dashboard.send("/models/v9/activate", {"token": token})
    assert answer.status_code == 409
    assert "the trainer refuses: there is no /models/v9/activate".lower() in answer.text.lower()


async def test_an_absent_trainer_is_a_state_of_the_page(dashboard: Dashboard) -> None:
    token = await dashboard.token("/rollback")
    dashboard.services.away.add("trainer")
    assert "the trainer does not answer" in await dashboard.page("/models")
    assert "The trainer does not answer" in await dashboard.page("/models/v2", status=503)
    assert (await dashboard.send("/rollback", {"token": token})).status_code == 503


async def test_no_versions_say_how_to_make_one(dashboard: Dashboard) -> None:
    dashboard.services.models = []
    assert "No model version yet" in await dashboard.page("/models")


def test_lineage_ends_where_the_list_does_and_in_a_circle() -> None:
    rows = make_rows([make_model("c", parent="b"), make_model("b", parent="a")])
    assert [(row.is_parent_listed, row.depth) for row in rows] == [(True, 1), (False, 0)]
    circle = make_rows([make_model("a", parent="b"), make_model("b", parent="a")])
    assert [row.depth for row in circle] == [2, 2]


def test_one_epoch_is_no_curve() -> None:
    job = make_job("v")
    assert find_losses(job) == (
        (1, 2, 3),
        (("training", (1.0, 0.5, 1 / 3)), ("validation", (2.0, 1.0, 2 / 3))),
    )
    job["progress"]["losses"] = job["progress"]["losses"][:1]
    assert find_losses(job) is None
    assert find_losses(None) is None
