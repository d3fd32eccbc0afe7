"""`python -m deploy.screenshots`: picture a running stack's dashboard into docs/images.

Every page by day and by night; one on a phone. The stack is the local one, or the one whose
dashboard is at the address that is given.
"""

import argparse
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, Page, sync_playwright

from deploy.commands import ROOT
from deploy.display import create_console
from deploy.errors import DeployError
from deploy.local.settings import SettingsError, parse_settings, read_environment

IMAGES = ROOT / "docs" / "images"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
DESKTOP, PHONE = (1200, 900), (390, 844)
Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
LISTENED = ("100", "75", "0", "90")


class NoChromiumError(DeployError):
    """A machine without the browser."""


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes:
        name: Of its files.
        open_page: Brings the browser there; gets the dashboard's address.
        size: Of the window, in CSS pixels.
    """

    name: str
    open_page: Callable[[Page, str], None]
    size: tuple[int, int] = DESKTOP


def find_chromium() -> Path:
    """Find the browser.

    Raises:
        NoChromiumError: If it is not there.
    """
    for name in CHROMIUM_NAMES:
        if found := shutil.which(name):
            return Path(found)
    raise NoChromiumError("there is no Chromium here: `make browser` installs it")


def launch_options() -> dict[str, Any]:
    """Return how the browser is started: without a sandbox, which root cannot have."""
    return {"executable_path": str(find_chromium()), "args": ["--no-sandbox"]}


def listen(page: Page, address: str) -> None:
    """Listen to a few tracks by the last treatment."""
    page.goto(f"{address}/listen")
    page.locator(".tracks button").first.click()
    for percent in LISTENED:
        page.locator("input[type=range]").fill(percent)
        page.get_by_role("button", name="Next track").click()


def open_experiment(page: Page, address: str) -> None:
    """Open the experiment that serves, and wait for its results."""
    page.goto(f"{address}/experiments")
    page.locator(".cards h2 a").first.click()
    page.wait_for_selector("#effects-table")


def open_model(page: Page, address: str) -> None:
    """Open the version that serves."""
    page.goto(f"{address}/models")
    page.locator(".card-active h2 a").click()
    page.wait_for_load_state("networkidle")


def open_map(page: Page, address: str) -> None:
    """Open the map of the version that serves, and search an artist in it."""
    open_model(page, address)
    artist = (page.locator(".points title").last.text_content() or "").split(" · ")[1]
    page.get_by_label("Find a track or an artist").fill(artist)
    page.locator(".found circle").first.wait_for()
    page.evaluate("document.activeElement.blur()")


def open_live(page: Page, address: str) -> None:
    """Open what happens now, and wait for its first rates."""
    page.goto(f"{address}/live")
    page.locator(".tiles", has_text="per s").wait_for()


def go_to(path: str) -> Callable[[Page, str], None]:
    """Return what opens an address."""

    def open_page(page: Page, address: str) -> None:
        page.goto(f"{address}{path}")

    return open_page


PICTURES = (
    Picture("experiments", go_to("/experiments")),
    Picture("experiment", open_experiment),
    Picture("experiment-phone", open_experiment, PHONE),
    Picture("models", go_to("/models")),
    Picture("model", open_model),
    Picture("map", open_map),
    Picture("live", open_live),
    Picture("listening", listen),
    Picture("listening-phone", listen, PHONE),
)


def take_pictures(
    browser: Browser, address: str, folder: Path, *, schemes: Sequence[Scheme] = SCHEMES
) -> Iterator[Path]:
    """Take every picture by day and by night; yield each file."""
    for picture in PICTURES:
        width, height = picture.size
        for scheme in schemes:
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme=scheme,
                device_scale_factor=2,
            )
            page = context.new_page()
            picture.open_page(page, address)
            page.evaluate("document.fonts.ready")
            path = folder / f"{picture.name}-{scheme}.png"
            page.screenshot(path=path, animations="disabled")
            context.close()
            yield path


def main(arguments: Sequence[str]) -> int:
    """Take the pictures."""
    parser = argparse.ArgumentParser(prog="python -m deploy.screenshots", description=__doc__)
    parser.add_argument("--address", help="of the dashboard (default: the local stack's)")
    parser.add_argument("--folder", type=Path, default=IMAGES)
    options = parser.parse_args(arguments)
    console = create_console()
    try:
        address = options.address or parse_settings(read_environment()).url("dashboard")
        options.folder.mkdir(parents=True, exist_ok=True)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(**launch_options())
            for path in take_pictures(browser, address, options.folder):
                console.print(f"{path.name}  {path.stat().st_size / 1024:,.0f} kB")
            browser.close()
    except (DeployError, SettingsError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
