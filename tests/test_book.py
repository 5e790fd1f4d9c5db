"""The static site of the course: every notebook has its page, nothing is fetched, a broken link is an error."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"


def build(source: Path, out: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "-q", "-b", "html"]
    return subprocess.run([*command, str(source), str(out)], capture_output=True, text=True)


def test_every_notebook_has_a_page_that_needs_no_network(tmp_path):
    done = build(NOTEBOOKS, tmp_path)
    assert done.returncode == 0, done.stderr
    for notebook in NOTEBOOKS.glob("[0-9]*.ipynb"):
        page = (tmp_path / f"{notebook.stem}.html").read_text(encoding="utf-8")
        assert not re.search(r'<(script|link|img)[^>]*(src|href)="https?:', page)
        assert all("alt=" in image for image in re.findall(r"<img[^>]*_images[^>]*>", page))


def test_a_broken_link_is_an_error(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(NOTEBOOKS / "conf.py", source)
    (source / "index.md").write_text("# A page\n\n[nowhere](16_not_there.ipynb)\n")
    done = build(source, tmp_path / "out")
    assert done.returncode != 0 and "16_not_there" in done.stderr
