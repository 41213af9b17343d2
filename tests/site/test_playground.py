"""The playground computes what labml_ws computes, shows what it computed, and says of it only what is true."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from playwright.sync_api import Browser, Page, expect
from torch import Tensor, nn

from labml_ws import EstimatedBatchNorm, weight_standardization

pytestmark = pytest.mark.browser

RAW, STANDARDIZED = 0, 1
OWN, ESTIMATED, AROUND_OWN, ALL = range(4)
PATIENCE = 60_000  # milliseconds, on a machine that does other things too
FRAMES = (
    "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"
)


@pytest.fixture(scope="module")
def tab(browser: Browser, address: str) -> Iterator[Page]:
    context = browser.new_context(
        viewport={"width": 1440, "height": 900}, reduced_motion="reduce"
    )
    page = context.new_page()
    page.goto(f"{address}/playground.html", wait_until="load")
    yield page
    context.close()


def ask(tab: Page, function: str, *arguments: Any) -> Any:
    """A function of the page, given arrays and numbers; its arrays come back as lists."""
    call = f"""(given) => JSON.parse(JSON.stringify(
        labmlWS.{function}(...given.map(x => Array.isArray(x) ? Float64Array.from(x) : x)),
        (key, value) => ArrayBuffer.isView(value) ? [...value] : value))"""
    return tab.evaluate(call, list(arguments))


def show(tab: Page, setting: str) -> None:
    """Set the controls by the address, and wait until it is drawn. (Sentences and the address itself come later.)"""
    tab.evaluate(
        """setting => new Promise(done => {
            history.replaceState(null, '', '#');
            addEventListener('hashchange', () => done(true), {once: true});
            location.hash = setting; })""",
        setting,
    )
    tab.evaluate(FRAMES)


def cells(tab: Page, numbers: str) -> dict[str, list[str]]:
    rows = tab.locator(f'[data-part="{numbers}"] tbody tr').all()
    return {row.locator("th").inner_text(): row.locator("td").all_inner_texts() for row in rows}


def number(shown: str) -> float:
    digits, _, power = shown.replace("−", "-").partition("·10")
    return float(digits) * 10 ** int(power or 0)


def close(found: Any, wanted: Tensor | float, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(
        torch.as_tensor(found, dtype=torch.float64),
        torch.as_tensor(wanted, dtype=torch.float64),
        rtol=tolerance,
        atol=tolerance,
    )


@pytest.mark.parametrize("fan", [3, 27, 576])
@pytest.mark.parametrize("eps", [0.0, 1e-5, 0.1])
def test_its_standardized_weight_is_that_of_the_library(
    tab: Page, fan: int, eps: float
) -> None:
    w = (
        torch.randn(fan, generator=torch.Generator().manual_seed(fan), dtype=torch.float64)
        * 0.1
        + 0.3
    )
    close(ask(tab, "standardize", w.tolist(), eps), weight_standardization(w[None], eps)[0])


@pytest.mark.parametrize("eps", [0.0, 1e-5, 0.1])
def test_its_gradient_is_that_of_autograd(tab: Page, eps: float) -> None:
    w, g = torch.randn(2, 27, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    w = (0.1 * w + 0.3).requires_grad_()
    (wanted,) = torch.autograd.grad(weight_standardization(w[None], eps)[0], w, g)
    flow = ask(tab, "gradient", w.tolist(), g.tolist(), eps)
    close(flow["arriving"], wanted)
    close(flow["centered"], g - g.mean())
    assert sum(flow["shares"].values()) == pytest.approx(1)
    assert flow["shares"]["mean"] == pytest.approx(
        (27 * g.mean() ** 2 / g.square().sum()).item()
    )


def test_its_outputs_have_the_moments_of_a_sum_over_all_inputs(tab: Page) -> None:
    w = torch.randn(27, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.2
    # A million quantiles stand for the distribution of one input; inputs are independent, so variances add up.
    quantiles = torch.special.ndtri(
        (torch.arange(1_000_000, dtype=torch.float64) + 0.5) / 1_000_000
    )
    found = ask(tab, "outputs", w.tolist())
    for name, x in (("normal", quantiles), ("relu", quantiles.relu())):
        close(found[name]["mean"], w.sum() * x.mean(), 1e-5)
        close(found[name]["std"], (w.square().sum() * x.var()).sqrt(), 1e-5)


@pytest.mark.parametrize("mean", [0.0, 100.0, 1000.0])
def test_its_single_precision_is_that_of_a_float32(tab: Page, mean: float) -> None:
    w = np.random.default_rng(0).normal(mean, 1, 576)
    single = w.astype(np.float32)

    def average(values: np.ndarray) -> np.float32:
        return np.float32(np.add.accumulate(values)[-1] / np.float32(576))  # one after another

    m = average(single)
    found = ask(tab, "single", w.tolist())
    assert found["twoPasses"] == pytest.approx(
        float(np.sqrt(average((single - m) ** 2))), rel=1e-6
    )
    assert found["shortcut"] == pytest.approx(
        float(np.sqrt(average(single**2) - m * m)), rel=1e-6
    )


def test_its_running_statistics_are_those_of_the_modules_at_each_step(tab: Page) -> None:
    x = (
        torch.randn(
            20, 3, 1, 16, generator=torch.Generator().manual_seed(2), dtype=torch.float64
        )
        * 2
        + 5
    )
    estimated = EstimatedBatchNorm(1, momentum=0.2, affine=False).double()
    batch_norm = nn.BatchNorm1d(1, momentum=0.2, affine=False).double()
    own = torch.ones(1, dtype=torch.float64)
    running = {
        name: {"mean": 0.0, "variance": 1.0}
        for name in ("estimate", "batchNormRunning", "estimateAroundOwn")
    }
    for batch in x:
        outputs = estimated(batch), batch_norm(batch)
        own.lerp_(batch.var(correction=0), 0.2)
        for name in running:
            running[name] = ask(tab, name, running[name], batch.flatten().tolist(), 0.2)
        for name, module in (("estimate", estimated), ("batchNormRunning", batch_norm)):
            close(running[name]["mean"], module.running_mean[0])
            close(running[name]["variance"], module.running_var[0])
        close(running["estimateAroundOwn"]["variance"], own[0])
        close(running["estimateAroundOwn"]["mean"], estimated.running_mean[0])
        values = batch.flatten().tolist()
        close(ask(tab, "normalize", values, running["estimate"]), outputs[0].flatten())
        close(ask(tab, "normalize", values, ask(tab, "moments", values)), outputs[1].flatten())


WEIGHTS = {
    "fan": 576,
    "mean": 0.05,
    "scale": 0.05,
    "outliers": 0,
    "size": 20,
    "input": "relu",
    "draw": 1,
}


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"fan": 9, "draw": 7},
        {"fan": 144, "mean": 2, "scale": 0.002, "outliers": 3, "size": 50, "input": "match"},
    ],
)
def test_the_weights_it_shows_are_those_of_the_library(
    tab: Page, changed: dict[str, Any]
) -> None:
    setting = WEIGHTS | changed
    show(tab, ",".join(f"{name}={value}" for name, value in setting.items()))
    w = torch.tensor(ask(tab, "filter", setting), dtype=torch.float64, requires_grad=True)
    w_hat = weight_standardization(w[None])[0]
    shown = cells(tab, "weights-numbers")
    for column, one in ((RAW, w.detach()), (STANDARDIZED, w_hat.detach())):
        expected = {
            "mean": one.mean(),
            "standard deviation": one.std(correction=0),
            "root mean square": one.square().mean().sqrt(),
            "largest weight": one.abs().max(),
        }
        for row, value in expected.items():
            assert number(shown[row][column]) == pytest.approx(
                value.item(), rel=0.05 if value < 1e-3 else 0.006, abs=1e-8
            )
    g = torch.tensor(ask(tab, "patch", setting, w.tolist()), dtype=torch.float64)
    (arriving,) = torch.autograd.grad(w_hat, w, g)
    length = cells(tab, "flow-numbers")["length"]
    assert number(length[0]) == pytest.approx(g.norm().item(), rel=0.006)
    assert number(length[-1]) == pytest.approx(arriving.norm().item(), rel=0.006)


@pytest.mark.parametrize("images", [1, 8])
def test_the_stream_it_shows_is_what_the_modules_make_of_it(tab: Page, images: int) -> None:
    setting = {
        "images": images,
        "center": 3,
        "between": 2,
        "within": 0.5,
        "r": 0.05,
        "sample": 4,
    }
    show(tab, ",".join(f"{name}={value}" for name, value in setting.items()))
    x = torch.tensor(ask(tab, "stream", setting), dtype=torch.float64).reshape(
        300, images, 1, 4, 4
    )
    estimated = EstimatedBatchNorm(1, momentum=0.05).double()
    batch_norm = nn.BatchNorm2d(1, momentum=0.05).double()
    kept: dict[str, list[Tensor]] = {
        "variance": [],
        "own": [],
        "evaluation": [],
        "y": [],
        "z": [],
    }
    with torch.no_grad():
        for batch in x:
            y, z = estimated(batch), batch_norm(batch)
            now = (
                estimated.running_var.clone(),
                batch.var(correction=0),
                batch_norm.running_var.clone(),
                y,
                z,
            )
            for values, value in zip(kept.values(), now, strict=True):
                values.append(value)
    settled = {name: torch.stack(values[200:]) for name, values in kept.items()}
    shown = cells(tab, "stream-numbers")
    near = {"rel": 0.006}
    assert number(shown["variance, in training"][ESTIMATED]) == pytest.approx(
        settled["variance"].mean().item(), **near
    )
    assert number(shown["variance, in training"][OWN]) == pytest.approx(
        settled["own"].mean().item(), **near
    )
    assert number(shown["variance, in evaluation"][OWN]) == pytest.approx(
        settled["evaluation"].mean().item(), **near
    )
    for column, y in ((ESTIMATED, settled["y"]), (OWN, settled["z"])):
        mean, std = (number(part) for part in shown["output"][column].split(" ± "))
        assert mean == pytest.approx(y.mean().item(), abs=0.006)
        assert std == pytest.approx(y.std(correction=0).item(), **near)
        levels = y.flatten(0, 2).mean((1, 2)).std(correction=0).item()
        assert number(shown["spread of the images’ levels"][column]) == pytest.approx(
            levels, rel=0.006, abs=1e-8
        )


CLAIMS: dict[str, list[tuple[str, int, str, str]]] = {
    "mean=1000,scale=1": [
        ("output, input behind a ReLU", RAW, "229811 ± 14013", "about 230,000"),
        ("std in float32, two passes", RAW, "0.957", "Two passes find the right one"),
        ("std in float32, shortcut", RAW, "0.791", "17 %"),
    ],
    "mean=1000": [("std in float32, shortcut", RAW, "NaN", "NaN")],
    "mean=0,scale=0.001": [
        ("ε’s share of σ² + ε", STANDARDIZED, "92 %", "92 %"),
        ("standard deviation", STANDARDIZED, "0.290", "0.29"),
    ],
    "fan=27,mean=0,outliers=1,size=50": [("largest weight", STANDARDIZED, "5.08", "5.08")],
    "fan=9,mean=0": [("output, normal input", STANDARDIZED, "0 ± 3.00", "3.00")],
    "fan=4608,mean=0": [("output, normal input", STANDARDIZED, "0 ± 67.7", "67.7")],
    "images=1": [
        ("spread of the images’ levels", OWN, "0", "is 0"),
        ("spread of the images’ levels", ALL, "0.757", "0.757"),
        ("spread of the images’ levels", ESTIMATED, "0.664", "0.664"),
    ],
    "between=4": [
        ("variance, in training", AROUND_OWN, "0.942", "0.94"),
        ("variance, in training", ALL, "5.00", "is 5"),
        ("variance, in training", ESTIMATED, "5.42", "5.42"),
    ],
    "r=0.01": [("variance, in training", ESTIMATED, "3.81", "3.81")],
}


@pytest.mark.parametrize("setting", CLAIMS)
def test_what_the_page_says_of_a_setting_is_what_it_shows(tab: Page, setting: str) -> None:
    link = tab.locator(f'article a[href="#{setting}"]')
    around = (link.locator("xpath=..").text_content() or "").replace("\N{NO-BREAK SPACE}", " ")
    link.click()
    tab.evaluate(FRAMES)
    shown = cells(tab, "weights-numbers") | cells(tab, "stream-numbers")
    for row, column, value, said in CLAIMS[setting]:
        assert shown[row][column] == value
        assert said in around


def test_every_link_that_sets_the_controls_is_checked(tab: Page) -> None:
    links = tab.locator("article a[href*='#'][href*='=']").all()
    set_by_links = {(link.get_attribute("href") or "")[1:] for link in links}
    seen = {
        "between=0",
        "images=32",
        "input=relu",
        "input=normal",
        "input=match",
    }  # by the tests below
    assert set_by_links == set(CLAIMS) | seen


def test_one_outlier_squeezes_all_other_weights_and_cannot_pass_a_limit(tab: Page) -> None:
    setting = WEIGHTS | {"fan": 27, "mean": 0, "outliers": 1, "size": 50}
    first, *others = ask(tab, "standardize", ask(tab, "filter", setting))
    assert first == pytest.approx(5.08, rel=1e-3)
    assert 0.2 < max(map(abs, others)) < 0.5
    first, *others = ask(tab, "standardize", ask(tab, "filter", setting | {"size": 1e6}))
    assert first == pytest.approx(26**0.5, rel=1e-6)


@pytest.mark.parametrize("setting", ["images=32", "between=0"])
def test_three_columns_agree_where_the_page_says_so(tab: Page, setting: str) -> None:
    show(tab, setting)
    variances = [number(cell) for cell in cells(tab, "stream-numbers")["variance, in training"]]
    assert variances == pytest.approx([variances[ALL]] * 4, rel=0.07)
    show(tab, "images=1")
    variances = [number(cell) for cell in cells(tab, "stream-numbers")["variance, in training"]]
    assert variances != pytest.approx([variances[ALL]] * 4, rel=0.5)


@pytest.mark.parametrize(
    ("setting", "shares"),
    [
        ("relu", ["32 %", "0.0 %", "68 %"]),
        ("normal", ["0.2 %", "0.0 %", "100 %"]),
        ("match", ["0.1 %", "51 %", "49 %"]),
    ],
)
def test_what_the_page_says_of_a_gradient_is_what_it_shows(
    tab: Page, setting: str, shares: list[str]
) -> None:
    tab.locator(f'article a[href="#input={setting}"]').click()
    expect(tab.locator('[data-part="flow-said"] span')).to_have_text(shares, timeout=PATIENCE)
    cosines = [abs(number(cell)) for cell in cells(tab, "flow-numbers")["cosine with W"]]
    assert cosines[-1] < 0.005
    assert setting != "match" or cosines[0] > 0.4


def test_the_figure_without_a_script_is_the_one_that_the_script_draws(
    browser: Browser, address: str, tab: Page
) -> None:
    context = browser.new_context(java_script_enabled=False)
    bare = context.new_page()
    bare.goto(f"{address}/playground.html")
    show(tab, "mean=1000,images=8")
    changed = [part.inner_html() for part in tab.locator("[data-part]").all()]
    show(tab, "mean=0.05")  # the first setting again, drawn by the browser
    for name in ("weights-said", "flow-said", "stream-said"):
        said = bare.locator(f'[data-part="{name}"]').inner_text()
        expect(tab.locator(f'[data-part="{name}"]')).to_have_text(said, timeout=PATIENCE)
    drawn = [part.inner_html() for part in tab.locator("[data-part]").all()]
    assert [part.inner_html() for part in bare.locator("[data-part]").all()] == drawn != changed
    assert len(drawn) == 11
    expect(bare.locator('[data-part="before"] svg')).to_be_visible()
    for control in (*bare.locator(".pg-controls").all(), bare.locator(".pg-live")):
        expect(control).to_be_hidden()
    context.close()


def test_a_setting_stands_in_the_address_and_comes_back_from_it(
    browser: Browser, site: Path
) -> None:
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    page.goto(f"{site.as_uri()}/playground.html")
    page.locator("#set-mean").press("ArrowRight")
    page.locator("#set-fan").select_option("27")
    page.locator("#set-images").press("End")
    page.get_by_role("button", name="Draw again").first.press("Enter")
    page.wait_for_url("**/playground.html#fan=27,mean=0.1,draw=2,images=32")
    assert page.locator("#set-mean").get_attribute("aria-valuetext") == "0.1"
    shown = page.locator(".playground").all_inner_texts()
    said = page.locator(".pg-said").first.inner_text()
    page.reload()
    expect(page.locator(".pg-said").first).to_have_text(said, timeout=PATIENCE)
    assert page.locator(".playground").all_inner_texts() == shown
    assert page.locator('output[for="set-mean"]').inner_text() == "0.1"
    for reset in page.get_by_role("button", name="Reset").all():
        reset.press("Space")
    page.wait_for_url("**/playground.html#")
    page.evaluate(FRAMES)
    assert page.locator(".playground").all_inner_texts() != shown
    context.close()


def test_an_address_that_makes_no_sense_changes_nothing(tab: Page) -> None:
    show(tab, "mean=1000")
    show(tab, "fan=toString,mean=7,scale=NaN,draw=0,sample=1e9,images,=,constructor=1")
    values = tab.evaluate(
        "[...document.querySelectorAll('article :is(input, select)')].map(e => e.value)"
    )
    tab.get_by_role("button", name="Reset").first.click()
    tab.get_by_role("button", name="Reset").last.click()
    tab.evaluate(FRAMES)
    first = tab.evaluate(
        "[...document.querySelectorAll('article :is(input, select)')].map(e => e.value)"
    )
    assert values == first


def test_a_dragged_slider_is_read_aloud_once_it_rests(browser: Browser, address: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.clock.install(time=0)
    page.goto(f"{address}/playground.html", wait_until="load")
    page.clock.pause_at(60_000)
    before = page.locator('[data-part="weights-said"]').inner_text()
    for _ in range(6):
        page.locator("#set-mean").press("ArrowRight")
        page.clock.run_for(100)
    assert (
        page.locator('[data-part="weights-numbers"] tbody td >> nth=0').inner_text() == "5.00"
    )
    assert page.locator('[data-part="weights-said"]').inner_text() == before
    page.clock.run_for(400)
    assert page.locator('[data-part="weights-said"]').inner_text().startswith("Mean 5.00 and")
    context.close()


@pytest.mark.parametrize(
    ("width", "setting"), [(390, ""), (390, "#mean=1000,scale=1"), (1440, "#input=match")]
)
def test_nothing_moves_while_it_opens(
    browser: Browser, address: str, width: int, setting: str
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    page.route(
        "**/*.woff2", lambda route: route.abort()
    )  # the change of fonts is another matter
    page.add_init_script(
        """globalThis.shifts = [];
        new PerformanceObserver(list => shifts.push(...list.getEntries().map(e => e.value))).observe({type: 'layout-shift', buffered: true});"""
    )
    page.goto(f"{address}/playground.html{setting}", wait_until="load")
    page.wait_for_timeout(1000)
    assert sum(page.evaluate("shifts")) < 0.002
    context.close()
