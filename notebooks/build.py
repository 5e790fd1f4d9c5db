"""Makes the notebooks from `source/`: the student's version and the solutions, both executed.

A source is a Python file in jupytext's percent format. Its first code cell is tagged `parameters`,
its second `imports`. Cells tagged `exercise` hold the answer between `# SOLUTION` and `# END`; the
student's version has `...` there. They use nothing but the two first cells. Markdown tagged
`exercise-text` goes into both versions, `solution-text` into the solutions only. `{measured}` on an
opening card is what the notebook took when it was last executed with `--measure`, on an idle machine.

    python notebooks/build.py [--profile laptop] [--seed 0] [--measure] [NAME...]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import jupytext
import nbformat
import pandas as pd
import papermill
from nbformat import NotebookNode
from tqdm.auto import tqdm

from growclip_lite.table import RESULTS, provenance, rows_of, write_table

HERE = Path(__file__).resolve().parent
SOLUTION = re.compile(r"^( *)# SOLUTION\n(.*?)^ *# END\n?", re.MULTILINE | re.DOTALL)
CELL_SECONDS = 900
MEASURED = RESULTS / "notebooks.csv"
CALLS = ("predict", "reveal")  # of `predictions`
WIDGET = "application/vnd.jupyter.widget-view+json"  # nothing without its live kernel; the picture beside it stays


def names() -> list[str]:
    return sorted(path.stem for path in (HERE / "source").glob("[0-9][0-9]_*.py"))


def read_source(name: str) -> NotebookNode:
    notebook = jupytext.read(HERE / "source" / f"{name}.py")
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook.cells[0].source = notebook.cells[0].source.replace("{measured}", measured(name))
    for number, cell in enumerate(notebook.cells):
        cell.id = f"{name[:2]}-{number:03}"
        cell.metadata = {"tags": cell.metadata.get("tags", [])}
    return notebook


def measured(name: str) -> str:
    """Seconds and memory of the student's version, in words."""
    rows = rows_of(MEASURED, {"notebook": name})
    if rows.empty:
        return "not yet timed"
    took = rows.iloc[0]
    return f"{took['seconds']:.0f} s to run on {took['cores']} cores, {took['peak_mb'] / 1000:.1f} GB of memory"


def tagged(cell: NotebookNode, *tags: str) -> bool:
    return bool(set(tags) & set(cell.metadata["tags"]))


def unanswered(source: str) -> str:
    """An exercise without its solution."""

    def blank(found: re.Match) -> str:
        value = re.match(r" *(\w+) = ", found[2])
        if value and not found[1]:
            return f"{value[1]} = None  # your answer here\n"
        return f"{found[1]}...  # your code here\n"

    return SOLUTION.sub(blank, source)


def answered(source: str) -> str:
    return SOLUTION.sub(lambda found: found[2], source)


def student(name: str) -> NotebookNode:
    notebook = read_source(name)
    notebook.cells = [cell for cell in notebook.cells if not tagged(cell, "solution-text")]
    for cell in notebook.cells:
        if tagged(cell, "exercise"):
            cell.source = unanswered(cell.source)
    return notebook


def solutions(name: str) -> NotebookNode:
    notebook = read_source(name)
    title = notebook.cells[0].source.splitlines()[0].lstrip("# ")
    head = nbformat.v4.new_markdown_cell(
        f"# Solutions: {title}\n\nThe exercises of [the notebook](../{name}.ipynb), with one answer each.",
        id=f"{name[:2]}-solutions", metadata={"tags": []},
    )  # fmt: skip
    wanted = ("parameters", "imports", "exercise", "exercise-text", "solution-text")
    notebook.cells = [head, *(cell for cell in notebook.cells if tagged(cell, *wanted))]
    for cell in notebook.cells:
        cell.source = answered(cell.source)
    return notebook


def execute(notebook: NotebookNode, parameters: dict[str, object]) -> NotebookNode:
    """The executed notebook; its output folder is a fresh one, so that nothing an earlier run has left is read.
    Raises papermill's error where a cell fails or takes too long."""
    with tempfile.TemporaryDirectory() as scratch:
        before, after = Path(scratch, "before.ipynb"), Path(scratch, "after.ipynb")
        parameters = parameters | {"out": str(Path(scratch, "out"))}
        nbformat.write(notebook, before)
        papermill.execute_notebook(
            before, after, parameters, cwd=HERE, progress_bar=False, execution_timeout=CELL_SECONDS, log_output=False
        )
        return clean(nbformat.read(after, as_version=4))


def execute_timed(notebook: NotebookNode, parameters: dict[str, object]) -> tuple[NotebookNode, dict[str, float]]:
    """The executed notebook, its seconds, and the peak memory of its kernel in MB.
    Wants a process of its own: the system tells the largest of all child processes so far."""
    begin = time.monotonic()
    done = execute(notebook, parameters)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return done, {"seconds": time.monotonic() - begin, "peak_mb": peak}


def bar(output: NotebookNode) -> bool:
    """Whether an output is a progress bar, or anything else on the error stream."""
    data = output.get("data", {})
    return output.get("name") == "stderr" or (WIDGET in data and "image/png" not in data)


def joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """With printed text in one piece, in however many messages the kernel sent it."""
    whole: list[NotebookNode] = []
    for output in outputs:
        if whole and output.get("name") == whole[-1].get("name") == "stdout":
            whole[-1].text += output.text
        else:
            whole.append(output)
    return whole


def clean(notebook: NotebookNode) -> NotebookNode:
    """Without what differs from run to run: times, the runner's notes, progress bars, widgets without a kernel, the
    pieces that text came in. From a prediction to its answer, outputs are folded in JupyterLab until the reader runs
    the cell."""
    asked: set[str] = set()
    notebook.cells = [cell for cell in notebook.cells if not tagged(cell, "injected-parameters")]
    notebook.metadata = {name: notebook.metadata[name] for name in ("kernelspec", "language_info")}
    for cell in notebook.cells:
        cell.metadata = {"tags": cell.metadata["tags"]}
        if cell.cell_type == "code":
            now, answers = (set(re.findall(rf'predictions\.{call}\(\s*"([^"]+)"', cell.source)) for call in CALLS)
            if (asked or answers) and not now:
                cell.metadata["jupyter"] = {"outputs_hidden": True}
            asked = asked - answers | now
            cell.outputs = joined([output for output in cell.outputs if not bar(output)])
            for output in cell.outputs:
                output.get("data", {}).pop(WIDGET, None)
    return notebook


def build(name: str, parameters: dict[str, object], measure: bool) -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        done, took = process.submit(execute_timed, student(name), parameters).result()
    if measure:
        note(name, took, parameters)
        done.cells[0].source = student(name).cells[0].source
    nbformat.write(done, HERE / f"{name}.ipynb")
    nbformat.write(execute(solutions(name), parameters), HERE / "solutions" / f"{name}.ipynb")


def note(name: str, took: dict[str, float], parameters: dict[str, object]) -> None:
    """Puts the notebook's row in place of an earlier one."""
    about = provenance() | {"cores": os.cpu_count()}
    rows = pd.concat([rows_of(MEASURED, {}), pd.DataFrame([{"notebook": name, **took, **parameters, **about}])])
    write_table(MEASURED, rows.drop_duplicates("notebook", keep="last").sort_values("notebook"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="notebooks to make, such as 02; default: all")
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--measure", action="store_true", help="on an idle machine: note seconds and memory on the cards"
    )
    given = parser.parse_args()
    if given.measure and given.profile != "laptop":
        parser.error("--measure is for profile laptop")
    chosen = [name for name in names() if not given.names or any(name.startswith(start) for start in given.names)]
    if not chosen:
        sys.exit(f"No notebook is called {', '.join(given.names)}; there are {', '.join(names())}.")
    for name in tqdm(chosen, unit="notebook"):
        build(name, {"profile": given.profile, "seed": given.seed}, given.measure)


if __name__ == "__main__":
    main()
