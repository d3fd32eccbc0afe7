"""The dashboard in a real browser, on the stack that the demonstration leaves."""

import asyncio
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest

from shared.experiments import FIRST_VISITOR
from tests.e2e.conftest import RunningStack

pytest.importorskip("playwright", reason="playwright is not installed: pip install -e '.[dev]'")

from playwright.sync_api import Browser, Page, sync_playwright

from deploy.screenshots import PICTURES, NoChromiumError, launch_options, take_pictures

EXPERIMENT = "CONTEXTUAL"
PHONE, DESKTOP = 390, 1200


@dataclass
class Visit:
    """A page of the dashboard, and what the browser complained of."""

    page: Page
    address: str
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str) -> None:
        """Open a page of the dashboard."""
        self.page.goto(self.address + path)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Run Debian's Chromium, or skip."""
    try:
        options = launch_options()
    except NoChromiumError as error:
        pytest.skip(str(error))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**options)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, stack: RunningStack) -> Iterator[Visit]:
    """Open a window that notes every complaint, and every request to another host."""
    context = browser.new_context(viewport={"width": DESKTOP, "height": 900})
    address = stack.url("dashboard")
    visit = Visit(context.new_page(), address)
    note = visit.complaints.append
    visit.page.on("console", lambda message: note(f"{message.type}: {message.text}"))
    visit.page.on("pageerror", lambda error: note(str(error)))
    visit.page.on("requestfailed", lambda request: note(f"failed: {request.url}"))
    visit.page.on(
        "request",
        lambda request: (
            note(f"elsewhere: {request.url}")
            if urlsplit(request.url).netloc not in urlsplit(address).netloc
            else None
        ),
    )
    yield visit
    context.close()


@pytest.fixture
def two_versions(stack: RunningStack) -> list[str]:
    """Return the model versions, of which there are two at least, the serving one first."""
    with httpx.Client(base_url=stack.url("trainer"), timeout=30) as trainer:
        models = trainer.get("/models").json()
        if len(models) < 2:
            train(trainer)
            models = trainer.get("/models").json()
        trainer.post(f"/models/{models[1]['model_version']}/activate").raise_for_status()
        trainer.post(f"/models/{models[0]['model_version']}/activate").raise_for_status()
    return [model["model_version"] for model in models]


def train(trainer: httpx.Client) -> None:
    """Train another version, the quickest there is, and wait until it is published."""
    order = {"recipe": "track_only", "dim": 8, "epochs": 1, "promote": "never"}
    job = trainer.post("/train", json=order).raise_for_status().json()
    while job["status"] == "running" and len(trainer.get("/models").json()) < 2:
        job = trainer.get(f"/train/{job['job_id']}").json()
        time.sleep(0.1)
    assert job["status"] in {"running", "succeeded"}, job


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize("path", ["/experiments", "/models", "/rollback", "/live", "/listen"])
def test_every_page_renders_without_complaint(visit: Visit, path: str, width: int) -> None:
    visit.page.set_viewport_size({"width": width, "height": 800})
    visit.open(path)
    visit.page.wait_for_load_state("networkidle")
    assert visit.page.get_by_role("heading", level=1).count() == 1
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    assert visit.complaints == []


def test_the_table_shows_the_numbers_of_the_command_line(visit: Visit, stack: RunningStack) -> None:
    visit.open(f"/experiments/{EXPERIMENT}")
    visit.page.locator("#effects-table").wait_for(timeout=60_000)
    shown = {
        (row.get_attribute("data-treatment"), row.get_attribute("data-metric")): [
            cell.inner_text() for cell in row.locator("td").all()
        ]
        for row in visit.page.locator("#effects-table tbody tr").all()
    }
    effects = stack.analyse(EXPERIMENT)["effects"]
    assert len(shown) == len(effects)
    for effect in effects:
        cells = shown[effect["treatment"], effect["metric"]]
        change, interval, _, control, treatment, _ = cells[-6:]  # an arm's name may come first
        for cell, names in (
            (change, ["effect_pct"]),
            (interval, ["lower_pct", "upper_pct"]),
            (control, ["control_mean"]),
            (treatment, ["treatment_mean"]),
        ):
            numbers = [effect[name] for name in names if effect[name] is not None]
            if "×" in cell:
                numbers = [cap(1 + number / 100) for number in numbers]
            assert read(cell) == pytest.approx(numbers, rel=6e-3, abs=6e-3), (effect, cell)
    assert visit.complaints == []


def cap(factor: float) -> float:
    """Return a factor as far as the page writes it out."""
    return min(factor, 1_000_000.0)


def read(cell: str) -> list[float]:
    """Read the numbers of a cell: percents, or factors."""
    plain = cell.replace("−", "-").replace(",", "")
    return [float(number) for number in re.findall(r"-?[\d.]+", plain)]


def open_serving_model(visit: Visit) -> Page:
    visit.open("/models")
    visit.page.locator(".card-active h2 a").click()
    visit.page.wait_for_load_state("networkidle")
    return visit.page


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_a_model_shows_how_it_learnt_and_its_map(visit: Visit, width: int) -> None:
    visit.page.set_viewport_size({"width": width, "height": 800})
    page = open_serving_model(visit)
    assert page.locator(".points circle").count() >= 100
    assert page.locator(".legend li").count() >= 3
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert visit.complaints == []


def test_the_map_finds_an_artist_while_one_types(visit: Visit) -> None:
    page = open_serving_model(visit)
    artist = (page.locator(".points title").last.text_content() or "").split(" · ")[1]
    page.get_by_label("Find a track or an artist").fill(artist)
    page.locator(".map-searched .found circle").first.wait_for()
    assert page.locator(".names text").count() >= 1
    assert artist in page.locator("#map").inner_text()
    page.get_by_text("by artist").click()
    page.locator("svg[aria-label*='coloured by artist']").wait_for()
    assert page.locator(".found circle").count() >= 1
    page.get_by_label("Find a track or an artist").fill("zzzz")
    page.get_by_text("No track has these words").wait_for()
    assert visit.complaints == []


def test_charts_follow_the_width_of_the_window(visit: Visit) -> None:
    visit.open(f"/experiments/{EXPERIMENT}")
    visit.page.wait_for_selector("#effects-table")
    wide, narrow = (visit.page.locator(f".chart-{name}") for name in ("wide", "narrow"))
    assert wide.count() == narrow.count() >= 3
    assert wide.first.is_visible()
    assert not narrow.first.is_visible()
    visit.page.set_viewport_size({"width": PHONE, "height": 800})
    assert narrow.first.is_visible()
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= PHONE


def test_a_page_reads_the_same_without_scripts(browser: Browser, stack: RunningStack) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{stack.url('dashboard')}/experiments/{EXPERIMENT}")
    page.locator("#effects-table").wait_for(timeout=60_000)  # reloads itself until it is computed
    assert page.locator(".chart-wide").first.is_visible()
    context.close()


def test_a_rollback_takes_a_confirmation_and_changes_what_serves(
    visit: Visit, stack: RunningStack, two_versions: list[str]
) -> None:
    visit.open("/models")
    visit.page.get_by_role("link", name="Roll back …").click()
    assert two_versions[0] in visit.page.inner_text("main")
    visit.page.get_by_role("button", name="Roll back").click()
    visit.page.get_by_text("The version that served before serves again.").wait_for()
    assert two_versions[1] in visit.page.locator(".card-active").inner_text()
    model = httpx.get(f"{stack.url('trainer')}/models/{two_versions[1]}").json()
    assert model["active"]
    assert visit.complaints == []


def test_another_version_is_activated_by_keyboard_alone(
    visit: Visit, two_versions: list[str]
) -> None:
    visit.open(f"/models/{two_versions[1]}")
    visit.page.get_by_role("link", name="Activate …").focus()
    visit.page.keyboard.press("Enter")
    visit.page.get_by_role("button", name="Activate").focus()
    visit.page.keyboard.press("Enter")
    visit.page.get_by_text("Another version serves from now on.").wait_for()
    assert two_versions[1] in visit.page.locator(".card-active").inner_text()


async def count_visitors(dsn: str) -> tuple[int, int]:
    """Count the events of visitors, and those of them that name an experiment."""
    connection = await asyncpg.connect(dsn)
    try:
        row = await connection.fetchrow(
            "SELECT count(*), count(*) FILTER (WHERE experiments <> '{}') FROM events "
            "WHERE user_id >= $1",
            FIRST_VISITOR,
        )
    finally:
        await connection.close()
    return row[0], row[1]


def test_listening_from_a_search_to_the_end(visit: Visit, stack: RunningStack) -> None:
    visit.open("/listen")
    visit.page.get_by_text("random").click()
    box = visit.page.get_by_placeholder("Artist or title")
    name = visit.page.locator(".tracks .title").first.inner_text()
    with visit.page.expect_response(re.compile(r"/listen\?.*arm=C.*q=")):
        box.fill(name)
    first = visit.page.locator(".tracks button").first
    assert name.split()[0].lower() in first.inner_text().lower()
    first.click()
    visit.page.get_by_text(f"You chose · {EXPERIMENT} C").wait_for()
    visit.page.locator("input[type=range]").fill("70")
    visit.page.locator("output", has_text=re.compile("^70%$")).wait_for()
    visit.page.get_by_role("button", name="Next track").click()
    visit.page.get_by_text("Now playing").wait_for()
    why = visit.page.locator(".why").first.inner_text()
    assert all(word in why for word in ("random", "Candidates", "Ruled out", "1 heard")), why
    visit.page.get_by_role("button", name="End the session").click()
    visit.page.get_by_text("The session is over").wait_for()
    assert "2 tracks, 1.70 tracks’ worth" in visit.page.inner_text("main")
    assert visit.complaints == []


def test_a_visitors_events_are_stored_and_in_no_experiment(stack: RunningStack) -> None:
    stack.wait_until_stored()
    with ThreadPoolExecutor(1) as pool:  # this thread's event loop is the browser's
        stored, in_experiments = pool.submit(asyncio.run, count_visitors(stack.dsn)).result()
    assert stored >= 2
    assert in_experiments == 0


def test_live_parts_update_by_themselves(visit: Visit) -> None:
    visit.open("/live")
    visit.page.locator(".tiles", has_text="per s").wait_for(timeout=15_000)
    assert visit.complaints == []


def test_every_picture_can_be_taken(
    browser: Browser, stack: RunningStack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("images")
    pictures = take_pictures(browser, stack.url("dashboard"), folder, schemes=("dark",))
    sizes = [path.stat().st_size for path in pictures]
    assert len(sizes) == len(PICTURES)
    assert min(sizes) > 10_000
