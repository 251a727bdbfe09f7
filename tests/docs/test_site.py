"""The site: notebooks run, names have their place, pages build strictly, links lead somewhere."""

import importlib.util
import os
import re
import runpy
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import jax
import matplotlib as mpl
import pytest

import thalweg as tw

ROOT = Path(__file__).parents[2]
NOTEBOOKS = [*sorted((ROOT / "docs" / "tutorials").glob("*.py")), ROOT / "docs" / "gallery.py"]
MODULES = {"data", "descent", "figures", "flow", "models", "problems", "results"}
needs_mkdocs = pytest.mark.skipif(
    importlib.util.find_spec("mkdocs") is None, reason="needs the extra docs"
)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with (
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
        mpl.rc_context({"backend": "agg"}),
    ):
        runpy.run_path(str(path))
    assert "nan" not in capsys.readouterr().out


def blocks_of(page):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "printed"),
    [("start.md", "decreasing"), ("verdict.md", "not decreasing"), ("faq.md", "all of it")],
)
def test_python_blocks_of_a_page_run(page, printed, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for block in blocks_of(page):
            exec(compile(block, page, "exec"), names)
    assert printed in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(set(tw.__all__) - MODULES - {"__version__"}))
def test_every_public_name_has_its_docstring_on_the_site(name):
    pages = (page.read_text(encoding="utf-8") for page in (ROOT / "docs/reference").glob("*.md"))
    assert re.search(rf"^::: thalweg(\.\w+)*\.{name}$", "".join(pages), re.MULTILINE)


class Page(HTMLParser):
    """The links of a page, what it loads, and its anchors."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loads, self.anchors = set(), set(), {""}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.anchors |= {found[name] for name in ("id", "name") if found.get(name)}
        if tag == "a" and found.get("href"):
            self.links.add(found["href"])
        elif tag in ("script", "img", "iframe") and found.get("src"):
            self.loads.add(found["src"])
        elif tag == "link" and found.get("rel") not in ("canonical", "next", "prev"):
            self.loads.add(found["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(
        [*command, "--config-file", str(ROOT / "mkdocs.yml")],
        env={**os.environ, "THALWEG_RUN_NOTEBOOKS": "false", "NO_MKDOCS_2_WARNING": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {path: Page(path.read_text(encoding="utf-8")) for path in folder.rglob("*.html")}


@needs_mkdocs
@pytest.mark.slow
def test_every_link_leads_somewhere_and_nothing_is_loaded_from_elsewhere(site):
    assert len(site) > 20
    broken = []
    for path, page in site.items():
        if path.name == "404.html":  # served from anywhere, so that its links are absolute
            continue
        for link in sorted(page.links | page.loads):
            parts = urlsplit(link)
            if parts.scheme in ("http", "https", "mailto") and link not in page.loads:
                continue
            to = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            found = not parts.scheme and to.is_file()
            if not (found or parts.scheme == "data") or (
                found and to in site and unquote(parts.fragment) not in site[to].anchors
            ):
                broken.append(f"{path.name}: {link}")
    assert not broken


@needs_mkdocs
@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_are_searched_without_a_server_and_fit_their_width(site, width):
    sync_api = pytest.importorskip("playwright.sync_api")
    if (chromium := shutil.which("chromium")) is None:
        pytest.skip("needs chromium")
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        for path in site:
            if path.parent.name != "theme" and path.name in ("index.html", "pytorch.html"):
                page.goto(path.as_uri())
                assert page.evaluate("document.documentElement.scrollWidth") == width
        page.keyboard.press("f")
        page.keyboard.type("certificates")
        page.wait_for_selector(".md-search-result__item a")
        assert "certificates" in page.inner_text(".md-search-result__item a").lower()
        browser.close()
    assert not errors


@needs_mkdocs
@pytest.mark.slow
def test_mathematics_is_typeset(site):
    theory = next(path for path in site if path.name == "scalar-networks.html")
    text = theory.read_text(encoding="utf-8")
    assert text.count("<math ") > 200
    assert "\\varphi" not in re.sub(r"<pre.*?</pre>", "", text, flags=re.DOTALL)
    tutorial = next(path for path in site if path.name == "phenomenon.html")
    assert tutorial.read_text(encoding="utf-8").count("<math ") > 5
    assert (theory.parent / "theme" / "STIXTwoMath-Regular.ttf").is_file()
