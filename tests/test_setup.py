"""The set-up: what is pinned, what is declared, what is light, and what the wheel carries."""

from __future__ import annotations

import ast
import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ROOMS = ("equations", "world", "models", "training", "feedback", "evaluate", "rl", "rlhf", "runs")
ROOMS += ("figures", "exercises", "publishing", "cli")
# What Colab's image carried on 2026-08-19 (googlecolab/backend-info, commit a724079), with Python 3.13.
COLAB = {
    "accelerate": "1.14.0",
    "anywidget": "0.9.21",
    "gymnasium": "1.3.0",
    "ipywidgets": "7.7.1",
    "matplotlib": "3.10.0",
    "numpy": "2.1.3",
    "peft": "0.20.0",
    "pillow": "11.3.0",
    "safetensors": "0.8.0",
    "scipy": "1.16.3",
    "torch": "2.11.0",
    "transformers": "5.15.0",
}


def requirements() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    found = [Requirement(line) for line in PROJECT["dependencies"] + [r for extra in extras for r in extra]]
    return [r for r in found if r.name != "mmbook"]


def pins() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    found = [line.split("==") for line in lines]
    assert all(len(pair) == 2 for pair in found), "every line of constraints.txt is name==version"
    assert len({canonicalize_name(name) for name, _ in found}) == len(found), "a name is pinned twice"
    return {canonicalize_name(name): version for name, version in found}


def test_every_requirement_is_pinned_to_a_version_that_it_allows():
    pinned = pins()
    wrong = [str(r) for r in requirements() if not r.specifier.contains(pinned[canonicalize_name(r.name)])]
    assert wrong == []


def test_pins_name_public_versions_and_no_second_torch():
    pinned = pins()
    assert pinned["torch"] == "2.13.0"
    assert [v for v in pinned.values() if "+" in v or "/" in v] == []
    assert not {"torchvision", "torchaudio", "trl", "mmbook"} & set(pinned)


def test_the_installed_environment_is_the_pinned_one():
    from importlib import metadata

    installed = {canonicalize_name(d.name): d.version.split("+")[0] for d in metadata.distributions()}
    wrong = {n: (installed[n], v) for n, v in pins().items() if n in installed and installed[n] != v}
    assert wrong == {}, "installed version, pinned version; run make book"


def test_colab_needs_no_upgrade():
    base = {canonicalize_name(r.name): r.specifier for r in map(Requirement, PROJECT["dependencies"])}
    assert [name for name, version in COLAB.items() if not base[name].contains(version)] == []
    assert SpecifierSet(PROJECT["requires-python"]).contains("3.13.15")


def environment() -> tuple[str, list[str]]:
    data = yaml.safe_load((ROOT / "environment.yml").read_text())
    plain = [d for d in data["dependencies"] if isinstance(d, str)]
    assert [re.split(r"[<>=]", d)[0] for d in plain] == ["python", "pip"], "conda brings Python and pip alone"
    nested = [d for d in data["dependencies"] if isinstance(d, dict)]
    return plain[0].removeprefix("python"), nested[0]["pip"]


def test_the_conda_environment_says_nothing_of_its_own():
    python, lines = environment()
    assert SpecifierSet(python) == SpecifierSet(PROJECT["requires-python"])
    assert lines == ["-c constraints.txt", "-e .[dev]"]


@pytest.mark.slow
def test_the_pins_resolve_together(tmp_path):
    """pip, asked to install everything anew, finds one consistent set; conda's lines are what it is asked."""
    request = tmp_path / "requirements.txt"
    request.write_text(
        "\n".join(environment()[1]).replace("-c ", f"-c {ROOT}/").replace("-e .", f"-e {ROOT}")
    )
    command = [sys.executable, "-m", "pip", "install", "-q", "--dry-run", "--ignore-installed", "-r", request]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_pins_install_on_the_newest_python(tmp_path):
    """Every pin has a wheel for 3.13, but torch (builds differ by index) and rouge-score (source only)."""
    request = tmp_path / "requirements.txt"
    request.write_text("\n".join(f"{n}=={v}" for n, v in pins().items() if n not in ("torch", "rouge-score")))
    options = ["--no-deps", "--ignore-installed", "--python-version", "3.13", "--only-binary=:all:"]
    command = [sys.executable, "-m", "pip", "install", "-q", "--dry-run", *options]
    command += ["--target", str(tmp_path / "target"), "-r", str(request)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("ci", "ending"), [("", "1 skipped"), ("true", "1 error")])
def test_browser_tests_without_chromium_are_skipped_aloud_and_never_in_ci(tmp_path, ci, ending):
    test = "tests/browser/test_site.py::test_the_recorder_sees_requests_errors_and_width"
    kept = {k: v for k, v in os.environ.items() if k != "MMBOOK_CHROMIUM"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", test],
        cwd=ROOT,
        env={**kept, "CI": ci, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    lines = done.stdout.strip().splitlines()
    assert ending in lines[-1]
    assert (done.returncode == 0) == (ci == "")
    if ci:
        assert "CI=true, and no Chromium was found" in done.stdout
    else:
        assert [line for line in lines if line.startswith("browser tests skipped: ")]


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["mmbook", "mmbook.world", "mmbook.publishing", "mmbook.cli"])
def test_light_imports_bring_neither_torch_nor_sphinx(module):
    heavy = "{'torch', 'transformers', 'sphinx', 'matplotlib'}"
    assert run_python(f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))") == "[]"


def test_bare_import_brings_nothing_but_itself():
    assert run_python("import sys, mmbook; print('numpy' in sys.modules)") == "False"


def test_public_names_load_on_first_use():
    import mmbook

    assert {"load_pretrained_model", "evaluate", "world"} <= set(dir(mmbook))
    for name in mmbook.__all__:
        assert getattr(mmbook, name) is not None, name
    with pytest.raises(AttributeError, match="'mmbook' has no attribute 'nothing'"):
        mmbook.nothing  # noqa: B018


def rooms_imported(path: Path) -> set[str]:
    """Return the rooms of mmbook that a module imports, relative imports included."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level > 1:
            names += [f"mmbook.{node.module or alias.name}" for alias in node.names]
    found = {name.split(".")[1] for name in names if name.startswith("mmbook.")}
    return found & set(ROOMS)


def test_each_room_imports_only_rooms_above_it():
    faults = []
    for path in sorted((ROOT / "mmbook").rglob("*.py")):
        room = path.relative_to(ROOT / "mmbook").parts[0].removesuffix(".py")
        if room in ROOMS:
            below = {r for r in rooms_imported(path) if ROOMS.index(r) > ROOMS.index(room)}
            below |= {"rl"} & rooms_imported(path) if room == "rlhf" else set()  # neither knows the other
            faults += [f"{path.relative_to(ROOT)} imports {other}" for other in sorted(below)]
    assert faults == []


def test_the_room_check_sees_imports_of_every_form(tmp_path):
    text = (
        "import mmbook.cli\nfrom mmbook import rl\nfrom mmbook.rlhf.ppo import x\nfrom ..figures import y\n"
    )
    (tmp_path / "module.py").write_text(text)
    assert rooms_imported(tmp_path / "module.py") == {"cli", "rl", "rlhf", "figures"}


def test_the_package_stays_within_its_budget():
    from mmbook.publishing.status import BUDGET, CORE, CORE_BUDGET, room_lines

    code = {name: code for name, (code, _) in room_lines(ROOT).items()}
    assert sum(code.values()) <= BUDGET
    assert sum(code[name] for name in CORE) <= CORE_BUDGET


def test_lines_of_code_are_those_that_run(tmp_path):
    from mmbook.publishing.status import count_lines

    ran = ["x = [", "    1,  # one", "]", "def f():", "    return x"]
    rest = ['"""What it is.', "", 'More."""', "", "", '    """Say."""', "    # no"]
    text = "\n".join([*rest[:4], *ran[:2], rest[4], *ran[2:4], *rest[5:], ran[4]]) + "\n"
    (tmp_path / "a.py").write_text(text)
    assert count_lines(tmp_path) == (5, 12)


def test_readme_opens_with_two_commands_and_names_every_other():
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.M | re.S)
    assert next(body for language, body in blocks if not language) == "make book\nmake test\n"
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M)
    assert phony and all(f"make {target}" in text for target in phony[1].split())
    for picture in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text):
        assert (ROOT / picture).is_file(), f"README.md shows {picture}, which does not exist"


def test_ci_runs_the_readme_s_test_command():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & stat.S_IXUSR
    assert script.read_text().rstrip().endswith("exec make test")


def test_actions_are_pinned_by_major_version():
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        used = re.findall(r"uses: (\S+)", path.read_text())
        assert used and all(re.fullmatch(r"[\w.-]+/[\w.-]+@v\d+", name) for name in used), path


def test_vendored_files_are_small_and_licensed():
    files = [p for p in (ROOT / "book" / "static").rglob("*") if p.is_file()]
    assert [p.name for p in files if p.stat().st_size > 5_000_000] == []
    assert "Apache License" in (ROOT / "book/static/vendor/mathjax/LICENSE").read_text()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a copy, so that no old build folder gets into the wheel
    shutil.copytree(ROOT / "mmbook", source / "mmbook", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "LICENSE-TEXT"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "-q", source, "--no-deps", "-w", folder]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_carries_every_file_of_the_package(wheel):
    inside = {n for n in zipfile.ZipFile(wheel).namelist() if n.startswith("mmbook/")}
    here = {
        p.relative_to(ROOT).as_posix()
        for p in (ROOT / "mmbook").rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }
    assert here - inside == set()


NOTEBOOKS = sorted(
    p.relative_to(ROOT / "book").with_suffix("").as_posix() for p in (ROOT / "book").rglob("*.ipynb")
)
# CI runs two of them so; benchmarks/colab.py runs them all, in the versions that Colab has.
FEW = ("quickstart", "multimodal/representations")
ALONE = [pytest.param(n, marks=() if n in FEW else pytest.mark.slower) for n in NOTEBOOKS]


def run_alone(folder: Path, wheel: Path, notebook: Path) -> subprocess.CompletedProcess[str]:
    """Run a notebook in an empty folder, in an environment that has torch and no mmbook."""
    target, kernel = folder / "target", folder / "kernels" / "alone"
    for new in (target, kernel, folder / "empty"):
        new.mkdir(parents=True)
    # -S: the checkout's own mmbook is out of reach, and pip puts the wheel where nothing else is.
    launch = [sys.executable, "-S", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(
        str({"argv": launch, "display_name": "alone", "language": "python"}).replace("'", '"')
    )
    site = next(p for p in sys.path if p.endswith("site-packages"))
    environment = {
        **os.environ,
        "JUPYTER_PATH": str(folder),
        "MMBOOK_SPEC": str(wheel),
        "OMP_NUM_THREADS": "1",
        "PIP_NO_DEPS": "1",
        "PIP_TARGET": str(target),
        "PYTHONPATH": f"{target}{os.pathsep}{site}",
    }
    (folder / "empty" / notebook.name).write_bytes(notebook.read_bytes())
    execute = ["jupyter", "execute", "--kernel_name=alone", "--timeout=600", notebook.name]
    return subprocess.run(
        [sys.executable, "-m", *execute],
        cwd=folder / "empty",
        env=environment,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def runs(request, wheel, tmp_path_factory):
    """Folder and run of each notebook that was asked for, two at a time: each has one thread."""
    pool, started = ThreadPoolExecutor(2), {}
    for item in request.session.items:
        if "runs" in getattr(item, "fixturenames", ()):
            name = item.callspec.params["notebook"]
            if name not in FEW and not request.config.getoption("--slow"):
                continue
            folder = tmp_path_factory.mktemp(Path(name).name)
            notebook = ROOT / "book" / f"{name}.ipynb"
            started[name] = folder, pool.submit(run_alone, folder, wheel, notebook)
    yield started
    pool.shutdown(cancel_futures=True)


@pytest.mark.slow
@pytest.mark.parametrize("notebook", ALONE)
def test_a_notebook_runs_alone_from_the_wheel(runs, notebook):
    """In an empty folder and an environment without mmbook, the notebook installs the wheel and runs."""
    folder, run = runs[notebook]
    done = run.result()
    assert done.returncode == 0, done.stderr[-4000:]
    assert (folder / "target" / "mmbook" / "__init__.py").is_file(), "the first cell installed the wheel"


def test_each_feature_of_the_labeller_that_the_readme_lists_has_a_test():
    rows = re.findall(
        r"^\| [^|]+ \| (yes|Chinese) \|.*\| \[([^]]+)\]\((tests/[^)]+)\) \|$",
        (ROOT / "README.md").read_text(),
        re.M,
    )
    assert len(rows) == 20
    for _, name, path in rows:
        assert f"\ndef test_{name.replace(' ', '_')}(" in (ROOT / path).read_text(encoding="utf-8")
