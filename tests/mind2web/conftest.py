"""What the tests of the web world share: the benchmark's data, and whether a browser is installed."""

from __future__ import annotations

import importlib.util
import os
import shutil

import pytest


@pytest.fixture(scope="session")
def browser() -> str:
    """The system's Chromium; tests that need it are skipped where it or Playwright is missing."""
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("Playwright is not installed: pip install 'cmat-gym[browser]'")
    found = os.environ.get("CMAT_GYM_CHROMIUM") or shutil.which("chromium")
    if not found:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    return found
