"""
Draw what is averaged: `python -m tools.hero build/hero.html`.

The picture that opens the site, in two parts. The first shows a weight as filters of numbers and an activation as a block, and
lights those numbers that share one mean: which these are is asked of the layers themselves. An output of a normalization depends
on all that its statistics were taken over, and on nothing else, so its gradient says it. The second takes one filter
through the function, step by step, in the numbers that `weight_standardization` computes.

What is chosen is a radio button and what is shown follows from it in `docs/assets/hero.css`. There is no script.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from labml_ws import BatchChannelNorm, weight_standardization

IMAGES, CHANNELS, SIDE, GROUPS = 4, 6, 3, 2
POSITIONS = SIDE * SIDE
EPS = 1e-5
# Off center on purpose, as filters are that were trained: else there would be no mean to see going.
MADE = "torch.manual_seed(0)\nweight = 0.3 * torch.randn(6, 1, 3, 3) + 0.6"


def weight() -> Tensor:
    """The weight of the picture, `[6, 1, 3, 3]`: six filters of nine numbers, drawn as the picture says."""
    torch.manual_seed(0)
    return 0.3 * torch.randn(CHANNELS, 1, SIDE, SIDE) + 0.6


# ## What shares a mean


def share(norm: Callable[[Tensor], Tensor], *shape: int) -> Tensor:
    """
    The numbers that a normalization averages together: those that an output of its last channel, in the first image, depends
    on. A filter of a weight is the last as well.

    * `norm`: from an input of `shape` to an output of the same shape; returns a mask of that shape
    """
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=draw, dtype=torch.float64, requires_grad=True)
    last = norm(x)[(0, -1, 0, 0) if shape[0] == IMAGES else (-1, 0, 0, 0)]
    (gradient,) = torch.autograd.grad(last, x)
    return gradient.abs() > 1e-9


def shares() -> dict[str, list[Tensor]]:
    """For each method, what it averages together; BCN does so twice."""
    activation = (IMAGES, CHANNELS, SIDE, SIDE)
    bcn = BatchChannelNorm(CHANNELS, GROUPS, estimate=False).double()
    norms: dict[str, list[nn.Module]] = {
        "bn": [nn.BatchNorm2d(CHANNELS)],
        "ln": [nn.LayerNorm(activation[1:])],
        "in": [nn.InstanceNorm2d(CHANNELS)],
        "gn": [nn.GroupNorm(GROUPS, CHANNELS)],
        "bcn": [bcn.batch_norm, bcn.channel_norm],
    }
    masks = {name: [share(n.double(), *activation) for n in two] for name, two in norms.items()}
    return {"ws": [share(weight_standardization, *weight().shape)]} | masks


# ## The weight and the activation


@dataclass(frozen=True)
class Block:
    """The activation as a block that one looks at from the front, the right and above: an image is a layer of it, the first one in front."""

    x: float = 232
    y: float = 76
    channel: float = 16
    position: float = 11
    image: tuple[float, float] = (9, 6)

    def corner(self, b: float, c: float, n: float) -> tuple[float, float]:
        """Where the corner of a number is, from its image, channel and position, all counted from 0."""
        across, up = self.image
        return (
            self.x + c * self.channel + b * across,
            self.y + n * self.position - b * up,
        )

    def face(self, *corners: tuple[float, float, float]) -> str:
        return f"{line(*(self.corner(*c) for c in corners))}z"

    def faces(self, mask: Tensor) -> list[str]:
        """What one sees of the numbers in `mask`, `[images, channels, side, side]`: front, top, right."""
        found = mask.flatten(2).nonzero()
        (b, c, n), (bb, cc, nn) = found.amin(0).tolist(), (found.amax(0) + 1).tolist()
        if len(found) != (bb - b) * (cc - c) * (nn - n) or (b, cc, n) != (0, CHANNELS, 0):
            raise ValueError("expected a block of numbers that shows on all three sides")
        return [
            self.face((b, c, n), (b, cc, n), (b, cc, nn), (b, c, nn)),
            self.face((b, c, n), (b, cc, n), (bb, cc, n), (bb, c, n)),
            self.face((b, cc, n), (bb, cc, n), (bb, cc, nn), (b, cc, nn)),
        ]

    def grid(self) -> str:
        """The lines between the numbers on the three sides."""
        b, c, n = IMAGES, CHANNELS, POSITIONS
        lines = [[(0, i, n), (0, i, 0), (b, i, 0)] for i in range(c + 1)]
        lines += [[(0, 0, i), (0, c, i), (b, c, i)] for i in range(n + 1)]
        lines += [[(i, 0, 0), (i, c, 0), (i, c, n)] for i in range(1, b + 1)]
        return "".join(line(*(self.corner(*p) for p in one)) for one in lines)


CELL, PITCH, LEFT, TOP = 13, 19, 30, 64  # of a filter's row


def line(*points: tuple[float, float]) -> str:
    """A path from point to point, in steps: many lines of a drawing take the same ones, which packs well."""
    (x, y), *_ = points
    steps = (f"{c - a:g},{d - b:g}" for (a, b), (c, d) in pairwise(points))
    return f"M{x:g},{y:g}l{' '.join(steps)}"


def row(filter_: int) -> str:
    y, wide = TOP + PITCH * filter_, CELL * POSITIONS
    return f"M{LEFT},{y}h{wide}v{CELL}h-{wide}z"


def stage(masks: dict[str, list[Tensor]]) -> str:
    """Both, with what each method lights."""
    block = Block()
    rows = range(CHANNELS)
    tall = (
        PITCH * (CHANNELS - 1) + CELL
    )  # a cut goes through all rows, as what lies between them is no darker
    cuts = "".join(f"M{LEFT + CELL * i},{TOP}v{tall}" for i in range(1, POSITIONS))
    everything = torch.ones(IMAGES, CHANNELS, SIDE, SIDE, dtype=torch.bool)
    front, top, right = block.faces(everything)
    lit = [f'<path class="lit" data-of="{name}" d="{"".join(block.faces(m))}"/>'
           for name, two in masks.items() if name != "ws" for m in two]  # fmt: skip
    ((filter_,),) = masks["ws"][0].flatten(1).all(1).nonzero().tolist()
    bottom, side = block.corner(0, 0, POSITIONS)[1], block.corner(IMAGES, CHANNELS, POSITIONS)
    return f"""<svg viewBox="0 0 400 206" role="img" aria-label="Left, a weight: {CHANNELS} filters of {POSITIONS} numbers. Right, an activation: a block of {IMAGES} images, {CHANNELS} channels and {POSITIONS} positions. The numbers that share one mean are filled.">
<g class="weight"><text class="name" x="{LEFT}" y="20"><tspan class="symbol">W</tspan> weight</text><text class="shape" x="{LEFT}" y="38">[C_out, C_in, k_h, k_w]</text>
<path class="cells" d="{"".join(map(row, rows))}"/><path class="lit" data-of="ws" d="{row(filter_)}"/><path class="cuts" d="{cuts}"/>
<text transform="translate({LEFT - 10} {TOP + 54}) rotate(-90)" class="mid">filters</text><text class="mid" x="{LEFT + 58}" y="{TOP + 5 * PITCH + CELL + 17}">numbers of a filter</text></g>
<g class="way"><path d="M159,118h38m-5,-4l5,4l-5,4"/><text class="mid" x="178" y="108">convolve</text></g>
<g class="activation"><text class="name" x="{block.x:g}" y="20"><tspan class="symbol">x</tspan> activation</text><text class="shape" x="{block.x:g}" y="38">[B, C, H·W]</text>
<path class="cells" d="{front}{top}{right}"/>{"".join(lit)}<path class="shade above" d="{top}"/><path class="shade beside" d="{right}"/><path class="cuts" d="{block.grid()}"/>
<text transform="translate({block.x - 10:g} {block.y + 50:g}) rotate(-90)" class="mid">positions, H·W</text><text class="mid" x="{block.x + 48:g}" y="{bottom + 17:g}">channels, C</text><text x="{side[0] - 14:g}" y="{side[1] + 19:g}">images, B</text></g>
</svg>"""


# ## What is chosen

METHODS = {
    "ws": ("WS", "one filter", "<b>Weight Standardization averages weights:</b> all numbers of one filter, here nine, in general C_in · k_h · k_w. It needs no image, and no image changes it. It is a layer norm with filters in place of images."),
    "bn": ("BN", "one channel, all images", "<b>Batch norm averages activations:</b> a channel’s, over all images of the batch and all positions."),
    "ln": ("LN", "one image, all channels", "<b>Layer norm averages activations:</b> an image’s, over all channels and positions. What WS does with the numbers of a filter, it does with those of an image."),
    "in": ("IN", "one image, one channel", "<b>Instance norm averages activations:</b> the positions of one channel in one image."),
    "gn": ("GN", "one image, some channels", f"<b>Group norm averages activations:</b> an image’s, over a group of channels and all positions. Here there are {GROUPS} groups."),
    "bcn": ("BCN", "BN’s, then GN’s", "<b>Batch-channel norm averages activations, twice:</b> first as batch norm does (pale), then what comes out, as group norm does."),
}  # fmt: skip


def choice(name: str, masks: list[Tensor]) -> str:
    short, what, _ = METHODS[name]
    count = ", ".join(str(int(mask.sum())) for mask in masks)
    checked = " checked" if name == "ws" else ""
    return f'<label><input type="radio" name="axes" value="{name}"{checked}><b>{short}</b> <span>{what}</span> <span class="count">{count}</span></label>'


def axes() -> str:
    masks = shares()
    activations = "".join(choice(name, two) for name, two in masks.items() if name != "ws")
    said = "".join(f'<p data-of="{name}">{words}</p>' for name, (*_, words) in METHODS.items())
    return f"""<section class="axes" data-search-exclude>
<fieldset><legend>Which numbers share a mean?</legend>
<p class="kind">of the weight <span class="count">numbers</span></p>{choice("ws", masks["ws"])}
<p class="kind">of an activation</p>{activations}</fieldset>
<div class="stage">{stage(masks)}<div class="words">{said}</div></div>
</section>"""


# ## One filter


def show(value: float) -> str:
    """Two decimals, and no minus before what is zero with them."""
    text = f"{value:.2f}"
    return text.lstrip("-") if not float(text) else text.replace("-", "−")


UNIT, MIDDLE, HEIGHT = 36, 92, 184  # pixels: one, and the zero of the scale


def bars(raw: Tensor) -> str:
    """Nine numbers as marks over and under zero. Each knows where it is, and all know where their mean is and how far they spread: the sheet takes the steps."""
    mean, std = raw.mean(), raw.std(correction=0)
    marks = []
    for k, value in enumerate(raw):
        x = f"{100 * (k + 0.5) / POSITIONS:.2f}%"
        marks.append(f'<g style="--w:{value:.3f}"><line x1="{x}" x2="{x}" y2="-{UNIT}"/><circle cx="{x}" r="4.5"/></g>')  # fmt: skip
    ticks = "".join(
        f'<line class="tick" x2="100%" y1="{-UNIT * n}" y2="{-UNIT * n}"/><text x="-8" y="{-UNIT * n + 4}">{show(n).removesuffix(".00")}</text>'
        for n in range(-2, 3)
    )
    return f"""<svg class="bars" height="{HEIGHT}" aria-hidden="true" style="--mean-at:{mean:.3f};--std-at:{std:.3f}"><svg y="{MIDDLE}" overflow="visible">{ticks}<rect class="band" width="100%" y="-{UNIT}" height="{2 * UNIT}"/>{"".join(marks)}<line class="mean" x2="100%"/></svg></svg>"""


def steps() -> str:
    """The filter that the first part lights: as it is, its statistics, less its mean, and divided by its standard deviation."""
    raw = weight()[-1].flatten()
    mean, std = raw.mean(), raw.std(correction=0)
    hat = weight_standardization(weight())[-1].flatten()
    rows = [raw, raw - mean, hat]
    heads = ("<i>W</i>", "<i>W</i> − <i>μ</i>", "<i>Ŵ</i>")
    body = "".join(
        f'<tr data-row="{n}"><th scope="row">{head}</th>{"".join(f"<td>{show(v)}</td>" for v in values.tolist())}'
        f"<td>{show(values.mean().item())}</td><td>{show(values.std(correction=0).item())}</td></tr>"
        for n, (head, values) in enumerate(zip(heads, rows, strict=True), 1)
    )
    names = ("<i>W</i>", "<i>μ</i>, <i>σ</i>", "− <i>μ</i>", "÷ <i>σ</i>")
    choices = "".join(
        f'<label><input type="radio" name="step" value="{n}"{" checked" if n == 1 else ""}><span>{name}</span></label>'
        for n, name in enumerate(names, 1)
    )
    said = (
        "The nine numbers of the filter: a row of <code>flat</code>.",
        f"Their mean <i>μ</i> is {show(mean.item())}, the line; they spread by <i>σ</i> = {show(std.item())} to either side, the band.",
        "Less the mean, they are centered on zero. Whatever was added to all nine is gone.",
        f"Divided by √(<i>σ</i>² + <i>ε</i>), they spread by {show(hat.std(correction=0).item())}. Whatever all nine were multiplied by is gone, but for <i>ε</i>.",
    )
    return f"""<section class="steps" data-search-exclude>
<fieldset><legend>That filter, in four steps</legend>{choices}</fieldset>
<table class="filter"><caption>The filter as it is, less its mean, and standardized</caption>
<thead><tr><td></td><td colspan="{POSITIONS}">{bars(raw)}</td><th scope="col">mean</th><th scope="col">std</th></tr></thead><tbody>{body}</tbody></table>
<p class="source">The last filter of <code>{MADE.split(chr(10))[1]}</code>, after <code>{MADE.split(chr(10))[0]}</code>: off center on purpose.</p>
</section>
<div class="words" data-search-exclude>{"".join(f'<p data-of="{n}">{words}</p>' for n, words in enumerate(said, 1))}</div>"""


def main(target: str) -> None:
    path = Path(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{axes()}\n{steps()}\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
