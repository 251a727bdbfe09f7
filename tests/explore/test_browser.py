"""The explorer in a browser: chromium drives it, and the package says what it has to show."""

import importlib.util
import re
import shutil
import subprocess
import sys
from urllib.parse import parse_qsl, urlsplit

import jax.numpy as jnp
import pytest

import thalweg as tw
from thalweg.explore.setting import PRESETS, Setting

CHROMIUM = shutil.which("chromium")
needs = [name for name in ("bokeh", "playwright") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(needs) or CHROMIUM is None, reason="needs bokeh, playwright, chromium"),
]


@pytest.fixture
def address():
    command = [sys.executable, "-m", "thalweg.cli", "explore", "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        line = next(line for line in server.stderr if "http://" in line)
        yield re.search(r"http://localhost:\d+", line).group()
        server.kill()


@pytest.fixture
def page(address):
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 950})
        page.set_default_timeout(60_000)
        page.goto(f"{address}/?{PRESETS['edge of stability'].address}")
        page.wait_for_selector("b.phi")
        yield page
        browser.close()


def setting_of(page):
    return Setting.at_address(dict(parse_qsl(urlsplit(page.url).query)))


def check_phi(page, setting):
    page.wait_for_function(f"location.search.includes('{setting.address}')")
    page.wait_for_timeout(300)
    shown = float(page.locator("b.phi").text_content())
    flow = tw.gradient_flow_solution(tw.ScalarNetwork(len(setting.init)), jnp.array(setting.init))
    assert shown == pytest.approx(flow.sharpness, rel=1e-7)


def test_a_start_is_dragged_and_a_step_size_moved(page):
    before = PRESETS["edge of stability"]
    page.wait_for_timeout(1500)
    frame = page.locator(".bk-Figure").first.bounding_box()
    # Where (1.5, 0.65) lies within the figure, as this preset is drawn.
    x, y = frame["x"] + 454 - 5, frame["y"] + 485 - 165
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 30, y - 40, steps=8)
    page.mouse.up()
    page.wait_for_function("location.search.includes('init=') && !location.search.includes('1.5,')")
    page.wait_for_timeout(1000)
    after = setting_of(page)
    assert after.init[0] > before.init[0]
    assert after.init[1] > before.init[1]
    assert after.step_size == before.step_size
    check_phi(page, after)
    page.locator(".noUi-handle").first.press("ArrowRight")
    page.wait_for_function("!location.search.includes('step_size=0.85&')")
    page.wait_for_timeout(500)
    moved = setting_of(page)
    assert moved.init == after.init
    assert moved.step_size > before.step_size


def test_presets_show_their_settings(page):
    for name in ("stable", "φ rises", "depth five"):
        page.locator("select").first.select_option(name)
        check_phi(page, PRESETS[name])
