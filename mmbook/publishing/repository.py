"""Where this checkout is published, if anywhere."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

_GITHUB = re.compile(
    r"(?:git@|ssh://git@|https://(?:[^@/]*@)?)(?P<host>github\.com)[:/](?P<path>[^/]+/[^/]+?)(?:\.git)?/?"
)


def git(*arguments: str, folder: Path) -> str:
    """Return git's answer in `folder`, or "" where there is no git or no repository."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def repository_url(folder: Path) -> str:
    """Return the web address: BOOK_REPOSITORY_URL, GITHUB_REPOSITORY, the remote `origin`, or ""."""
    url = os.environ.get("BOOK_REPOSITORY_URL", "")
    if not url and os.environ.get("GITHUB_REPOSITORY"):
        server = os.environ.get("GITHUB_SERVER_URL", "https://github.com")
        url = f"{server}/{os.environ['GITHUB_REPOSITORY']}"
    if not url:
        match = _GITHUB.fullmatch(git("remote", "get-url", "origin", folder=folder))
        url = f"https://{match['host']}/{match['path']}" if match else ""
    return url.removesuffix("/").removesuffix(".git")
