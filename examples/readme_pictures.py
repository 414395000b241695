"""Make the pictures of the README from a run: two figures, the top of its report and its token viewer.

    python examples/readme_pictures.py RUN docs/pictures

Chromium photographs the report, through playwright.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from reasoning_anatomy import open_run
from reports import save_figures, write_report

FIGURES = ("deletion_by_category", "head_map")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


def main(run_folder: Path, folder: Path) -> None:
    """Write ``report.png``, ``viewer.png`` and a picture of each figure."""
    run = open_run(run_folder)
    folder.mkdir(parents=True, exist_ok=True)
    for path in save_figures(run, run.folder / "figures"):
        if path.stem in FIGURES and path.suffix == ".png":
            shutil.copy(path, folder / path.name)
    page_address = write_report(run).resolve().as_uri()
    browser_path = next(filter(None, map(shutil.which, BROWSERS)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=FLAGS)
        page = browser.new_page(viewport={"width": 1000, "height": 720}, color_scheme="light")
        page.goto(page_address)
        page.screenshot(path=folder / "report.png")
        slider = page.locator("#step")
        slider.fill(str(int(slider.get_attribute("max") or 0) // 2))  # half of the deletions are made
        page.locator("#chains").scroll_into_view_if_needed()
        page.locator("#chains").screenshot(path=folder / "viewer.png")
        browser.close()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
