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
    "figure": ("mmbook.figures", "draw one figure: figure <name> [<path>]"),
}


def usage() -> str:
    """Return the help text: one line for each command."""
    lines = [f"  {name:<10} {says}" for name, (_, says) in COMMANDS.items()]
    return "usage: python -m mmbook <command> [options]\n\n" + "\n".join(lines)


def figure(arguments: list[str]) -> int:
    """Draw the figure `arguments[0]` into the file `arguments[1]`, by default `<name>.svg` here."""
    if not 1 <= len(arguments) <= 2:
        print(f"expected: figure <name> [<path>]; got {len(arguments)} arguments", file=sys.stderr)
        return 2
    path = arguments[1] if len(arguments) == 2 else f"{arguments[0]}.svg"
    import_module("mmbook.figures").save(arguments[0], path)
    print(path)
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    command, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if command in ("-h", "--help"):
        print(usage())
        return 0
    if command not in COMMANDS:
        print(f"no command {command!r}\n\n{usage()}", file=sys.stderr)
        return 2
    if command == "figure":
        return figure(rest)
    return int(import_module(COMMANDS[command][0]).main(rest) or 0)
