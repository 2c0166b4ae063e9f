"""Run the chapters into the execution cache, two at a time, each in its own kernel with one thread."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from queue import Empty
from typing import Any

TIMEOUT = 300  # seconds for one cell, as in _config.yml
CACHE = Path("_build/.jupyter_cache")


def poll_kernels_in_slices() -> None:
    """Keep a widget's sync message from swallowing a wake-up, after which a cell waits out its whole timeout.

    nbclient issue 312: polling the channel in slices of half a second cannot miss a message for longer.
    """
    from jupyter_client.channels import AsyncZMQSocketChannel

    async def get_msg(self: Any, timeout: float | None = None) -> Any:
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = 0.5 if deadline is None else min(0.5, max(0.0, deadline - time.monotonic()))
            if await self.socket.poll(int(left * 1000)):
                return await self._recv()
            if deadline is not None and time.monotonic() >= deadline:
                raise Empty

    setattr(AsyncZMQSocketChannel, "get_msg", get_msg)  # noqa: B010


def quiet_environment() -> dict[str, str]:
    """Return the environment of a build: one thread each, static output, no look-ups at model hubs."""
    fixed = {"OMP_NUM_THREADS": "1", "MMBOOK_STATIC": "1", "HF_HUB_OFFLINE": "1"}
    return {**os.environ, **fixed, "PYDEVD_DISABLE_FILE_VALIDATION": "1"}


def run_one(path: str, notebook: Any) -> tuple[Any, str]:
    """Execute one notebook in its own folder; returns the result and the traceback, or ""."""
    from jupyter_cache.executors.utils import single_nb_execution

    poll_kernels_in_slices()
    try:
        result = single_nb_execution(notebook, str(Path(path).parent), TIMEOUT, allow_errors=False)
    except Exception:
        return None, traceback.format_exc()
    return result, result.exc_string or ""


def fill_cache(root: Path, chapters: list[Path], workers: int = 2) -> list[Path]:
    """Execute the chapters that the cache does not hold yet; prints tracebacks and returns what failed."""
    from jupyter_cache import get_cache
    from jupyter_cache.cache.main import CacheBundleIn
    from jupyter_cache.readers import get_reader

    cache = get_cache(root / CACHE)
    reader = {"name": "myst_nb_md", "type": "plugin"}
    todo = []
    for path in chapters:
        record = cache.add_nb_to_project(str(path), read_data=reader)
        if cache.get_cached_project_nb(record.pk) is None:
            todo.append(str(path))
    failed = []
    os.environ.update(quiet_environment())
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        runs = {pool.submit(run_one, path, get_reader(reader)(path)): path for path in todo}
        for done in as_completed(runs):
            name, (result, error) = runs[done], done.result()
            if error:
                print(f"{name}: a cell failed\n{error}", file=sys.stderr, flush=True)
                failed.append(Path(name))
                continue
            bundle = CacheBundleIn(result.nb, name, data={"execution_seconds": result.time})
            cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
            print(f"executed {os.path.relpath(name, root)} in {result.time:.0f} s", flush=True)
    return failed
