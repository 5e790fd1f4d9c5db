"""Makes the notebooks from `source/`: the student's version and the solutions, both executed.

A source is a Python file in jupytext's percent format. Its first code cell is tagged `parameters`,
its second `imports`. Cells tagged `exercise` hold the answer between `# SOLUTION` and `# END`; the
student's version has `...` there. They use nothing but the two first cells. Markdown tagged
`exercise-text` goes into both versions, `solution-text` into the solutions only.

    python notebooks/build.py [--profile laptop] [--seed 0] [NAME...]
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

import jupytext
import nbformat
import papermill
from nbformat import NotebookNode
from tqdm.auto import tqdm

HERE = Path(__file__).resolve().parent
SOLUTION = re.compile(r"^( *)# SOLUTION\n(.*?)^ *# END\n?", re.MULTILINE | re.DOTALL)
CELL_SECONDS = 900
WIDGET = "application/vnd.jupyter.widget-view+json"  # nothing without its live kernel; the picture beside it stays


def names() -> list[str]:
    return sorted(path.stem for path in (HERE / "source").glob("[0-9][0-9]_*.py"))


def read_source(name: str) -> NotebookNode:
    notebook = jupytext.read(HERE / "source" / f"{name}.py")
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    for number, cell in enumerate(notebook.cells):
        cell.id = f"{name[:2]}-{number:03}"
        cell.metadata = {"tags": cell.metadata.get("tags", [])}
    return notebook


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
    """The executed notebook. Raises papermill's error where a cell fails or takes too long."""
    with tempfile.TemporaryDirectory() as scratch:
        before, after = Path(scratch, "before.ipynb"), Path(scratch, "after.ipynb")
        nbformat.write(notebook, before)
        papermill.execute_notebook(
            before, after, parameters, cwd=HERE, progress_bar=False, execution_timeout=CELL_SECONDS, log_output=False
        )
        return clean(nbformat.read(after, as_version=4))


def bar(output: NotebookNode) -> bool:
    """Whether an output is a progress bar, or anything else on the error stream."""
    data = output.get("data", {})
    return output.get("name") == "stderr" or (WIDGET in data and "image/png" not in data)


def clean(notebook: NotebookNode) -> NotebookNode:
    """Without what differs from run to run: times, the runner's notes, progress bars, widgets without a kernel."""
    notebook.cells = [cell for cell in notebook.cells if not tagged(cell, "injected-parameters")]
    notebook.metadata = {name: notebook.metadata[name] for name in ("kernelspec", "language_info")}
    for cell in notebook.cells:
        cell.metadata = {"tags": cell.metadata["tags"]}
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not bar(output)]
            for output in cell.outputs:
                output.get("data", {}).pop(WIDGET, None)
    return notebook


def build(name: str, parameters: dict[str, object]) -> None:
    for notebook, folder in ((student(name), HERE), (solutions(name), HERE / "solutions")):
        nbformat.write(execute(notebook, parameters), folder / f"{name}.ipynb")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="notebooks to make, such as 02; default: all")
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    chosen = [name for name in names() if not given.names or any(name.startswith(start) for start in given.names)]
    if not chosen:
        sys.exit(f"No notebook is called {', '.join(given.names)}; there are {', '.join(names())}.")
    for name in tqdm(chosen, unit="notebook"):
        build(name, {"profile": given.profile, "seed": given.seed})


if __name__ == "__main__":
    main()
