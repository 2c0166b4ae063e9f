"""Fetching: what is kept, what is refused, and that nothing half done stays; no test asks the network."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from mmbook.world import fetch as fetching
from mmbook.world.fetch import GROUPS, SOURCES, Package, Source, fetch, fetched, main, present


def tar(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def wheel(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return out.getvalue()


INNER = tar({"data/ratings.txt": b"1\t2\n", "data/paper.pdf": b"%PDF", "../../evil.txt": b"out"})
SDIST = tar({"p-1/LICENSE.txt": b"MIT", "p-1/setup.py": b"1/0", "p-1/more/inner.tar.gz": INNER})
INFO = b"Metadata-Version: 2.1\nName: p\nVersion: 1\n"
FORM = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
WHEEL = wheel({"p/a.json": b"{}", "p-1.dist-info/METADATA": INFO, "p-1.dist-info/WHEEL": FORM})


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def package(data: bytes, *files: str, client: str = "pip", name: str = "p==1", **more: str) -> Package:
    return Package(client, name, (sha256(data),), files, **more)


def source(*packages: Package, make: str = "", needs: str = "") -> Source:
    return Source(0.1, "MIT, its author", packages, make, needs)


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MMBOOK_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def offer(data, monkeypatch):
    """Let `fetch("p")` find packages, each by its name: the name and content of its file."""
    calls = []

    def prepare(pinned: Source, *files: tuple[str, bytes]) -> list[str]:
        found = dict(zip((package.name for package in pinned.packages), files, strict=True))

        def download(wanted: Package, folder: Path) -> Path:
            calls.append(wanted.name)
            name, content = found[wanted.name]
            (folder / name).write_bytes(content)
            return folder / name

        monkeypatch.setitem(SOURCES, "p", pinned)
        monkeypatch.setattr(fetching, "download", download)
        return calls

    return prepare


SDIST_FILE = ("p-1.tar.gz", SDIST)


def test_only_the_named_files_are_kept_with_their_licence_and_only_fetched_once(offer, data):
    calls = offer(source(package(SDIST, "LICENSE.txt", "ratings.txt", inner="inner.tar.gz")), SDIST_FILE)
    folder = fetch("p")
    assert sorted(f.name for f in folder.iterdir()) == ["LICENSE.txt", "SOURCE.txt", "ratings.txt"]
    assert (folder / "ratings.txt").read_bytes() == b"1\t2\n"
    about = (folder / "SOURCE.txt").read_text()
    assert "licence: MIT, its author" in about and f"p==1 (pip)\nsha256 {sha256(SDIST)}" in about
    assert fetch("p") == folder == fetched("p") == present("p") and calls == ["p==1"]
    assert [f.name for f in data.iterdir()] == [folder.name]  # no leftovers


def test_a_path_that_climbs_out_lands_in_the_folder_or_is_refused(offer, tmp_path, data):
    offer(source(package(SDIST, "evil.txt", inner="inner.tar.gz")), SDIST_FILE)
    assert (fetch("p") / "evil.txt").read_bytes() == b"out"
    assert len(list(tmp_path.rglob("evil.txt"))) == 1
    climbing = tar({"package/../../evil2.txt": b"out"})
    offer(source(package(climbing, "evil2.txt", below="package/")), ("p-1.tgz", climbing))
    with pytest.raises(ValueError, match=r"p==1: expected paths inside the package, got package/\.\./"):
        fetch("p")
    assert not list(tmp_path.rglob("evil2.txt"))


def test_files_below_a_folder_keep_their_paths_and_packages_have_folders_of_their_own(offer):
    one = tar({"package/en/data.json": b"1", "package/zh/data.json": b"2", "package/zh/more.json": b"no"})
    packages = (
        package(one, "/data.json", client="npm", name="one@1", below="package/"),
        package(WHEEL, "/a.json", into="two"),
    )
    offer(source(*packages), ("one-1.tgz", one), ("p-1-py3-none-any.whl", WHEEL))
    folder = fetch("p")
    files = {f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file()}
    assert files == {"en/data.json", "zh/data.json", "two/a.json", "SOURCE.txt"}


def double(raw: Path, folder: Path) -> None:
    (folder / "twice.txt").write_bytes((raw / "ratings.txt").read_bytes() * 2)


def halt(raw: Path, folder: Path) -> None:
    (folder / "half.txt").write_text("half")
    raise KeyboardInterrupt


def test_what_is_made_of_a_package_replaces_its_files_and_has_a_folder_of_its_own(offer, data):
    ratings = package(SDIST, "ratings.txt", inner="inner.tar.gz")
    offer(source(ratings), SDIST_FILE)
    plain = fetch("p")
    offer(source(ratings, make=f"{__name__}:double:1"), SDIST_FILE)
    assert sorted(f.name for f in fetch("p").iterdir()) == ["SOURCE.txt", "twice.txt"]
    assert fetched("p") != plain and (fetched("p") / "twice.txt").read_bytes() == b"1\t2\n1\t2\n"


def test_an_interrupted_fetch_leaves_nothing_and_starts_again(offer, data):
    ratings = package(SDIST, "ratings.txt", inner="inner.tar.gz")
    offer(source(ratings, make=f"{__name__}:halt:1"), SDIST_FILE)
    with pytest.raises(KeyboardInterrupt):
        fetch("p")
    assert list(data.iterdir()) == []
    (killed := data / "p-part-killed").mkdir()
    (mine := data / "p-part-running").mkdir()
    os.utime(killed, (0, 0))
    offer(source(ratings), SDIST_FILE)
    assert (fetch("p") / "ratings.txt").is_file()
    assert not killed.exists() and mine.exists()


@pytest.mark.parametrize("spoil", [lambda d: d[: len(d) // 2], lambda d: d[:-9] + bytes(9)])
def test_a_cut_or_changed_download_is_refused_and_nothing_stays(offer, data, spoil):
    offer(source(package(SDIST, "LICENSE.txt")), ("p-1.tar.gz", spoil(SDIST)))
    says = rf"p==1: p-1.tar.gz: expected sha256 {sha256(SDIST)}, got {sha256(spoil(SDIST))} .*cut off"
    with pytest.raises(ValueError, match=says):
        fetch("p")
    assert list(data.iterdir()) == []


def test_a_good_package_beside_a_bad_one_is_not_kept(offer, data):
    packages = package(SDIST, "LICENSE.txt"), package(WHEEL, "/a.json", name="q==1")
    offer(source(*packages), SDIST_FILE, ("q-1-py3-none-any.whl", WHEEL[:-1]))
    with pytest.raises(ValueError, match=r"q==1: .*expected sha256"):
        fetch("p")
    assert list(data.iterdir()) == []


def test_a_package_without_the_file_is_refused(offer, data):
    offer(source(package(SDIST, "LICENSE.txt", "absent.txt")), SDIST_FILE)
    with pytest.raises(ValueError, match=r"p==1: expected it to hold absent\.txt"):
        fetch("p")
    assert list(data.iterdir()) == []


def test_what_making_needs_is_asked_for_before_anything_is_downloaded(offer):
    calls = offer(source(package(SDIST, "LICENSE.txt"), make="a:b:1", needs="no_such_package"), SDIST_FILE)
    with pytest.raises(RuntimeError, match=r"p: needs no_such_package .*: pip install no_such_package"):
        fetch("p")
    assert not calls


@pytest.mark.parametrize("spoil", [None, lambda d: d[: len(d) // 2], lambda d: d.replace(b"{}", b"[]", 1)])
def test_pip_itself_compares_the_hash_and_its_failure_is_told(data, tmp_path, monkeypatch, spoil):
    (shelf := tmp_path / "shelf").mkdir()
    (shelf / "p-1-py3-none-any.whl").write_bytes(spoil(WHEEL) if spoil else WHEEL)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    monkeypatch.setitem(SOURCES, "p", source(package(WHEEL, "/a.json")))
    if spoil is None:
        assert (fetch("p") / "a.json").read_text() == "{}"
        return
    with pytest.raises(RuntimeError, match="p==1: pip could not download it") as failure:
        fetch("p")
    assert sha256(WHEEL) in str(failure.value) and sha256(spoil(WHEEL)) in str(failure.value)
    assert list(data.iterdir()) == []


def test_a_source_package_is_asked_of_pip_as_one(data, monkeypatch):
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
    assert "--require-hashes" in command and "--no-deps" in command and "--no-binary" in command
    assert wanted == f"vaderSentiment==3.3.2 --hash=sha256:{SOURCES['vader'].packages[0].sha256[0]}\n"
    assert list(data.iterdir()) == []


@pytest.fixture
def fake_client(tmp_path, monkeypatch):
    """Put a program first on the path, written in shell."""

    def install(name: str, script: str) -> None:
        (programs := tmp_path / "programs").mkdir(exist_ok=True)
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")

    return install


needs_shell = pytest.mark.skipif(sys.platform == "win32", reason="the fake client is a shell script")


@needs_shell
def test_npm_is_asked_for_the_pinned_version_and_runs_no_script(data, tmp_path, monkeypatch, fake_client):
    packed = tar({"package/icons.json": b"{}"})
    (tmp_path / "a-1.tgz").write_bytes(packed)
    fake_client("npm", f'echo "$@" > {tmp_path}/asked; cp {tmp_path}/a-1.tgz .')
    monkeypatch.setitem(SOURCES, "p", source(package(packed, "/icons.json", client="npm", name="@s/a@1")))
    assert (fetch("p") / "icons.json").read_text() == "{}"
    assert (tmp_path / "asked").read_text().split() == [
        "pack",
        "--loglevel=error",
        "--ignore-scripts",
        "@s/a@1",
    ]


@needs_shell
@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo 'E: unable to locate it' >&2; exit 100", r"apt-get could not.*\nE: unable to locate it\n\("),
        ("echo half > a.deb.partial; exit 1", "apt-get could not download it:\nit left 1 files"),
        ("exit 0", "apt-get could not download it:\nit left 0 files"),
        ("echo half > a.deb", r"a=1: a\.deb: expected sha256 \w{64}, got .* \(5 bytes\)"),
    ],
)
def test_a_client_that_fails_is_named_and_leaves_nothing(data, monkeypatch, fake_client, script, says):
    fake_client("apt-get", script)
    fake_client("dpkg-deb", "exit 1")
    monkeypatch.setitem(SOURCES, "p", source(package(b"", "a", client="apt-get", name="a=1")))
    with pytest.raises((RuntimeError, ValueError), match=says):
        fetch("p")
    assert list(data.iterdir()) == []


@pytest.mark.parametrize(("client", "program"), [("npm", "npm"), ("apt-get", "apt-get")])
def test_a_client_that_is_not_installed_is_named(data, tmp_path, monkeypatch, capsys, client, program):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(SOURCES, "p", source(package(b"", "a", client=client, name="a")))
    assert main(["p"]) == 1
    assert f"p: a: comes through {program}, which is not installed" in capsys.readouterr().err


@pytest.mark.skipif(
    not shutil.which("dpkg-deb"), reason="dpkg-deb, which opens Debian's packages, is missing"
)
def test_a_debian_package_is_opened(offer, tmp_path):
    (tree := tmp_path / "tree" / "usr" / "share" / "stamps" / "a").mkdir(parents=True)
    (tree / "cat.txt").write_text("A cat.")
    (control := tmp_path / "tree" / "DEBIAN").mkdir()
    fields = "Package: p\nVersion: 1\nArchitecture: all\nMaintainer: m <m@example.org>\nDescription: d\n"
    (control / "control").write_text(fields)
    archive = tmp_path / "p_1_all.deb"
    subprocess.run(["dpkg-deb", "-b", str(tmp_path / "tree"), str(archive)], check=True, capture_output=True)
    content = archive.read_bytes()
    pinned = package(content, ".txt", client="apt-get", name="p=1", below="share/stamps/")
    offer(source(pinned), (archive.name, content))
    assert (fetch("p") / "a" / "cat.txt").read_text() == "A cat."


def test_the_command_goes_on_after_a_failure_and_names_an_unknown_source(offer, capsys):
    offer(source(package(SDIST, "LICENSE.txt")), SDIST_FILE)
    assert main(["nothing", "p"]) == 1
    out, err = capsys.readouterr()
    assert "expected one of emoji, tuxpaint, vader," in err and "models, got 'nothing'" in err
    assert "p: fetching 0.1 MB" in out and "(MIT, its author)" in out
    assert main(["p"]) == 0
    assert "fetching" not in capsys.readouterr().out


def test_a_cache_that_cannot_be_written_is_told_not_thrown(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("MMBOOK_DATA", str(tmp_path / "file"))
    assert main(["vader"]) == 1
    assert re.search(r"vader: .*exists: .*file", capsys.readouterr().err)


def test_a_group_stands_for_its_sources(data, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(fetching, "fetch", lambda name: asked.append(name) or Path(name))
    assert main(["models"]) == 0 and asked == ["efficientnet", "minilm"]
    asked.clear()
    assert main([]) == 0 and asked == list(SOURCES)
    assert {name for parts in GROUPS.values() for name in parts} <= set(SOURCES)


def test_the_list_says_what_is_there(offer, capsys):
    offer(source(package(SDIST, "LICENSE.txt")), SDIST_FILE)
    assert main(["--list"]) == 0
    assert re.search(r"^p +0\.1 MB  absent  MIT, its author$", capsys.readouterr().out, re.M)
    fetch("p")
    assert main(["--list"]) == 0
    assert re.search(r"^p +0\.1 MB  here    MIT, its author$", capsys.readouterr().out, re.M)


def test_what_is_absent_says_how_to_fetch_it(data, tmp_path):
    with pytest.raises(FileNotFoundError, match="not there; fetch it with: python -m mmbook fetch speech"):
        present("speech")
    assert present("speech", tmp_path) == tmp_path


def test_sources_are_pinned_by_version_and_hash_and_name_no_host():
    forms = {"pip": r"[\w-]+==[\d.]+", "npm": r"(@[\w-]+/)?[\w-]+@[\d.]+", "apt-get": r"[\w-]+=[\d.]+-\d+"}
    for pinned in SOURCES.values():
        assert pinned.licence and 1 < pinned.megabytes < 200
        for one in pinned.packages:
            assert re.fullmatch(forms[one.client], one.name)
            assert one.sha256 and all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in one.sha256)
    for file in ("fetch.py", "sources.json"):
        assert "://" not in Path(fetching.__file__).with_name(file).read_text(encoding="utf-8")


def test_folders_of_earlier_versions_are_still_found(data):
    assert fetched("vader").name == "vader-5d7c06e0" and fetched("minilm").name == "minilm-b9a0018d"
