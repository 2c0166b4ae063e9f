"""Fetch data and weights that are not in the repository: pinned packages, by hash, into a cache folder.

Packages come through their own clients: pip, npm and, on Debian, apt-get. A file is compared with its hash
before it is opened (pip does so itself, for it may run the `setup.py` of a source package to read the
metadata). Nothing is installed, and a source's folder appears when all of it is there.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from os import environ
from pathlib import Path, PurePosixPath
from typing import Any


@dataclass(frozen=True)
class Package:
    """One pinned package and what is wanted of it."""

    client: str  # through which it comes: pip, npm or apt-get
    name: str  # and version, as the client writes them
    sha256: tuple[str, ...]  # of its one file; several where platforms have files of their own
    files: tuple[str, ...]  # the wanted ones, by the end of their path; each must be found
    inner: str = ""  # an archive in a source package that holds files too
    below: str = ""  # a file below this folder keeps its path; of any other only the name stays
    into: str = ""  # the folder that its files go to


@dataclass(frozen=True)
class Source:
    """Packages that are fetched together, and what is made of them."""

    megabytes: float  # to download
    licence: str
    packages: tuple[Package, ...]
    make: str = ""  # module:function:version, called with the folder to read and the one to fill
    needs: str = ""  # a Python package that making needs


def read_sources(path: Path) -> dict[str, Source]:
    """The pinned sources of a JSON file, by name."""

    def package(fields: dict[str, Any]) -> Package:
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
        return Package(**values)

    sources = json.loads(path.read_text(encoding="utf-8"))
    return {n: Source(**s | {"packages": tuple(map(package, s["packages"]))}) for n, s in sources.items()}


SOURCES = read_sources(Path(__file__).with_name("sources.json"))
GROUPS = {"models": ("efficientnet", "minilm")}
CLIENTS = {"pip": (), "npm": ("npm",), "apt-get": ("apt-get", "dpkg-deb")}  # the programs each needs
DAY = 86_400  # seconds


def data_folder() -> Path:
    """Where fetched data lies: $MMBOOK_DATA, else the user's cache folder."""
    cache = environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(environ.get("MMBOOK_DATA") or f"{cache}/mmbook").expanduser()


def fetched(name: str) -> Path:
    """The folder of a source, which need not exist yet. Raises ValueError for an unknown name."""
    if name not in SOURCES:
        raise ValueError(f"source: expected one of {', '.join((*SOURCES, *GROUPS))}, got {name!r}")
    pins = [sha256 for package in SOURCES[name].packages for sha256 in package.sha256]
    if len(pins) > 1 or SOURCES[name].make:
        pins = [hashlib.sha256(" ".join([*pins, SOURCES[name].make]).encode()).hexdigest()]
    return data_folder() / f"{name}-{pins[0][:8]}"


def present(name: str, folder: Path | None = None) -> Path:
    """The folder of a source, by default where it was fetched to. Raises FileNotFoundError if not there."""
    folder = folder or fetched(name)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: not there; fetch it with: python -m mmbook fetch {name}")
    return folder


def download(package: Package, folder: Path) -> Path:
    """Let its client download a package's one file into an empty folder. Raises RuntimeError if it fails."""
    for program in CLIENTS[package.client]:
        if not shutil.which(program):
            raise RuntimeError(f"{package.name}: comes through {program}, which is not installed here")
    command = [shutil.which("npm") or "npm", "pack", "--loglevel=error", "--ignore-scripts", package.name]
    if package.client == "apt-get":
        command = ["apt-get", "download", "--quiet", package.name]
    elif package.client == "pip":
        wanted = folder / "wanted.txt"
        hashes = " ".join(f"--hash=sha256:{sha256}" for sha256 in package.sha256)
        wanted.write_text(f"{package.name} {hashes}\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        command += ["--no-binary", ":all:"] * bool(package.inner) + ["-r", str(wanted), "-d", str(folder)]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    (folder / "wanted.txt").unlink(missing_ok=True)
    files = list(folder.iterdir())
    if run.returncode or len(files) != 1:
        said = run.stderr.strip()[-800:] or f"it left {len(files)} files"
        hint = "\n(not found? apt-get update renews its list)" * (package.client == "apt-get")
        raise RuntimeError(f"{package.name}: {package.client} could not download it:\n{said}{hint}")
    return files[0]


def members(name: str, data: bytes, inner: str = "") -> Iterator[tuple[str, bytes]]:
    """Path and content of each file in a wheel or a tar archive, and in the archive `inner` within it."""
    if name.endswith(".whl"):
        with zipfile.ZipFile(io.BytesIO(data)) as wheel:
            yield from ((path, wheel.read(path)) for path in wheel.namelist() if not path.endswith("/"))
        return
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in filter(tarfile.TarInfo.isfile, tar):
            content = tar.extractfile(member).read()  # type: ignore[union-attr]
            yield member.name, content
            if inner and member.name.endswith("/" + inner):
                yield from members(member.name, content)


def unpack(package: Package, archive: Path, out: Path) -> None:
    """Check a downloaded file and write what is wanted of it. Raises ValueError when it is not as pinned."""
    data = archive.read_bytes()
    if (got := hashlib.sha256(data).hexdigest()) not in package.sha256:
        raise ValueError(
            f"{package.name}: {archive.name}: expected sha256 {' or '.join(package.sha256)}, got {got} "
            f"({len(data):,} bytes): the download is cut off or not the pinned file; nothing was kept; "
            "fetch it again"
        )
    if archive.suffix == ".deb":
        command = ["dpkg-deb", "--fsys-tarfile", str(archive)]
        data = subprocess.run(command, capture_output=True, check=True).stdout
    missing = set(package.files)
    for path, content in members(archive.name, data, package.inner):
        if path.endswith(package.files):
            missing -= {suffix for suffix in missing if path.endswith(suffix)}
            inside = path.partition(package.below)[2] if package.below else ""
            kept = PurePosixPath(inside or PurePosixPath(path).name)
            if ".." in kept.parts or kept.is_absolute():
                raise ValueError(f"{package.name}: expected paths inside the package, got {path}")
            target = out / package.into / kept
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    if missing:
        raise ValueError(f"{package.name}: expected it to hold {', '.join(sorted(missing))}")


def fetch(name: str) -> Path:
    """Return the folder with a source's files, downloading them if they are not there; never half of them.

    Raises ValueError for an unknown name, a download that differs from the pinned one or that lacks a file,
    RuntimeError when a package's client, or what draws its pictures, is missing or fails.
    """
    target = fetched(name)
    if target.is_dir():
        return target
    source = SOURCES[name]
    if source.needs and not find_spec(source.needs):
        raise RuntimeError(f"{name}: needs {source.needs} to make its files: pip install {source.needs}")
    data_folder().mkdir(parents=True, exist_ok=True)
    for left in data_folder().glob(f"{name}-part-*"):  # of a process that was killed
        if time.time() - left.stat().st_mtime > DAY:
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=data_folder(), prefix=f"{name}-part-") as part:
        (out := Path(part, "out")).mkdir()
        for number, package in enumerate(source.packages):
            (inbox := Path(part, str(number))).mkdir()
            unpack(package, download(package, inbox), out)
            shutil.rmtree(inbox)
        if source.make:
            module, function, _ = source.make.split(":")
            (raw, out) = (out, Path(part, "made"))
            out.mkdir()
            getattr(import_module(module), function)(raw, out)
        about = [f"{p.name} ({p.client})\nsha256 {' or '.join(p.sha256)}\n" for p in source.packages]
        (out / "SOURCE.txt").write_text("".join(about) + f"licence: {source.licence}\n", encoding="utf-8")
        if not target.is_dir():  # another process may have been faster
            out.rename(target)
    return target


def listing() -> str:
    """One line for each source: its size to download, whether it is there, its licence."""
    lines = []
    for name, source in SOURCES.items():
        there = "here" if fetched(name).is_dir() else "absent"
        lines.append(f"{name:<13}{source.megabytes:6.1f} MB  {there:<7} {source.licence}")
    lines += [f"{name:<13}= {' + '.join(parts)}" for name, parts in GROUPS.items()]
    return "\n".join([*lines, f"in {data_folder()}"])


def main(arguments: list[str]) -> int:
    """`mmbook fetch [--list] [<source> ...]`: fetch the named sources, all of them when none is named."""
    if "--list" in arguments:
        print(listing())
        return 0
    failed = 0
    names = [part for name in arguments or SOURCES for part in GROUPS.get(name, (name,))]
    for name in names:
        try:
            if not fetched(name).is_dir():
                print(f"{name}: fetching {SOURCES[name].megabytes} MB", flush=True)
            print(f"{name}: {fetch(name)}  ({SOURCES[name].licence})")
        except (ValueError, RuntimeError, OSError) as error:  # OSError: no room, or no right to write there
            print(f"{name}: {error}", file=sys.stderr)
            failed = 1
    return failed
