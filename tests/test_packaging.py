"""The files around the code agree with one another and with the code."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
CONDA_TO_PIP = {"pytorch": "torch"}  # the one package that conda-forge calls by another name
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]


def read_yaml(path: str) -> dict:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def versions(lines: list[str]) -> dict[str, str]:
    """["numpy>=2.4.6", ...] -> {"numpy": ">=2.4.6", ...}, under pip's names; a name given twice is an error.

    What an extra takes from another extra of this package is listed there.
    """
    found: dict[str, str] = {}
    for requirement in map(Requirement, lines):
        name = canonicalize_name(CONDA_TO_PIP.get(requirement.name, requirement.name))
        if name == PROJECT["name"]:
            continue
        assert name not in found, f"{name} is listed twice"
        found[name] = str(requirement.specifier)
    return found


def map_rows(readme: str) -> list[tuple[str, list[str]]]:
    """(concept, paths) for each row of the Markdown table in README's section "## Map"."""
    section = re.search(r"^## Map[ \t]*\n(.*?)(?=^## |\Z)", readme, re.MULTILINE | re.DOTALL)
    assert section, 'README.md has no section "## Map"'
    table = [line.strip() for line in section[1].splitlines() if line.lstrip().startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    return [(row[0], re.findall(r"`([^`]+)`", row[1])) for row in cells[2:]]  # after the header and its rule


# ---- versions ----


def test_conda_and_pip_install_the_same_versions():
    environment = read_yaml("environment.yml")
    listed = environment["dependencies"]
    (from_pip,) = [line["pip"] for line in listed if isinstance(line, dict)]
    assert from_pip.pop() == "-e ."
    conda = versions([line for line in listed if isinstance(line, str) and line != "pip"] + from_pip)
    extras = [line for extra in PROJECT["optional-dependencies"].values() for line in extra]
    pip = versions([*PROJECT["dependencies"], *extras])
    assert conda.pop("python") == PROJECT["requires-python"]
    assert conda == pip
    assert environment["channels"] == ["conda-forge"]


def test_torch_and_torchvision_are_pinned_and_the_core_does_without_torchvision():
    core = versions(PROJECT["dependencies"])
    bench, test = (versions(PROJECT["optional-dependencies"][extra]) for extra in ("bench", "test"))
    assert core["torch"].startswith("==")
    assert bench["torchvision"].startswith("==")
    assert "torchvision" not in core
    unbounded = [name for name, bound in (core | bench | test).items() if not bound]
    assert unbounded == []


# ---- the package ----


def test_every_package_folder_is_installed():
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "growclip_lite").rglob("__init__.py")}
    assert sorted(PYPROJECT["tool"]["setuptools"]["packages"]) == sorted(".".join(f.parts) for f in folders)


def test_console_script_names_a_function():
    module, function = PROJECT["scripts"]["growclip"].split(":")
    assert callable(getattr(import_module(module), function))


def test_import_needs_neither_torchvision_nor_matplotlib():
    code = "import sys, growclip_lite; print(sorted({'torchvision', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


# ---- licence, citation, README ----


def test_license_is_apache_2_in_full():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.split()[:6] == ["Apache", "License", "Version", "2.0,", "January", "2004"]
    assert "END OF TERMS AND CONDITIONS" in text
    assert "Copyright [yyyy] [name of copyright owner]" in text  # verbatim: the template is left as it is
    assert PROJECT["license"] == "Apache-2.0"


def test_citation_names_this_kit_and_the_paper():
    citation = read_yaml("CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert citation["title"].startswith(PROJECT["name"])
    assert citation["authors"] == [{"name": "growclip-lite contributors"}]
    assert citation["message"]
    (paper,) = citation["references"]
    assert paper["title"].startswith("GrowCLIP: ")
    assert paper["year"] == 2023
    assert paper["url"].endswith("/2308.11331")
    assert len(paper["authors"]) == 10
    assert all(set(author) == {"given-names", "family-names"} for author in paper["authors"])


def test_readme_map_names_only_what_exists():
    rows = map_rows((ROOT / "README.md").read_text(encoding="utf-8"))
    assert rows, "the table under ## Map has no rows"
    assert [concept for concept, paths in rows if not paths] == []
    assert [path for _, paths in rows for path in paths if not (ROOT / path).exists()] == []


def test_map_rows_reads_the_second_column_of_that_section_only():
    readme = """# kit
| a | `elsewhere.py` |
## Map
Where things live.

| idea | file | why |
|---|---|---|
| one | `a.py` | `not_this.py` |
| two | `b.py`, `c/` | |
| three | none | |

## Next
| x | `later.py` |
"""
    assert map_rows(readme) == [("one", ["a.py"]), ("two", ["b.py", "c/"]), ("three", [])]
    with pytest.raises(AssertionError, match="no section"):
        map_rows("# kit\n### Map\n")


# ---- make and continuous integration ----


def dry_run(target: str, folder: Path) -> list[str]:
    """What `make target` would do in an empty clone, apart from stamps and the check of Python's version."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MAKE") and k not in ("MFLAGS", "PYTHON")}
    done = subprocess.run(["make", "-n", target], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if not line.startswith(("touch ", "python3 -c "))]


def test_make_demo_from_an_empty_clone(tmp_path):
    assert dry_run("demo", tmp_path) == [
        "python3 -m venv .venv",
        ".venv/bin/pip install -e .",
        ".venv/bin/growclip grow --data scenes --profile laptop --out runs/demo --resume",
    ]


def test_make_test_from_an_empty_clone(tmp_path):
    assert dry_run("test", tmp_path) == [
        "python3 -m venv .venv",
        ".venv/bin/pip install -e '.[test]'",
        ".venv/bin/ruff format --check",
        ".venv/bin/ruff check",
        ".venv/bin/python -m pytest --numprocesses=2 --dist=loadfile",
    ]


def test_make_bench_from_an_empty_clone(tmp_path):
    assert dry_run("bench", tmp_path) == [
        "python3 -m venv .venv",
        ".venv/bin/pip install -e '.[bench]'",
        ".venv/bin/growclip bench",
    ]


def test_continuous_integration_runs_make_test_and_nothing_else():
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert script.splitlines()[-1] == "make test"
    assert "set -euo pipefail" in script
    assert subprocess.run(["bash", "-n", ROOT / ".ci/run"]).returncode == 0
    steps = read_yaml(".github/workflows/test.yml")["jobs"]["test"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == ["bash .ci/run"]
    (python,) = [step["with"]["python-version"] for step in steps if "python-version" in step.get("with", {})]
    assert PROJECT["requires-python"] == f">={python}"


def test_figures_choose_no_backend_of_matplotlib_for_the_reader():
    code = "import sys, growclip_lite.card, growclip_lite.studies.figures; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
