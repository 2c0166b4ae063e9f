"""A real Jupyter server and a notebook in a real browser, for tests that must not trust either."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client import BlockingKernelClient
from playwright.sync_api import Browser, BrowserContext, Page

ROOT = Path(__file__).parents[2]
OUTSIDE = re.compile(r"^(?:https?|wss?)://(?!127\.0\.0\.1[:/])")


def wait_for(what: Any, seconds: float = 60.0) -> Any:
    """Call `what` until it returns something true, and return that; a failed call counts as false."""
    end, error = time.monotonic() + seconds, None
    while time.monotonic() < end:
        try:
            if value := what():
                return value
        except Exception as failure:  # the server is not up yet, the file not there yet
            error = failure
        time.sleep(0.1)
    raise TimeoutError(f"waited {seconds:.0f} s in vain") from error


def same(a: Any, b: Any) -> bool:
    """Whether two JSON values are equal; for waiting with a message that shows both."""
    if a != b:
        raise AssertionError(f"{a!r} is not {b!r}")
    return True


class Jupyter:
    """A server of JupyterLab ("lab"), Notebook 7 ("notebook") or Notebook 6 ("classic") on loopback.

    It has settings of its own; `python` is the interpreter of the environment it runs in.
    """

    def __init__(self, folder: Path, app: str, python: str | Path = sys.executable) -> None:
        self.folder, self.work, self.app, self.python = folder, folder / "work", app, str(python)
        self.work.mkdir(parents=True)
        quiet = folder / "settings" / "@jupyterlab" / "apputils-extension"  # or a news pop-up covers the page
        quiet.mkdir(parents=True)
        (quiet / "notification.jupyterlab-settings").write_text(
            '{"fetchNews": "false", "checkForUpdates": false}'
        )
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.base = f"http://127.0.0.1:{s.getsockname()[1]}"

    def __enter__(self) -> Jupyter:
        places = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "IPYTHONDIR": "ipython",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        }
        env = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
            **{name: str(self.folder / place) for name, place in places.items()},
        }
        self.log = (self.folder / "server.log").open("w")
        port = self.base.rpartition(":")[2]
        options = [
            "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.port={port}",
            "--IdentityProvider.token=secret",
            f"--ServerApp.root_dir={self.work}",
        ]
        if self.app == "classic":
            options = [
                "--NotebookApp.ip=127.0.0.1",
                f"--NotebookApp.port={port}",
                "--NotebookApp.token=secret",
                f"--NotebookApp.notebook_dir={self.work}",
            ]
        module = {"lab": "jupyterlab", "notebook": "notebook", "classic": "notebook"}[self.app]
        self.process = subprocess.Popen(
            [self.python, "-m", module, "--no-browser", "--allow-root", *options],
            env=env,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            cwd=self.work,
        )
        try:
            wait_for(lambda: self.api("status"))
        except TimeoutError:
            self.__exit__()
            raise RuntimeError(
                "Jupyter did not start:\n" + (self.folder / "server.log").read_text()[-2000:]
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(20)
        self.log.close()
        shutil.rmtree(self.folder / "runtime", ignore_errors=True)

    def api(self, path: str) -> Any:
        """Ask the server's REST interface."""
        request = urllib.request.Request(f"{self.base}/api/{path}", headers={"Authorization": "token secret"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def kernel(self, name: str) -> dict[str, Any]:
        """The kernel of the notebook `name`."""
        return next(s["kernel"] for s in self.api("sessions") if s["path"] == name)

    def wait_idle(self, name: str) -> None:
        """Wait until the notebook's kernel is idle; Run All before that opens a dialog."""
        wait_for(lambda: self.kernel(name).get("execution_state") == "idle")

    def client(self, name: str) -> BlockingKernelClient:
        """A second client of the notebook's kernel, past the browser."""
        file = self.folder / "runtime" / f"kernel-{self.kernel(name)['id']}.json"
        client = BlockingKernelClient(connection_file=str(file))
        client.load_connection_file()
        client.start_channels()
        client.wait_for_ready(timeout=30)
        return client

    def ask(self, name: str, code: str) -> Any:
        """Run code in the notebook's kernel; what it prints is read as JSON."""
        client, out = self.client(name), []
        try:
            client.execute_interactive(
                code,
                timeout=30,
                store_history=False,
                output_hook=lambda m: out.append(m["content"].get("text", "")),
            )
        finally:
            client.stop_channels()
        return json.loads("".join(out))

    def write(self, name: str, cells: list[str]) -> Path:
        """Write a notebook of code cells."""
        path = self.work / name
        python = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        nbformat.write(
            nbformat.v4.new_notebook(metadata=python, cells=list(map(nbformat.v4.new_code_cell, cells))), path
        )
        return path


class Notebook:
    """A notebook open in one of the front ends, with what went wrong in `errors` and `outside`."""

    CELLS = ".jp-Notebook .jp-Cell"

    def __init__(self, server: Jupyter, browser: Browser, name: str, **options: Any) -> None:
        self.server, self.name = server, name
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 1000}, **options})
        self.outside: list[str] = []
        self.errors: list[str] = []
        context.route(OUTSIDE, lambda route: (self.outside.append(route.request.url), route.abort()))
        self.page = self.another_tab(context)

    def another_tab(self, context: BrowserContext | None = None) -> Page:
        """Open the same notebook in one more tab."""
        page: Page = (context or self.page.context).new_page()
        page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: self.errors.append(str(e)))
        place, more = ("lab/tree", "&reset") if self.server.app == "lab" else ("notebooks", "")
        page.goto(f"{self.server.base}/{place}/{self.name}?token=secret{more}")  # not last time's tabs
        self.wait_ready(page)
        return page

    def wait_ready(self, page: Page | None = None) -> None:
        """Wait until the cells are shown and the kernel is attached."""
        page = page or self.page
        page.locator(f"{self.CELLS}.jp-CodeCell").first.wait_for(timeout=60_000)
        self.server.wait_idle(self.name)
        page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").first.wait_for(timeout=30_000)
        page.get_by_text("No Kernel", exact=True).wait_for(state="hidden")

    def choose(self, menu: str, entry: str) -> None:
        """Choose an entry of the menu bar."""
        self.page.locator(".lm-MenuBar-itemLabel", has_text=re.compile(f"^{menu}$")).click()
        self.page.locator(".lm-Menu-itemLabel", has_text=re.compile(f"^{entry}$")).click()

    def run_all(self) -> None:
        """Run all cells."""
        self.choose("Run", "Run All Cells")

    def pid(self) -> int:
        """The process of the kernel."""
        return self.server.ask(self.name, "import os; print(os.getpid())")

    def restart(self) -> None:
        """Restart the kernel from the menu and wait for the new one."""
        process = self.pid()
        self._restart()
        wait_for(lambda: self.pid() != process)
        self.wait_ready()

    def _restart(self) -> None:
        self.choose("Kernel", "Restart Kernel…")
        self.page.locator(".jp-Dialog .jp-mod-accept").click()

    def cells(self) -> int:
        """The number of cells."""
        return self.page.locator(self.CELLS).count()

    def close(self) -> None:
        """Close the window."""
        self.page.context.close()


class ClassicNotebook(Notebook):
    """A notebook open in Notebook 6, whose widgets are those of Colab's versions."""

    CELLS = "#notebook .cell"

    def wait_ready(self, page: Page | None = None) -> None:
        """Wait until the cells are shown and the kernel is attached."""
        page = page or self.page
        page.locator(f"{self.CELLS}.code_cell").first.wait_for(timeout=60_000)
        self.server.wait_idle(self.name)
        page.wait_for_function("Jupyter.notebook.kernel && Jupyter.notebook.kernel.is_connected()")
        page.locator(".kernel_idle_icon").wait_for()

    def choose(self, menu: str, entry: str) -> None:
        """Choose an entry, named by its id, of the menu bar."""
        self.page.locator("#menubar .dropdown > a", has_text=re.compile(f"^{menu}$")).click()
        self.page.locator(f"#{entry} a").click()

    def run_all(self) -> None:
        """Run all cells."""
        self.choose("Cell", "run_all_cells")

    def _restart(self) -> None:
        self.choose("Kernel", "restart_kernel")
        self.page.locator(".modal-dialog .btn-danger").click()
