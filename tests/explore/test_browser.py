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
from thalweg.explore.network import sine_network
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
def tab():
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 950})
        page.set_default_timeout(60_000)
        yield page
        browser.close()


@pytest.fixture
def page(address, tab):
    tab.goto(f"{address}/?{PRESETS['edge of stability'].address}")
    tab.wait_for_selector("b.phi")
    return tab


PLACE = """([x, y]) => {
    const plane = Bokeh.documents[0].get_model_by_name("plane");
    const view = Bokeh.index.find_one(plane);
    const box = view.canvas_view.el.getBoundingClientRect();
    const at = [view.frame.x_scale.compute(x), view.frame.y_scale.compute(y)];
    return [box.x + at[0], box.y + at[1]];
}"""  # on the screen


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
    x, y = page.evaluate(PLACE, list(before.init))
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


def test_a_network_is_measured_in_the_background(page):
    page.get_by_text("small network").click()
    page.get_by_role("button", name="start").click()
    shown = page.locator(".network-readout b")
    shown.wait_for(timeout=180_000)
    assert int(page.locator(".network-readout .at").text_content()) % 50 == 0
    problem, start = sine_network()
    first = tw.gradient_flow_solution(problem, start)
    assert 0.3 * first.sharpness < float(shown.text_content()) < 1.1 * first.sharpness
    page.get_by_role("button", name="stop").click()
    page.get_by_role("button", name="start").wait_for()


def test_a_page_without_a_server_shows_the_same(tab, tmp_path):
    from thalweg.explore import page as without_server

    (tmp_path / "page.html").write_text(without_server.page(), encoding="utf-8")
    loaded = []
    tab.on("request", lambda request: loaded.append(request.url))
    tab.goto((tmp_path / "page.html").as_uri())
    tab.wait_for_selector("b.phi")
    assert [url for url in loaded if not url.startswith(("file:", "data:", "blob:"))] == []

    def shown():
        text = tab.locator("b.phi").locator("..").text_content()
        threshold = re.search(r"2/η = (\d+\.?\d*)", text)[1]
        return float(tab.locator("b.phi").text_content()), float(threshold)

    network = tw.ScalarNetwork(2)
    first, *_, last = without_server.SHOWN
    start = jnp.array(first.init)
    phi = tw.gradient_flow_solution(network, start).sharpness
    assert shown() == pytest.approx((phi, first.threshold), rel=1e-5)
    tab.locator(".noUi-handle").first.press("ArrowRight")
    tab.wait_for_timeout(500)
    assert shown() == pytest.approx((phi, 2 / (first.step_size + without_server.APART)), rel=1e-5)
    tab.locator("select").select_option("2.4, 2.2")
    tab.wait_for_timeout(500)
    phi = tw.gradient_flow_solution(network, jnp.array(last.init)).sharpness
    assert shown() == pytest.approx((phi, last.threshold), rel=1e-5)
