"""The documentation makes a site: every page is in it, and every anchor exists."""

import os
import subprocess
import sys
from pathlib import Path

from tests.documentation import ROOT


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        check=True,
    )
    for page in ROOT.glob("docs/**/*.md"):
        name = page.relative_to(ROOT / "docs").with_suffix(".html")
        if name.name == "README.html":
            name = name.with_name("index.html")
        assert (tmp_path / name).is_file(), name


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs/README.md").read_text()
    pages = [*ROOT.glob("docs/*.md"), *ROOT.glob("docs/http/*.md")]
    missing = [
        page.name
        for page in pages
        if f"({page.relative_to(ROOT / 'docs')})" not in index and page.name != "README.md"
    ]
    assert missing == []
