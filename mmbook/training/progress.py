"""Progress bars that a person sees and a printed page does not."""

from __future__ import annotations

import os
from typing import Any

from tqdm.auto import tqdm


def bar(length: range, name: str, shown: bool = True, **more: Any) -> tqdm:
    """A progress bar over `length` with the time left; silent where MMBOOK_STATIC is set, as on a page."""
    silent = not shown or bool(os.environ.get("MMBOOK_STATIC"))
    return tqdm(length, desc=name, disable=silent, mininterval=0.5, **more)
