"""The page of many implementations: each restatement is the formula beside it, and each number in the prose is found again."""

import ast
import math
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labml_ws import EstimatedBatchNorm

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "tutorials" / "implementations.py"
DEFINES = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)


def constant(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).isupper()


@pytest.fixture(scope="module")
def page() -> Any:
    """What the script defines, without what it computes and draws."""
    tree = ast.parse(SCRIPT.read_text())
    tree.body = [node for node in tree.body if isinstance(node, DEFINES) or constant(node)]
    names: dict[str, Any] = {}
    exec(compile(tree, str(SCRIPT), "exec"), names)
    return SimpleNamespace(**names)


@pytest.fixture(scope="module")
def prose() -> dict[str, str]:
    """The text below each heading, one line each."""
    cells = re.findall(r"# %% \[markdown\]\n((?:#.*\n)+)", SCRIPT.read_text())
    text = re.sub(r"^# ?", "", "".join(cells), flags=re.MULTILINE)
    parts = re.split(r"^##? (.+)\n", text, flags=re.MULTILINE)[1:]
    return {
        title: " ".join(body.split())
        for title, body in zip(parts[::2], parts[1::2], strict=True)
    }


def bare(
    weight: Tensor, eps: float, less: int = 0, outside: bool = False, threshold: bool = False
) -> Tensor:
    """A formula of the page, filter by filter, in sums and quotients."""
    filters = []
    for w in weight.double():
        count = w.numel()
        mean = w.sum() / count
        var = ((w - mean) ** 2).sum() / (count - less)
        if threshold:
            scale = max(float(count * var), eps) ** 0.5 / count**0.5
        else:
            scale = var**0.5 + eps if outside else (var + eps) ** 0.5
        filters.append((w - mean) / scale)
    return torch.stack(filters)


ORACLES: dict[str, dict[str, Any]] = {
    "ours": {"eps": 1e-5},
    "paper": {"eps": 1e-5},
    "printed": {"eps": 1e-5},
    "authors": {"eps": 1e-5, "less": 1, "outside": True},
    "BCN, labml": {"eps": 1e-5, "less": 1},
    "JAX": {"eps": 1e-5, "outside": True},
    "timm": {"eps": 1e-6},
    "timm's BiT": {"eps": 1e-8},
    "BiT": {"eps": 1e-10},
    "lucidrains": {"eps": 1e-3},  # float64 is "otherwise"
    "NFNets": {"eps": 1e-4, "threshold": True},
    "timm scaled": {"eps": 1e-6},
}
SCALED = ("NFNets", "timm scaled")


def of_unit_variance(name: str, w_hat: Tensor) -> Tensor:
    return w_hat * w_hat[0].numel() ** 0.5 if name in SCALED else w_hat


# What they compute


@pytest.mark.parametrize("std", [0.05, 1e-3, 1e-4])
@pytest.mark.parametrize("name", ORACLES)
def test_each_restatement_is_the_formula_beside_it(page: Any, name: str, std: float) -> None:
    weight = page.weights(27, std, torch.float64, mean=std)[:8]
    found = of_unit_variance(name, page.FORMS[name](weight))
    torch.testing.assert_close(found, bare(weight, **ORACLES[name]), rtol=1e-9, atol=1e-11)


def test_every_restatement_is_in_the_tables_and_has_an_oracle(page: Any) -> None:
    assert set(page.FORMS) == set(ORACLES)
    arguments = {name for name, it in vars(page).items() if callable(it) and name[0].islower()}
    restated = {f.__name__ for f in page.FORMS.values()}
    assert restated <= arguments
    assert len(restated) == len(ORACLES)


def test_lucidrains_has_the_papers_eps_in_float32_only(page: Any) -> None:
    weight = page.weights(27, 0.01)
    torch.testing.assert_close(page.lucidrains(weight), page.paper(weight))
    half = page.lucidrains(weight.bfloat16()).double()
    expected = bare(weight.bfloat16(), 1e-3)
    torch.testing.assert_close(half, expected, rtol=0.02, atol=1e-3)


def test_torchs_own_kernels_agree_with_the_restatements(page: Any) -> None:
    weight = page.weights(576, 0.02, torch.float64)
    std, mean = torch.std_mean(weight, dim=(1, 2, 3), keepdim=True)
    torch.testing.assert_close(page.authors(weight), (weight - mean) / (std + 1e-5))
    torch.testing.assert_close(
        page.timm(weight), F.layer_norm(weight, weight.shape[1:], eps=1e-6)
    )
    torch.testing.assert_close(page.paper(weight), F.group_norm(weight[None], 64, eps=1e-5)[0])


@pytest.mark.parametrize("name", ORACLES)
def test_page_says_that_all_give_a_filter_the_same_direction(page: Any, name: str) -> None:
    weight = page.weights(27, 1e-3, torch.float64)
    cosine = F.cosine_similarity(
        page.FORMS[name](weight).flatten(1), page.paper(weight).flatten(1)
    )
    torch.testing.assert_close(cosine, torch.ones_like(cosine))


def test_page_says_that_adaptive_ws_leaves_loaded_weights_as_they_were(page: Any) -> None:
    weight = page.weights(576, 0.02, mean=0.01)
    var, mean = torch.var_mean(weight, dim=page.ROW, keepdim=True)
    torch.testing.assert_close((var + 1e-5).sqrt() * page.authors_bcn(weight) + mean, weight)


def test_each_implementation_has_a_source(prose: dict[str, str]) -> None:
    titles = list(prose)
    restated = titles[1 : titles.index("What eps does")]
    assert len(restated) == 8
    for title in restated:
        assert re.search(r"\]\(https://|\]\[@", prose[title]), title


# How far apart they are


def test_page_quotes_what_dividing_by_one_less_does(page: Any, prose: dict[str, str]) -> None:
    text = prose["How far from the paper?"]
    for fan_in, quoted in ((9, "6.1 %"), (576, "0.09 %")):
        larger = math.sqrt(fan_in / (fan_in - 1)) - 1
        assert float(quoted[:-2]) == round(100 * larger, 1 if fan_in == 9 else 2)
        assert quoted in text
    shorter = page.deviation(page.authors_bcn, page.weights(9, 1.0))
    assert round(100 * shorter, 1) == 5.7
    assert "5.7 % shorter" in text


@pytest.mark.parametrize(
    "name", ["authors", "JAX", "timm", "timm's BiT", "BiT", "NFNets", "timm scaled"]
)
def test_page_says_what_less_eps_does_to_large_layers_at_default_initialization(
    page: Any, name: str
) -> None:
    torch.manual_seed(0)
    weight = nn.Conv2d(512, 64, 3).weight.detach()
    assert 0.055 < page.deviation(page.FORMS[name], weight) < 0.075
    longer = of_unit_variance(name, page.FORMS[name](weight)).norm() / page.paper(weight).norm()
    assert longer > 1.05


def test_page_says_that_there_is_no_common_result_for_narrow_filters(page: Any) -> None:
    weight = page.weights(576, 1e-4)
    errors = {name: page.deviation(form, weight) for name, form in page.FORMS.items()}
    same = {name for name, error in errors.items() if error < 1e-4}
    assert same == {"ours", "paper", "printed", "BCN, labml", "lucidrains"}
    assert errors["timm"] > 2 < errors["NFNets"]
    assert min(errors[name] for name in ("authors", "JAX", "timm's BiT", "BiT")) > 20


@pytest.mark.parametrize(
    "name", ["authors", "JAX", "timm", "timm's BiT", "BiT", "NFNets", "timm scaled"]
)
def test_page_says_that_at_0_02_eps_counts_1_to_2_percent(page: Any, name: str) -> None:
    for fan_in in (27, 576, 4608):
        error = page.deviation(page.FORMS[name], page.weights(fan_in, 0.02))
        assert 0.005 < error < 0.025


def test_figure_shows_the_paper_at_0_94_on_the_left_border_and_the_curves_in_order(
    page: Any,
) -> None:
    filters = page.standardize(page.weights(576, 1.0).double(), 0.0)
    border = page.rms(page.paper, filters * (3 * 4608) ** -0.5)
    assert round(border.item(), 2) == 0.94
    forms = [page.bit, page.timm_bit, page.nfnets, page.timm, page.paper]
    lengths = [page.rms(form, filters * 1e-4).item() for form in forms]
    assert lengths == sorted(lengths, reverse=True)
    corner = [page.rms(page.nfnets, filters * width).item() for width in (4e-4, 5e-4)]
    assert corner[0] < 0.97 < corner[1] == pytest.approx(1)


# Half precision


def test_page_quotes_what_rounding_costs_in_bfloat16(page: Any) -> None:
    for std in (1e-4, 0.02):
        for fan_in in page.SHAPES:
            weight = page.weights(fan_in, std, torch.bfloat16)
            assert page.deviation(page.standardize, weight) == pytest.approx(0.0016, abs=2e-4)
            assert page.deviation(page.paper, weight) == pytest.approx(0.003, abs=5e-4)
    weight = page.weights(576, 0.02, torch.bfloat16)
    one_less, not_less = (page.deviation(f, weight) for f in (page.authors_bcn, page.paper))
    assert one_less == pytest.approx(not_less, rel=0.1)
    assert 0.4 < page.deviation(page.lucidrains, weight) < 0.55


def test_page_says_what_becomes_of_fp16(page: Any) -> None:
    half, full = page.weights(576, 1e-4, torch.float16), page.weights(576, 1e-4)
    errors = {name: page.deviation(form, half) for name, form in page.FORMS.items()}
    expected = {name: page.deviation(form, full) for name, form in page.FORMS.items()}
    assert math.isnan(errors.pop("BiT"))
    assert errors.pop("JAX") > 10 * expected.pop("JAX") > 200
    for name in ("timm", "timm's BiT", "timm scaled", "authors"):
        assert errors[name] == pytest.approx(expected[name], rel=0.01)
    for name in ("ours", "paper", "BCN, labml"):
        assert errors[name] < 1e-3


# Where they break


def test_page_says_what_becomes_of_a_fan_in_of_1(page: Any) -> None:
    outcomes = {
        name: page.attempt(form, torch.ones(4, 1, 1, 1)) for name, form in page.FORMS.items()
    }
    raising = {"ours", "timm", "timm's BiT", "timm scaled"}
    assert {name for name, outcome in outcomes.items() if outcome == "raises"} == raising
    assert {name for name, it in outcomes.items() if it == "nan"} == {"authors", "BCN, labml"}
    assert set(outcomes.values()) == {"raises", "nan", "zeros"}


def test_page_says_that_view_raises_under_channels_last(page: Any) -> None:
    weight = page.weights(576, 0.02).to(memory_format=torch.channels_last)
    for name, form in page.FORMS.items():
        views = name in ("authors", "BCN, labml")
        assert page.attempt(form, weight) == ("raises" if views else "works")
        if not views:
            torch.testing.assert_close(form(weight), form(weight.contiguous()))


def test_page_says_whose_gradient_is_nan_for_a_constant_filter(page: Any) -> None:
    outcomes = {name: page.slope_of_constant(form) for name, form in page.FORMS.items()}
    assert {name for name, outcome in outcomes.items() if outcome == "nan"} == {"JAX"}
    assert set(outcomes.values()) == {"finite", "nan"}


def test_page_says_that_only_the_printed_form_suffers_from_a_distant_mean(page: Any) -> None:
    weight = page.weights(576, 1.0, mean=1000.0)
    errors = {name: page.deviation(form, weight) for name, form in page.FORMS.items()}
    assert errors.pop("printed") > 0.02
    one_less = math.sqrt(576 / 575) - 1
    for name, error in errors.items():
        assert error < 1e-4 or (
            name in ("authors", "BCN, labml") and error == pytest.approx(one_less, rel=0.02)
        )


def test_page_says_that_a_dropped_padding_mode_is_wrong_at_the_border_only(page: Any) -> None:
    torch.manual_seed(0)
    dropped = page.Dropped(3, 8, 3, padding=1, padding_mode="circular")
    circular = F.pad(images := torch.randn(16, 3, 8, 8), (1, 1, 1, 1), mode="circular")
    expected = F.conv2d(circular, page.paper(dropped.weight), dropped.bias)
    wrong = ~torch.isclose(dropped(images), expected, atol=1e-4)
    assert not wrong[:, :, 1:-1, 1:-1].any()
    assert wrong.float().mean().item() == pytest.approx(28 / 64, abs=0.01)


# What is left behind a normalization


def test_page_says_what_a_normalization_leaves(page: Any) -> None:
    torch.manual_seed(0)
    widths = torch.logspace(-2, -1.4, 64)[torch.randperm(64)].view(-1, 1, 1, 1)
    weight, images = page.weights(576, 1.0) * widths, torch.randn(4, 64, 8, 8).double()

    def left(form: Callable[..., Tensor], norm: Callable[[Tensor], Tensor]) -> float:
        a, b = (norm(F.conv2d(images, w.double())) for w in (form(weight), page.paper(weight)))
        return ((a - b).norm() / b.norm()).item()

    def group_norm(x: Tensor) -> Tensor:
        return F.group_norm(x, 16)

    def batch_norm(x: Tensor) -> Tensor:
        return F.batch_norm(x, None, None, training=True)

    assert left(page.authors_bcn, group_norm) < left(page.authors_bcn, nn.Identity()) / 20
    for form in (page.authors, page.jax, page.timm, page.bit):
        assert 0.4 < left(form, group_norm) / left(form, nn.Identity()) < 0.65
        assert left(form, batch_norm) < 1e-5


# BCN's running variance


def test_the_authors_running_statistics_are_those_of_the_library(page: Any) -> None:
    torch.manual_seed(0)
    norm = EstimatedBatchNorm(1, momentum=0.3).double()
    mean, var = norm.running_mean.clone()[0], norm.running_var.clone()[0]
    for x in 5 + torch.randn(4, 2, 1, 3, 3, dtype=torch.float64):
        norm(x)
        mean, var = page.around_old(x, mean, var, 0.3)
    torch.testing.assert_close((norm.running_mean[0], norm.running_var[0]), (mean, var))


def test_labmls_running_variance_is_that_of_the_images_themselves(page: Any) -> None:
    torch.manual_seed(0)
    x = 5 + torch.randn(1, 1, 16, 16, dtype=torch.float64)
    zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    mean, var = page.around_own(x, zero, one, 0.25)
    torch.testing.assert_close(mean, 0.25 * x.mean())
    torch.testing.assert_close(var, 0.75 + 0.25 * x.var(correction=0))


def test_page_says_which_variance_misses_what_is_between_images(page: Any) -> None:
    torch.manual_seed(0)
    stream = 5 + torch.randn(600, 1, 1, 1, 1) + torch.randn(600, 1, 1, 16, 16)
    page.run.__globals__["stream"] = stream

    def settled(update: Callable[..., Any], r: float) -> list[float]:
        return [float(cell) for cell in page.run(update, r)]

    true = stream[300:].var().item()
    authors, released, labml = (
        settled(page.around_old, 0.1),
        settled(page.around_old, 0.0),
        settled(page.around_own, 0.1),
    )
    assert authors[0] == pytest.approx(true, rel=0.1)
    assert authors[2] == pytest.approx(1, abs=0.1)
    assert labml[0] == pytest.approx(1, abs=0.05)
    assert labml[2] > 1.3
    tail = stream[300:]
    assert released == pytest.approx([1, tail.mean().item(), tail.std().item()], abs=0.01)


def test_page_says_that_the_shortcut_becomes_negative(page: Any) -> None:
    x = torch.randn(1000, 256, generator=torch.Generator().manual_seed(0))
    negative = [
        ((x + m).square().mean(1) - (x + m).mean(1).square() < 0).any() for m in (100, 3000)
    ]
    assert negative == [False, True]


# The tables


def test_a_table_says_the_same_in_html_and_in_a_terminal(page: Any) -> None:
    table = page.Table("T", ["a", "b"], [["x", "1", "22"], ["long", "nan", "3 ×"]])
    assert repr(table).split() == ["T", "a", "b", "x", "1", "22", "long", "nan", "3", "×"]
    assert len({len(line) for line in repr(table).split("\n")[1:]}) == 1
    html = table._repr_html_()
    assert re.sub(r"<[^>]*>", " ", html).split() == repr(table).split()
    assert html.count('scope="row"') == html.count('scope="col"') == 2


@pytest.mark.parametrize(
    ("error", "written"),
    [(6e-8, "0"), (0.0567, "5.7 %"), (2.1, "3.1 ×"), (28.2, "29 ×"), (math.nan, "nan")],
)
def test_a_distance_is_written_in_percent_until_it_is_more_than_twice(
    page: Any, error: float, written: str
) -> None:
    assert page.written(error) == written
