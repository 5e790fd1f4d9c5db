"""The notebooks: made from their sources, executed without a complaint, exercises that tell right from wrong."""

import concurrent.futures
import importlib
import importlib.util
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from growclip_lite.course.exercises import NOT_ATTEMPTED, RIGHT, verdict

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}  # for what runs two side by side


def load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build = load(NOTEBOOKS / "build.py")
NAMES = build.names()


def code_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def committed(name: str, folder: Path = NOTEBOOKS):
    return nbformat.read(folder / f"{name}.ipynb", as_version=4)


# ---- the sources ----


def test_there_is_one_notebook_for_every_number():
    assert [name[:2] for name in NAMES] == [f"{number:02}" for number in range(16)]


def test_readme_has_the_questions_and_minutes_of_the_cards():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in NAMES:
        card = " ".join(build.read_source(name).cells[0].source.split())
        question, minutes = re.search(r"^# \d\d · (.*?) \*\*You will", card)[1], re.search(r"Takes\*\* (\d+)", card)[1]
        assert f"| [{name[:2]}](notebooks/{name}.ipynb) | {question} | {minutes} |" in readme


@pytest.mark.parametrize("name", NAMES)
def test_a_source_keeps_the_conventions(name):
    cells = build.read_source(name).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert code[0].metadata["tags"] == ["parameters"] and code[1].metadata["tags"] == ["imports"]
    values = {}
    exec(code[0].source, values)
    assert {"profile", "seed", "out"} <= values.keys()
    lengths = [len(build.unanswered(cell.source).splitlines()) for cell in code]
    assert statistics.median(lengths) <= 7
    assert max(lengths) <= 30 and sum(length > 20 for length in lengths) <= len(lengths) / 10
    words = [len(cell.source.split()) for cell in cells if cell.cell_type == "markdown"]
    assert words[0] <= 125 and sum(words) <= 2_000
    took = r"\*\*Takes\*\* \d+ minutes to work through, \d+ s to run on \d+ cores, \d\.\d GB of memory"
    assert re.search(took, " ".join(cells[0].source.split()))
    text = "\n".join(cell.source for cell in cells)
    assert text.count("predictions.reveal(") >= 3 or name.startswith("00")
    done, folded = code_cells(committed(name)), set()
    for number, cell in enumerate(done):
        for told in re.findall(r'predictions\.reveal\(\s*"([^"]+)"', cell.source):
            (asked,) = (i for i, other in enumerate(done) if f'predictions.predict("{told}"' in other.source)
            between = [other for other in done[asked + 1 : number + 1] if "predictions.predict(" not in other.source]
            folded |= {other.id for other in between}
    assert folded == {cell.id for cell in done if cell.metadata.get("jupyter") == {"outputs_hidden": True}}
    assert sum("exercise" in cell.metadata["tags"] for cell in cells) >= 2
    assert "assert " in text and "<details>" in text and "show(" in text


def test_printed_text_is_kept_in_one_piece():
    pieces = [nbformat.v4.new_output("stream", name="stdout", text=text) for text in ("one ", "line\n", "end")]
    pieces.insert(2, nbformat.v4.new_output("display_data", {"text/plain": "a picture"}))
    assert [output.get("text") for output in build.joined(pieces)] == ["one line\n", None, "end"]


# ---- the exercises ----


def exercises(name: str, version) -> dict[str, str]:
    """What every check of a notebook says of the answers in its source, made by `version` of the source."""
    cells = code_cells(build.read_source(name))
    said = {}
    for cell in cells:
        if "exercise" not in cell.metadata["tags"]:
            continue
        space = {}
        for part in (*cells[:2], cell):
            exec(version(part.source), space)
        for function, answer in re.findall(r"lesson_\d\d\.(check_\w+)\((\w+)\)", cell.source):
            said[function] = verdict(getattr(space[f"lesson_{name[:2]}"], function).__wrapped__, space[answer])
    return said


@pytest.mark.parametrize("name", NAMES)
def test_solutions_are_right_and_blanks_not_attempted(name):
    right, blank = exercises(name, build.answered), exercises(name, build.unanswered)
    assert len(right) >= 2 and set(right.values()) == {RIGHT}, right
    assert set(blank.values()) == {NOT_ATTEMPTED}, blank
    lesson = importlib.import_module(f"growclip_lite.course.lesson_{name[:2]}")
    assert set(right) == {check for check in vars(lesson) if check.startswith("check_")}


@pytest.mark.parametrize("name", NAMES)
def test_wrong_answers_are_told_so(name):
    lesson = importlib.import_module(f"growclip_lite.course.lesson_{name[:2]}")
    wrong = load(ROOT / f"tests/wrong_answers/lesson_{name[:2]}.py").WRONG
    assert set(wrong) == {check for check in vars(lesson) if check.startswith("check_")}
    for check, answers in wrong.items():
        assert len(answers) >= 2
        for number, answer in enumerate(answers):
            said = verdict(getattr(lesson, check).__wrapped__, answer)
            assert said.startswith("not yet: "), f"{check}, wrong answer {number}: {said}"


# ---- the committed notebooks ----


@pytest.mark.parametrize("folder, version", [(NOTEBOOKS, build.student), (NOTEBOOKS / "solutions", build.solutions)])
@pytest.mark.parametrize("name", NAMES)
def test_a_committed_notebook_is_its_source_executed(name, folder, version):
    path, notebook = folder / f"{name}.ipynb", committed(name, folder)
    made = version(name)
    assert [(cell.id, cell.source) for cell in notebook.cells] == [(cell.id, cell.source) for cell in made.cells]
    assert all(cell.execution_count for cell in code_cells(notebook) if cell.source)
    assert path.stat().st_size < 1_500_000
    check_outputs(notebook)


def check_outputs(notebook) -> None:
    """No warning, no path of this machine, no progress bar; every picture has its text alternative."""
    for cell in code_cells(notebook):
        for output in cell.outputs:
            assert output.output_type != "error" and output.get("name") != "stderr"
            data = output.get("data", {})
            text = output.get("text", "") + data.get("text/plain", "") + data.get("text/html", "")
            assert not re.search(r"Warning|Traceback|it/s\]|(?<![\w.])/(home|root|tmp|work|usr)/", text), text
            if "image/png" in data:
                assert output.metadata["image/png"]["alt"] == data["text/plain"] and len(data["text/plain"]) > 20


# ---- executed anew ----


def run_papermill(before: Path, after: Path, **parameters: str) -> subprocess.CompletedProcess:
    """The notebook in profile smoke, as anybody would run it."""
    given = [word for name, value in (parameters | {"profile": "smoke"}).items() for word in ("-p", name, value)]
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", "--execution-timeout", "120", *given]
    return subprocess.run([*command, str(before), str(after)], capture_output=True, text=True, cwd=ROOT, env=ONE_THREAD)


@pytest.fixture(scope="module")
def executed(tmp_path_factory) -> dict:
    """Every notebook executed by papermill, two side by side: the runs and the folder with what they wrote."""
    folder = tmp_path_factory.mktemp("executed")

    def run(name: str) -> subprocess.CompletedProcess:
        return run_papermill(NOTEBOOKS / f"{name}.ipynb", folder / f"{name}.ipynb", out=str(folder / "out"))

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return {"folder": folder} | dict(zip(NAMES, pool.map(run, NAMES), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_in_profile_smoke(name, executed):
    assert executed[name].returncode == 0, executed[name].stderr[-2000:]
    notebook = build.clean(committed(name, executed["folder"]))
    check_outputs(notebook)
    assert all(cell.execution_count for cell in code_cells(notebook) if cell.source)


def test_a_notebook_that_fails_is_an_error(tmp_path):
    broken = build.student(NAMES[0])
    broken.cells = [*code_cells(broken)[:1], nbformat.v4.new_code_cell("assert 1 == 2")]
    nbformat.write(broken, tmp_path / "broken.ipynb")
    run = run_papermill(tmp_path / "broken.ipynb", tmp_path / "after.ipynb")
    assert run.returncode != 0 and "AssertionError" in run.stderr


def test_tagged_cells_say_what_is_committed(tmp_path):
    """nbval, strict, on the tagged cells: what they print does not depend on the profile, so smoke will do.
    What comes after a notebook's last tagged cell is left out: papermill runs all cells above."""
    tags = 0
    for name in NAMES:
        notebook = committed(name)
        tagged = [i for i, cell in enumerate(notebook.cells) if "nbval-check-output" in cell.metadata.get("tags", [])]
        if tagged:
            notebook.cells = notebook.cells[: tagged[-1] + 1]
            cell = code_cells(notebook)[0]
            cell.source = cell.source.replace('"laptop"', '"smoke"').replace('"runs/', f'"{tmp_path}/')
            nbformat.write(notebook, tmp_path / f"{name}.ipynb")
            tags += len(tagged)
    assert tags >= 16
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", str(tmp_path), "-p", "nbval",
               "--nbval-lax", "--nbval-cell-timeout", "120", "-W", "ignore"]  # fmt: skip
    halves = [sorted(tmp_path.glob("*.ipynb"))[start::2] for start in (0, 1)]
    runs = [
        subprocess.Popen([*command, *map(str, half)], stdout=subprocess.PIPE, text=True, env=ONE_THREAD)
        for half in halves
    ]
    for run in runs:
        said, _ = run.communicate()
        assert run.returncode == 0, said


def test_nbval_notices_another_number(tmp_path):
    notebook = build.student(NAMES[0])
    first = nbformat.v4.new_code_cell("print(2)", metadata={"tags": ["nbval-check-output"]})
    first.outputs = [nbformat.v4.new_output("stream", name="stdout", text="1\n")]
    notebook.cells = [first]
    nbformat.write(notebook, tmp_path / "changed.ipynb")
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", str(tmp_path), "--nbval-lax"]
    run = subprocess.run([*command, str(tmp_path / "changed.ipynb")], capture_output=True, text=True)
    assert run.returncode == 1 and "1 failed" in run.stdout, run.stdout


# ---- widgets ----


def test_a_widget_draws_at_both_ends_of_its_slider(monkeypatch):
    from growclip_lite import widgets
    from growclip_lite.course.display import subplots

    drawn, shown = [], []

    def draw(size: int):
        drawn.append(size)
        figure, axes = subplots()
        axes.plot([0, size])
        return figure

    controls, view = widgets.controlled(draw, {"size": 2}, {"size": [1, 2, 3]})
    pictures = []
    for value in (1, 3, 1):
        controls["size"].value = value
        pictures.append(view.value)
    assert drawn == [2, 1, 3] and pictures[0] == pictures[2] != pictures[1]
    monkeypatch.setattr(widgets, "display", lambda data, **about: shown.append(data))
    widgets.explore(draw, "a line", size=[1, 2, 3])
    assert {"image/png", "text/plain", "application/vnd.jupyter.widget-view+json"} <= shown[0].keys()
