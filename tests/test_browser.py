"""Two notebooks in JupyterLab, in a real browser: run all cells, move a slider, see the figure change."""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
LONGEST = 180_000  # milliseconds


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A running JupyterLab on copies of the notebooks in profile smoke; yields its address, a format of the name.

    Every notebook gets a workspace of its own: one that is open behind another would be found first.
    """
    folder = tmp_path_factory.mktemp("lab")
    for name in ("00_start_here", "09_momentum"):
        notebook = nbformat.read(ROOT / f"notebooks/{name}.ipynb", as_version=4)
        parameters = next(cell for cell in notebook.cells if cell.cell_type == "code")
        parameters.source = parameters.source.replace('"laptop"', '"smoke"').replace('"runs/', f'"{folder}/runs/')
        nbformat.write(notebook, folder / f"{name}.ipynb")
    token = secrets.token_hex(8)
    settings = {"JUPYTER_CONFIG_DIR": f"{folder}/config",
                "JUPYTER_RUNTIME_DIR": f"{folder}/runtime",
                "JUPYTERLAB_WORKSPACES_DIR": f"{folder}/workspaces"}  # fmt: skip
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--port=0",
               f"--IdentityProvider.token={token}", "--LabApp.news_url=", "--LabApp.check_for_updates_class="
               "jupyterlab.NeverCheckForUpdate", f"--ServerApp.root_dir={folder}"]  # fmt: skip
    server = subprocess.Popen(
        command, env=os.environ | settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder
    )
    try:
        yield address_of(server, folder / "runtime") + f"lab/workspaces/{{0}}/tree/{{0}}.ipynb?token={token}"
    finally:
        server.terminate()
        server.wait()


def address_of(server: subprocess.Popen, runtime: Path) -> str:
    """The address that the server has chosen; it writes it down once it listens."""
    while not (found := list(runtime.glob("jpserver-*.json"))):
        assert server.poll() is None, "JupyterLab did not start"
        time.sleep(0.2)
    time.sleep(0.2)  # for the file to be complete
    return json.loads(found[0].read_text())["url"]


@pytest.fixture(scope="module")
def page():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser.new_page(viewport={"width": 1400, "height": 1000})
        browser.close()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["00_start_here", "09_momentum"])
def test_all_cells_run_and_a_slider_changes_its_figure(name, lab, page):
    page.goto(lab.format(name))
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=LONGEST)
    page.get_by_text("| Idle").wait_for(timeout=LONGEST)  # the kernel, in the status bar
    assert name.startswith("00") or page.locator(".jp-OutputPlaceholder").count()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name=re.compile("^Run All Cells")).click()
    waiting = page.get_by_text("[*]:", exact=True)
    waiting.first.wait_for(timeout=LONGEST, state="attached")
    page.wait_for_function("() => !document.body.innerText.includes('[*]:')", timeout=LONGEST)
    assert not page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']").count()
    assert not page.locator(".jp-OutputPlaceholder").count()  # what was folded shows once it is run
    box = page.locator(".jp-OutputArea-output .widget-vbox").filter(has=page.locator(".widget-slider")).first
    before = box.locator("img").get_attribute("src")
    # JupyterLab does not lay out what is far from sight, so that the page has to be told to go there.
    box.locator(".noUi-handle").evaluate("handle => { handle.scrollIntoView({block: 'center'}); handle.focus() }")
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("([img, src]) => img.src !== src", arg=[box.locator("img").element_handle(), before])
