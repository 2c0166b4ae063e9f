"""What all tests share: Chromium, the built book, and which tests are slow."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
IN_CI = os.environ.get("CI", "").lower() in ("1", "true")
NO_CHROMIUM = "browser tests skipped: no Chromium; set MMBOOK_CHROMIUM or install the package chromium"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run all slow tests; CI runs most of them")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        return
    for item in items:
        if item.get_closest_marker("slow") and not IN_CI:
            item.add_marker(pytest.mark.skip(reason="slow: runs with --slow and where CI=true"))
        if item.get_closest_marker("slower"):
            item.add_marker(pytest.mark.skip(reason="slower: runs with --slow"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if any(NO_CHROMIUM in str(report.longrepr) for report in terminalreporter.stats.get("skipped", ())):
        terminalreporter.write_line(NO_CHROMIUM)


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Keep the other workers of this run waiting: a package is installed once."""
    import fcntl

    with open(Path(tempfile.gettempdir()) / "mmbook-install.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def may_install() -> bool:
    """Return whether this is Debian and we are its root."""
    release = Path("/etc/os-release")
    debian = release.is_file() and "\nID=debian" in "\n" + release.read_text()
    return debian and shutil.which("apt-get") is not None and os.geteuid() == 0


def chromium_path() -> str | None:
    """Return Chromium's path: MMBOOK_CHROMIUM, the PATH, else Debian's package installed now, else None."""
    named = os.environ.get("MMBOOK_CHROMIUM")
    if named:
        if not os.access(named, os.X_OK):
            raise RuntimeError(f"MMBOOK_CHROMIUM must name a program that can be run, got {named!r}")
        return named
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None and may_install():
        quiet = {"capture_output": True, "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}}
        with one_at_a_time():
            if shutil.which("chromium") is None:
                subprocess.run(["apt-get", "update"], **quiet)
                subprocess.run(["apt-get", "install", "-y", "--no-install-recommends", "chromium"], **quiet)
        found = shutil.which("chromium")
    return found


@pytest.fixture(scope="session")
def chromium() -> str:
    """Chromium's path; without one the test is skipped, but never where CI=true."""
    path = chromium_path()
    if path is None:
        if IN_CI:
            pytest.fail("CI=true, and no Chromium was found: browser tests are never skipped in CI")
        pytest.skip(NO_CHROMIUM)
    return path


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[object]:
    """A headless Chromium that asks the network for nothing of its own."""
    from playwright.sync_api import sync_playwright

    switches = "no-sandbox disable-gpu disable-background-networking disable-component-update no-first-run"
    arguments = [f"--{name}" for name in [*switches.split(), "disable-sync"]]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield running
        running.close()


@pytest.fixture(scope="session")
def built_book() -> Path:
    """The folder of the built pages, which must be those of the present sources."""
    from mmbook.publishing.build import is_current

    if not is_current(ROOT):
        pytest.fail("_build/html is missing or older than the sources: run `make book`")
    return ROOT / "_build" / "html"
