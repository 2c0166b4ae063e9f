"""Run every exported notebook alone, as Colab would: its versions, an empty folder, the wheel.

    python3.11 -m venv colab
    colab/bin/pip install torch && colab/bin/pip install -r benchmarks/peers/colab.txt
    python benchmarks/colab.py colab/bin/python [quickstart dqn ...]

Colab's own module is stood in for by one that is imported before the notebook begins and writes down what is
asked of it. Before each notebook the package is taken away, so that its first cell has to install it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from results_file import FOLDER, number, write

ROOT = Path(__file__).parents[1]
PINS = [line.split("#")[0].strip() for line in (ROOT / "benchmarks/peers/colab.txt").read_text().splitlines()]
OUTPUT = """\
import os

def enable_custom_widget_manager():
    with open(os.environ["COLAB_ASKED"], "a") as file:
        file.write("enable_custom_widget_manager\\n")

def disable_custom_widget_manager():
    pass
"""


def stand_in(folder: Path) -> None:
    """Write a module google.colab that is imported as soon as Python starts."""
    (folder / "google" / "colab").mkdir(parents=True)
    (folder / "google" / "colab" / "__init__.py").write_text("from google.colab import output\n")
    (folder / "google" / "colab" / "output.py").write_text(OUTPUT)
    (folder / "sitecustomize.py").write_text("import google.colab\n")


def build_wheel(folder: Path) -> Path:
    """The package's wheel, built from a copy in which nothing old lies."""
    source = folder / "source"
    shutil.copytree(ROOT / "mmbook", source / "mmbook", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "LICENSE-TEXT"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "-q", source, "--no-deps", "-w", folder]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


def versions(python: str) -> dict[str, str]:
    """What is installed, without the package itself."""
    done = subprocess.run([python, "-m", "pip", "list", "--format=json"], capture_output=True, check=True)
    return {p["name"].lower().replace("_", "-"): p["version"] for p in json.loads(done.stdout)}


def run_alone(python: str, notebook: Path, wheel: Path, folder: Path) -> dict[str, object]:
    """Run one notebook in an empty folder; whether it passed, its seconds, and what it asked of Colab."""
    subprocess.run([python, "-m", "pip", "uninstall", "-qy", "mmbook"], check=True, capture_output=True)
    kernel, empty, asked = folder / "kernels" / "colab", folder / "empty", folder / "asked"
    for new in (kernel, empty):
        new.mkdir(parents=True)
    stand_in(folder / "stand-in")
    launch = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(
        json.dumps({"argv": launch, "display_name": "Colab", "language": "python"})
    )
    environment = {
        **os.environ,
        "COLAB_ASKED": str(asked),
        "JUPYTER_PATH": str(folder),
        "MMBOOK_SPEC": str(wheel),
        "OMP_NUM_THREADS": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTHONPATH": str(folder / "stand-in"),
    }
    shutil.copy(notebook, empty)
    execute = ["jupyter", "execute", "--kernel_name=colab", "--timeout=900", notebook.name]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", *execute], cwd=empty, env=environment, capture_output=True, text=True
    )
    row = {
        "passed": done.returncode == 0,
        "seconds": round(time.perf_counter() - start),
        "asked_of_colab": sorted(set(asked.read_text().split())) if asked.exists() else [],
    }
    if done.returncode:
        print(done.stderr[-3000:], file=sys.stderr)
        row["error"] = done.stderr.strip().splitlines()[-1]
    return row


def main() -> None:
    """Run the notebooks that were named, or all; results/colab.json keeps the rows of the others."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("python", help="the interpreter of the environment with Colab's versions")
    parser.add_argument("names", nargs="*", help="notebooks by their names; all where none is given")
    options = parser.parse_args()
    path, rows = FOLDER / "colab.json", {}
    notebooks = {
        p.relative_to(ROOT / "book").with_suffix("").as_posix(): p for p in (ROOT / "book").rglob("*.ipynb")
    }
    if options.names and path.is_file():
        rows = {k: v for k, v in json.loads(path.read_text())["notebooks"].items() if k in notebooks}
    before = versions(options.python)
    with tempfile.TemporaryDirectory() as place:
        wheel = build_wheel(Path(place))
        for name, notebook in sorted(notebooks.items()):
            if not options.names or name in options.names or name.split("/")[-1] in options.names:
                rows[name] = run_alone(options.python, notebook, wheel, Path(place) / name.replace("/", "-"))
                print(name, rows[name], flush=True)
    after = versions(options.python)
    pinned = [pin.split("==")[0].lower().replace("_", "-") for pin in PINS if pin]
    changed = {n: [before.get(n), after.get(n)] for n in pinned if before.get(n) != after.get(n)}
    more = {
        "python": "3.11",
        "torch": after["torch"],
        "pinned": {n: after[n] for n in pinned},
        "changed": changed,
    }
    values = {
        "passed": number(
            sum(bool(r["passed"]) for r in rows.values()), 0, "notebooks that ran alone", unit="notebooks"
        ),
        "notebooks": number(len(notebooks), 0, "notebooks of the book", unit="notebooks"),
        "changed": number(
            len(changed), 0, "versions of Colab's that installing the package changed", unit="packages"
        ),
    }
    write("colab", values, notebooks=dict(sorted(rows.items())), environment=more)


if __name__ == "__main__":
    main()
