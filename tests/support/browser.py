"""A real browser without a window."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

__all__ = ("browser", "console", "needs_browser")

_BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_DRIVER = shutil.which("chromedriver")

# Where it could have been installed, not having it is no reason to skip.
needs_browser = pytest.mark.skipif(
    not (_BROWSER and _DRIVER) and not os.environ.get("DECORR_NEEDS_BROWSER"),
    reason="needs chromium and chromedriver (Debian: packages chromium and chromium-driver)",
)


@contextmanager
def browser() -> Iterator[Any]:
    """Chromium, driven by selenium."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    assert _BROWSER
    options.binary_location = _BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(service=Service(_DRIVER), options=options)
    try:
        yield driver
    finally:
        driver.quit()


def console(driver: Any) -> list[str]:
    """What the browser has to complain about."""
    return [entry["message"] for entry in driver.get_log("browser")]
