"""What the pages for use promise: each snippet runs, each comparison is what the layers do, each number is in the records."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import onnxruntime
import pytest
import torch
from playwright.sync_api import Browser
from torch import Tensor, nn

from labml_ws import BatchChannelNorm, EstimatedBatchNorm, convert, weight_standardization
from labml_ws.experiment import record, sweep
from tools import networks, single

PAGES = ("use.md", "faq.md", "cheatsheet.md")
BLOCK = re.compile(
    r"^```(python|diff)\n(.*?)^```(?:\n+```text\n(.*?)^```)?", re.MULTILINE | re.DOTALL
)
TORCHVISION = ("torchvision", "torchvision.models")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*hold statistics of what"),
]


@pytest.fixture(scope="module", autouse=True)
def installed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the snippets import: the one file, timm, and torchvision with timm's network in the place of its own."""
    folder = tmp_path_factory.mktemp("single")
    (folder / single.NAME).write_text(single.single())
    names = dict.fromkeys(TORCHVISION)
    timm = networks.timm()
    vision, models = (ModuleType(name) for name in names)
    models.resnet50 = lambda num_classes: timm.create_model("resnet50", num_classes=num_classes)  # type: ignore[attr-defined]
    vision.models = models  # type: ignore[attr-defined]
    before = {name: sys.modules.get(name) for name in names}
    sys.modules |= {"torchvision": vision, "torchvision.models": models}
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))
    for name, module in before.items():
        sys.modules.pop(name)
        if module:
            sys.modules[name] = module


def snippets() -> list[tuple[str, str, str, str]]:
    """Page, language, code, and what the page says that it prints, if it says so."""
    docs = Path(__file__).resolve().parents[2] / "docs"
    return [
        (page, m[1], m[2], m[3] or "")
        for page in PAGES
        for m in BLOCK.finditer((docs / page).read_text())
    ]


@pytest.mark.parametrize(
    ("page", "code", "printed"),
    [
        (page, code, printed)
        for page, language, code, printed in snippets()
        if language == "python"
    ],
)
def test_each_snippet_runs(
    page: str,
    code: str,
    printed: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names: dict[str, Any] = {}
    exec(code, names)
    said = capsys.readouterr().out
    if printed:
        assert said == printed
    if found := re.search(r"largest difference: (\S+)", said):
        assert float(found[1]) < 1e-5
    assert (tmp_path / "model.onnx").exists() == ("onnx" in code and page == "use.md")
    if (tmp_path / "model.onnx").exists():
        session = onnxruntime.InferenceSession(
            tmp_path / "model.onnx", providers=["CPUExecutionProvider"]
        )
        for images in (1, 5):
            x = torch.randn(images, 3, 16, 16)
            (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
            torch.testing.assert_close(
                torch.from_numpy(y), names["model"](x), atol=1e-4, rtol=1e-4
            )


DIFFS = [code for _, language, code, _ in snippets() if language == "diff"]


def version(diff: str, sign: str) -> str:
    """One side of a diff: what is common, and the lines with the sign."""
    return "\n".join(line[2:] for line in diff.splitlines() if line[:1] in (" ", "", sign))


@pytest.mark.slow
@pytest.mark.parametrize("diff", DIFFS, ids=["torchvision", "timm", "backbone"])
def test_a_network_trains_before_and_after(diff: str) -> None:
    found = {}
    for sign in "-+":
        torch.manual_seed(0)
        names: dict[str, Any] = {}
        exec(version(diff, sign), names)
        model = names.get("model") or names["backbone"]
        x = torch.randn(2, 3, 64, 64)
        outputs = model(x)
        sum(
            o.square().mean() for o in (outputs if isinstance(outputs, list) else [outputs])
        ).backward()
        before = [p.detach().clone() for p in model.parameters()]
        names["optimizer"].step()
        # (The last norms of timm's blocks begin at zero, so not every weight has a gradient yet.)
        assert any(
            not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)
        )
        trained = [p for group in names["optimizer"].param_groups for p in group["params"]]
        assert {*map(id, trained)} == {*map(id, model.parameters())}
        kinds = [type(module) for module in model.modules()]
        found[sign] = (
            sum(issubclass(k, convert.OURS) for k in kinds),
            kinds.count(nn.BatchNorm2d),
        )
        found[f"norms{sign}"] = kinds.count(nn.GroupNorm), kinds.count(BatchChannelNorm)
        if sign == "+":
            momenta = {
                m.batch_norm.momentum
                for m in model.modules()
                if isinstance(m, BatchChannelNorm)
            }
    assert found["-"] == (0, 53 if "resnet50" in diff else 20)
    assert found["+"][0] == found["-"][1]
    if "resnet50" in diff:
        assert (found["+"], found["norms+"]) == ((53, 0), (53, 0))
    elif "backbone" in diff:
        assert (found["+"], found["norms+"]) == ((20, 0), (0, 20))
        assert momenta == {0.01}
    else:
        assert found["+"] == (20, 20)


def test_each_answer_leads_to_its_place(root: Path) -> None:
    answers = (root / "docs" / "faq.md").read_text().split("\n### ")[1:]
    asked = {re.search(r"\{ #([\w-]+) \}", answer)[1] for answer in answers}  # type: ignore[index]
    wanted = {
        "weight-decay",
        "adam",
        "fp16",
        "ddp",
        "ema",
        "checkpointing",
        "onnx",
        "pretrained",
    }
    assert wanted <= asked
    assert [answer for answer in answers if not re.search(r"\]\([^)]+\.md", answer)] == []


# ## The table of normalizations

B, C, H, G = 2, 64, 16, 32
NORMS = {
    "BN": nn.BatchNorm2d(C),
    "LN": nn.GroupNorm(1, C),
    "GN": nn.GroupNorm(G, C),
    "IN": nn.InstanceNorm2d(C),
    "estimated BN": EstimatedBatchNorm(C),
    "BCN": BatchChannelNorm(C, G),
}


def table(root: Path, heading: str) -> dict[str, list[str]]:
    """The rows of the table below a heading, by the first word or two of their first cell."""
    text = (root / "docs" / "use.md").read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return {row[0].partition(",")[0].strip("*"): row[1:] for row in rows[2:]}


def sharing(norm: nn.Module) -> int:
    """How many inputs have a part in one output, by the gradient."""
    x = torch.randn(B, C, H, H).double().requires_grad_()
    norm.double().train()(x)[0, 0, 0, 0].backward()
    assert x.grad is not None
    return int((x.grad.abs() > 0).sum())


@pytest.mark.parametrize("name", NORMS)
def test_the_table_of_normalizations_is_what_they_do(root: Path, name: str) -> None:
    torch.manual_seed(0)
    _, shared, same, parameters, depends, left = table(root, "Which normalization does what")[
        name
    ]
    norm = NORMS[name]
    # No gradient flows through estimates: of them it is the output that says who shares.
    expected = {"all so far": 1, "all so far, then 512": 2 * H * H}.get(shared)
    assert sharing(norm) == (expected or int(shared))
    assert sum(p.numel() for p in norm.parameters()) == int(parameters)
    norm.float()
    x = torch.randn(B, C, H, H)
    other = torch.cat([x[:1], 3 + torch.randn(1, C, H, H)])
    state = {key: value.clone() for key, value in norm.state_dict().items()}

    def out(images: Tensor, training: bool) -> Tensor:
        norm.load_state_dict(state)
        return norm.train(training)(images)[0].detach()

    assert torch.equal(out(x, True), out(x, False)) == (same == "yes")
    assert torch.equal(out(x, True), out(other, True)) == (depends == "no")
    model = nn.Sequential(nn.Conv2d(3, C, 3), NORMS[name]).eval()
    convert.fold(model, torch.randn(2, 3, 8, 8))
    stays = type(model[1]).__name__
    assert (
        stays
        == {
            "nothing, it folds": "Identity",
            "all of it": type(norm).__name__,
            "the channel norm": "ChannelNorm",
        }[left]
    )


def test_the_row_of_weight_standardization_is_what_it_does(root: Path) -> None:
    _, shared, *_ = table(root, "Which normalization does what")["WS"]
    weight = torch.randn(8, C, 3, 3).double().requires_grad_()
    weight_standardization(weight)[0, 0, 0, 0].backward()
    assert weight.grad is not None
    assert int((weight.grad != 0).sum()) == int(shared)


# ## Numbers from the records


def accuracy(experiment: str, net: str, batch: int = 64, momentum: float = 0.1) -> str:
    runs = [
        run
        for run in record.read(experiment)
        if (run.net, run.config.batch_size, run.config.momentum) == (net, batch, momentum)
    ]
    assert len(runs) == 3
    return f"{record.mean_spread(sweep.accuracies(runs))[0]:.1f} %"


def test_what_we_measured_is_in_the_records(root: Path) -> None:
    rows = {
        name: cells[-1].strip(" |") for name, cells in table(root, "What to use when").items()
    }
    told = {name: re.findall(r"\d+\.\d %", text) for name, text in rows.items()}
    assert {name: numbers for name, numbers in told.items() if numbers} == {
        "1 to 4 images per step": [
            accuracy("batches", "ws-gn", 1),
            accuracy("estimates", "ws-bcn", 1, 0.01),
            accuracy("batches", "gn", 1),
            accuracy("batches", "bn", 1),
        ],
        "16 and more": [accuracy("methods", net) for net in ("ws-bn", "bn", "ws-gn", "gn")],
        "a classifier": [
            accuracy("conventions", "ws-gn-ws-classifier"),
            accuracy("methods", "ws-gn"),
        ],
    }
    assert [run.diverged for run in record.read("conventions") if run.net == "ws-none"] == [
        True
    ] * 3
    assert "all three runs diverged" in rows["no normalization behind the convolution"]


def test_the_advice_on_rates_is_in_the_records(root: Path) -> None:
    text = (root / "docs" / "use.md").read_text()
    found: dict[str, dict[float, float]] = {"ws-gn": {}, "bn": {}}
    for run in record.read("rates"):
        if run.net in found:
            found[run.net][run.config.learning_rate] = 100 * run.accuracy
    best = {net: max(rates, key=rates.__getitem__) for net, rates in found.items()}
    assert (
        f"WS + GN did best at {best['ws-gn']:g} and BatchNorm at {best['bn']:g}, of four"
        in text
    )
    lost = {net: max(rates.values()) - rates[0.2] for net, rates in found.items()}
    assert (
        f"at 0.2 the one lost {lost['ws-gn']:.1f} points, the other {lost['bn']:.1f}."
        in " ".join(text.split())
    )


# ## The sheet


@pytest.mark.browser
def test_the_cheat_sheet_is_one_sheet(browser: Browser, address: str) -> None:
    tab = browser.new_page(viewport={"width": 643, "height": 900})
    tab.goto(f"{address}/cheatsheet.html", wait_until="load")
    printed = tab.pdf(prefer_css_page_size=True)
    tab.emulate_media(media="print")
    cut = tab.evaluate(
        "[...document.querySelectorAll('.sheet pre > code, .sheet div.math')].filter(e => e.scrollWidth > e.clientWidth + 1).length"
    )
    tab.close()
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 1
    assert cut == 0
