"""The command line: `python -m mmbook <command>`; a command's code is imported only when it runs."""

from __future__ import annotations

import sys
from importlib import import_module

COMMANDS = {
    "pretrain": ("mmbook.training.pretrain", "train the tiny or the medium model from nothing"),
    "ppo": ("mmbook.runs.launch", "learn from feedback: ppo --config FILE [section.field=value ...]"),
    "build": ("mmbook.publishing.build", "execute the chapters and build _build/html"),
    "pdf": ("mmbook.publishing.pdf", "print the built book to _build/book.pdf, with Chromium"),
    "notebooks": ("mmbook.publishing.notebooks", "export the chapters as plain notebooks (--check)"),
    "status": ("mmbook.publishing.status", "print the status page: times, versions, sizes"),
    "fetch": ("mmbook.world.fetch", "download data and weights into the cache: fetch [<name> ...] or --list"),
    "figure": (
        "mmbook.publishing.chapter_figures",
        "draw a figure of the book again: <name> [<path>] or --list",
    ),
}


def usage() -> str:
    """Return the help text: one line for each command."""
    lines = [f"  {name:<10} {says}" for name, (_, says) in COMMANDS.items()]
    return "usage: python -m mmbook <command> [options]\n\n" + "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    command, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if command in ("-h", "--help"):
        print(usage())
        return 0
    if command not in COMMANDS:
        print(f"no command {command!r}\n\n{usage()}", file=sys.stderr)
        return 2
    return int(import_module(COMMANDS[command][0]).main(rest) or 0)
