"""A headless Chromium that has seen nothing before, for tests of the page."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.required_here import not_here

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PHONE = {"width": 375, "height": 720, "deviceScaleFactor": 2, "mobile": True}


@contextmanager
def chromium() -> Iterator[Any]:
    """A Selenium driver, closed at the end; skips (or fails) where parts are missing."""
    programs = [shutil.which("chromium"), shutil.which("chromedriver")]
    if None in programs:
        not_here("chromium and chromedriver are not installed (Debian: chromium, chromium-driver)")
    try:
        from selenium.webdriver import Chrome, ChromeOptions, ChromeService
    except ImportError:
        not_here("selenium is not installed")
    options = ChromeOptions()
    options.binary_location = programs[0]
    with tempfile.TemporaryDirectory(prefix="antifragile-chromium-") as profile:
        for flag in (*_FLAGS, f"--user-data-dir={profile}", "--window-size=1360,1000"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = Chrome(options=options, service=ChromeService(programs[1]))
        try:
            yield driver
        finally:
            driver.quit()


def open_page(driver: Any, path: Path, *, phone: bool = False) -> None:
    """Open a file, as wide as a desk's screen or a phone's."""
    if phone:
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    else:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    driver.get_log("browser")
    driver.get(path.resolve().as_uri())


def console(driver: Any) -> list[str]:
    """Messages that the page wrote to the console since it was opened."""
    return [str(entry["message"]) for entry in driver.get_log("browser")]
