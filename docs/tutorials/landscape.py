# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Loss landscape
#
# Why should it help to standardize weights? Because, its authors argue, the loss becomes **smoother** in them: the Lipschitz constants of the loss
# and of its gradient fall ([@qiao2019micro]). The argument is modelled on that of [@santurkar2018how] for BatchNorm. Does it?
#
# *16 minutes. It helps to know [why smoothness should matter](../annotated/standardization.md#why-should-it-help), and that a second derivative says how fast a slope changes.*

# %% alt="Ratios of four measures, a dot for each seed. In beta and the relative eigenvalue, WS with GroupNorm and centering alone lie below one, scaling alone and WS with BatchNorm near one. In loss range and predictiveness the seeds of GroupNorm lie on both sides. WS with BCN lies above one everywhere." tags=["draws"]
# %config InlineBackend.figure_formats = ["svg"]
import json
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import display
from torch import nn
from torch.nn import functional as F

from labml_ws import Conv2d
from labml_ws.experiment import intervals, plots, record
from labml_ws.experiment.cifar10 import channel_stats, load, normalize
from labml_ws.experiment.landscape import along_gradient, loss_surface, top_eigenvalue
from labml_ws.experiment.vgg import VGG

plt.style.use("labml_ws.experiment.house")
torch.set_num_threads(1)  # the same digits at each run

runs = {}
for run in record.read("methods"):
    if not run.diverged:
        runs.setdefault(run.net, {})[run.config.seed] = run


def through(run, measure):
    return np.array([abs(row[measure]) for row in run.kind("measure")])


def at_equal_loss(net, other, measure):
    ratios = []
    for seed in sorted(runs[net].keys() & runs[other].keys()):
        pair = runs[net][seed], runs[other][seed]
        curves = [(through(r, "batch_loss")[1:], through(r, measure)[1:]) for r in pair]
        low, high = max(x.min() for x, _ in curves), min(x.max() for x, _ in curves)
        losses = np.linspace(low, high, 5)
        there = [np.interp(losses, x[x.argsort()], y[x.argsort()]) for x, y in curves]
        ratios.append(np.exp(np.log(there[0] / there[1]).mean()))
    return ratios


compared = {
    "WS + GN / GN": ("ws-gn", "gn"),
    "centering only / GN": ("center-gn", "gn"),
    "scaling only / GN": ("scale-gn", "gn"),
    "WS + BN / BN": ("ws-bn", "bn"),
    "WS + BCN / BCN": ("ws-bcn", "bcn"),
}
equal = ("loss_range", "predictiveness", "beta", "relative_eigenvalue")


def smaller(pair):
    """How many of the four measures are smaller with WS; then each with its ratio, interval and verdict."""
    words, confirmed = [], 0
    for measure in equal:
        found = intervals.interval(np.log(at_equal_loss(*pair, measure)).tolist())
        verdict = intervals.verdict(found, "less")
        confirmed += verdict == "confirmed"
        words.append(f"{measure.replace('_', ' ')} × {found.ratio}, {verdict}")
    return f"smoother in {confirmed} of {len(equal)} measures**: {'; '.join(words)}"


display(
    plots.InShort(
        [
            f"**With GroupNorm, WS is {smaller(('ws-gn', 'gn'))}.",
            f"**With BatchNorm it is {smaller(('ws-bn', 'bn'))}.",
            "**As a theorem, for half of WS.** Subtracting the mean never makes the loss rougher, [whatever the weights](#what-the-proof-says); for dividing by the standard deviation there is no such theorem.",
        ],
        "that a network is better *because* it is smoother. × is the measure with WS over that without, at equal loss, with its 95 % interval over three seeds; smaller is smoother, and *undecided* is an interval with 1 in it. WS + BCN is in the figure without a verdict, as it also differs from BCN in its statistics. A small VGG, four epochs, one learning rate; on the digits, [at a higher rate](#in-numbers), some measures say the opposite. What the four measures are is said [there](#in-numbers), too.",
    )
)
figure, axes = plt.subplots(2, 2, figsize=(7.2, 4.6), sharex=True, sharey=True)
for place, pair in enumerate(compared.values()):
    for axis, measure in zip(axes.flat, equal, strict=True):
        ratios = at_equal_loss(*pair, measure)
        axis.plot(ratios, [place] * len(ratios), "o", color=plots.COLORS[pair[1]], markersize=5)
for axis, measure in zip(axes.flat, equal, strict=True):
    axis.axvline(1, color="black", linewidth=0.8)
    axis.set(title=measure.replace("_", " "), xlabel="ratio at equal loss")
    plots.plain_log(axis.xaxis, base=2)
axes[0, 0].set_yticks(range(5), compared)
axes[0, 0].invert_yaxis()
plots.panels(figure)
plt.show()
nets = sorted({net for pair in compared.values() for net in pair})
plots.Provenance([run for net in nets for run in runs[net].values()])

# %% [markdown]
# A dot is a seed. [How it was compared](#at-equal-loss), and what the measures are, comes below.
#
# The proof takes one network at one point, with a step of WS and without it. A reader wants to know about two networks, each trained in its own way. These are
# two questions, and the answers differ. So first the proof, computed exactly on a layer that is small enough, and then networks, on digits and in the records of CIFAR-10.

# %%
digits = load("digits")
images = normalize(digits.train_x, *channel_stats(digits.train_x))
images = F.avg_pool2d(images, 4)  # [N, 3, 8, 8], the size that they came in
labels = digits.train_y
x, y = images[:128], labels[:128]

# %% [markdown]
# ## What the proof says
#
# *Curvature* is how fast the slope changes from place to place. Of a loss with many weights it is a matrix, the **Hessian** $H$: row $i$, column $j$ says how the derivative by weight $i$ changes when weight $j$ moves. Its
# eigenvalue furthest from zero is the curvature in the direction where there is most of it. The same loss has one Hessian as a function of $W$, another as a function of the centered weight, a third as a function of $\hat W$.
#
# WS is two steps, $\dot W = \code{w}{W} - \mu$ and $\code{w_hat}{\hat W} = \dot W / \sigma$, here without $\epsilon$. For each one, compare the curvature of the loss as a function of what goes in with that as a function of what comes
# out: the same weights, the same batch, the same loss. The first step is linear. On a filter of $I$ weights it is the projection $P = \mathrm{Id} - \frac{1}{I} \mathbf 1 \mathbf 1^{\top}$, with the identity matrix $\mathrm{Id}$ and a vector of ones $\mathbf 1$, so
# from $\code{before}{H}$, the Hessian by $\dot W$, it makes $\code{after}{PHP}$, the Hessian by $\code{w}{W}$, and
#
# \begin{align}
# \lVert \code{after}{PHP} \rVert_F^2 &= \lVert \code{before}{H} \rVert_F^2 - \frac{2}{I} \sum_i \Big(\sum_j \code{before}{H}_{ij}\Big)^2 \\
# &\quad + \frac{1}{I^2} \Big(\sum_{i,j} \code{before}{H}_{ij}\Big)^2 \\
# &\le \lVert \code{before}{H} \rVert_F^2.
# \end{align}
#
# A projection makes no vector longer, so no eigenvalue of $\code{after}{PHP}$ is further from zero than the largest of $\code{before}{H}$. That holds for any network and any weights. The second step is not linear and
# has no such bound: it takes out a direction, but what is left is multiplied by $1/\sigma$, and a curvature by about $1/\sigma^2$.
#
# Four filters of 36 weights, with a fixed layer before them and GroupNorm behind, have a Hessian of $144 \times 144$, which autograd can write out. We take it by $\code{w_hat}{\hat W}$, by $\dot W$ and by
# $\code{w}{W}$ while the layer is trained, and check the identity filter by filter.
#
# * `before`: a filter's part of the Hessian, before centering; `after`: the same part, after it


# %%
def center(w):
    return (w.view(4, 36) - w.view(4, 36).mean(dim=1, keepdim=True)).flatten()


def scale(w):
    w = w.view(4, 36)
    return (w * torch.rsqrt(w.square().mean(dim=1, keepdim=True))).flatten()


def loss(w_hat):  # [144], the standardized weight of all four filters
    z = F.relu(norm(F.conv2d(inputs, w_hat.view(4, 4, 3, 3), padding=1)))
    return F.cross_entropy(head(F.avg_pool2d(z, 2).flatten(1)), y[:64])


torch.manual_seed(0)
first = nn.Conv2d(1, 4, 3, padding=1).double()
norm, head = nn.GroupNorm(2, 4).double(), nn.Linear(64, 10).double()
with torch.no_grad():
    inputs = F.relu(first(x[:64, :1].double()))  # [64, 4, 8, 8]
weight = (torch.randn(4 * 36, dtype=torch.float64) * (2 / 36) ** 0.5).requires_grad_()
optimizer = torch.optim.SGD([weight, *norm.parameters(), *head.parameters()], 0.05)

steps, largest, deviation = range(0, 61, 20), [], []
for step in range(61):
    if step in steps:
        w = weight.detach()  # [144], the raw weight of all four filters
        hessians = [
            torch.func.hessian(loss)(scale(center(w))),
            torch.func.hessian(lambda w: loss(scale(w)))(center(w)),
            torch.func.hessian(lambda w: loss(scale(center(w))))(w),
        ]
        largest.append([torch.linalg.eigvalsh(h).abs().max().item() for h in hessians])
        for rows in torch.arange(4 * 36).split(36):
            # [36, 36] each
            before, after = (h[rows][:, rows] for h in hessians[1:])
            expected = before.square().sum() - 2 / 36 * before.sum(dim=1).square().sum()
            expected += before.sum().square() / 36**2
            deviation.append(abs(after.square().sum().item() / expected.item() - 1))
    optimizer.zero_grad()
    loss(scale(center(weight))).backward()
    optimizer.step()
in_hat, in_dot, in_raw = np.array(largest).T
factor = 1 / center(weight.detach()).square().mean().item()
print(f"the identity holds to {max(deviation):.0e}")
for name, ratio in (("centering", in_raw / in_dot), ("scaling", in_dot / in_hat)):
    print(f"{name + ':':10} largest eigenvalue times {min(ratio):.2f} to {max(ratio):.2f}")
print(f"1/sigma^2, the mean of four filters: {factor:.1f}")


def top(function, point):
    return torch.linalg.eigvalsh(torch.func.hessian(function)(point)).abs().max().item()


def of_raw(w):
    return loss(scale(center(w)))


def in_lengths(u, length):
    return of_raw(u * length)


w = weight.detach().view(4, 36)
for shift in (0, 0.4, 3):
    shifted = w + shift * w.std(dim=1, correction=0, keepdim=True)
    length = shifted.norm(dim=1).repeat_interleave(36)
    shifted = shifted.flatten()
    relative = top(partial(in_lengths, length=length), shifted / length)
    print(f"plus {shift:3} sigma: largest {top(of_raw, shifted):.2f}, relative {relative:.1f}")

# %% alt="Largest eigenvalue of three Hessians over 60 steps, on a logarithmic scale. That in the standardized weight is lowest. That in the centered weight is about twenty times higher. That in the raw weight lies between them, at about half the highest." tags=["draws", "computed"]
figure, axis = plt.subplots()
axis.plot(steps, in_dot, "o-", label="in Ẇ, centered")
axis.plot(steps, in_raw, "o-", label="in W, raw")
axis.plot(steps, in_hat, "o-", color="C4", label="in Ŵ, standardized")
axis.set(xlabel="step", ylabel="largest |eigenvalue|")
plots.plain_log(axis.yaxis)
plots.label_ends(axis)
plt.show()

# %% [markdown]
# The half of the claim that is a theorem shows at every point: centering takes away about half of the largest curvature. The half that is no theorem shows as well: scaling multiplies
# it by about $1/\sigma^2$.
#
# **Is that a rougher loss, or only another unit?** Take a filter in front of WS or BatchNorm and halve all its weights. The layer computes what it did before, since its scale is taken out again, so nothing about the function has changed. But whatever the loss does when the filter
# turns, it now does within half the distance: slopes are twice as steep, and the curvature is four times as large. (In front of GroupNorm the other filters of its group must be halved with it.) Here that is nearly all that scaling does. A step of the optimizer, too, is worth
# more or less according to how long $W$ is. So *two networks* must be compared [in lengths of their filters](../annotated/landscape.md), too; that is what *relative* means below.
#
# It makes up for length alone. WS is blind to the *mean* of a filter as well, and there *relative* is not: the same network with a constant added to each filter has longer filters, and so a larger relative curvature.
# Its absolute curvature is the same, as the last lines show.
#
# ## Two surfaces
#
# Now two networks: small VGGs on the digits, with GroupNorm and with WS and GroupNorm, each trained until its loss on one batch falls below 0.1. The surface is the loss on a plane through
# the trained weights, along two random directions, each of them as long as the weights, filter by filter: the *filter normalization* of [@li2018visualizing]. A line for a loss of 0.3, 1, 2, 3 and 4, for the first of the four pairs.


# %%
@torch.no_grad()
def batch_loss(net):
    return F.cross_entropy(net(x), y).item()


def trained(conv, rate, seed):
    torch.manual_seed(seed)
    net = VGG(((8, 8), (16, 16), (32, 32)), conv, partial(nn.GroupNorm, 4))
    optimizer = torch.optim.SGD(net.parameters(), rate, momentum=0.9)
    while batch_loss(net) > 0.1:
        batch = torch.randint(len(images), (64,))
        optimizer.zero_grad()
        F.cross_entropy(net(images[batch]), labels[batch]).backward()
        optimizer.step()
    return net


def name_lines(axis, lines, at, heights):
    """The loss at each line of a contour map, where the line crosses the vertical through the middle."""
    rising = heights[len(at) // 2 :, len(at) // 2]
    up = np.interp(lines.levels, rising, at[len(at) // 2 :], left=np.nan, right=np.nan)
    axis.clabel(lines, fontsize=11, manual=[(0, y) for y in up if y < 0.9])


settings = [(0.02, 0), (0.02, 1), (0.05, 0), (0.05, 1)]  # learning rate and seed
pairs = [{"gn": trained(nn.Conv2d, *s), "ws-gn": trained(Conv2d, *s)} for s in settings]

# %% alt="Two contour maps of the loss, without WS and with WS. The lines of equal loss are closer to the center without WS." tags=["draws", "computed"]
figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.7), sharey=True)
at = np.linspace(-1, 1, 21)
for axis, (name, net) in zip(axes, pairs[0].items(), strict=True):
    heights = loss_surface(net, x, y, points=21).numpy()
    color = plots.look(name)["color"]
    lines = axis.contour(at, at, heights, [0.3, 1, 2, 3, 4], colors=color, linewidths=1)
    name_lines(axis, lines, at, heights)
    axis.plot(0, 0, "+", color="black")
    axis.set(title=plots.look(name)["label"], aspect="equal", xlabel="filter lengths")
    axis.set(xticks=[-1, 0, 1], yticks=[-1, 0, 1])
plots.panels(figure)
plt.show()


# %% [markdown]
# ## In numbers
#
# A plane has two of thousands of directions, and not those that an optimizer takes. [`along_gradient`][labml_ws.experiment.landscape.along_gradient] steps against the gradient, as Santurkar et al. do: *loss range* is the span of the losses
# that it meets, *predictiveness*, which is their word, how far on average the gradient there is from the gradient here (so the *smaller* it is, the better the gradient here predicts the one there), and *beta* the largest such distance divided by the length of its step. [`top_eigenvalue`][labml_ws.experiment.landscape.top_eigenvalue] is the largest curvature.
# Two learning rates, two seeds. Below 1, the network with WS is the smoother.


# %%
def measures(net):
    path, relative = (along_gradient(net, x, y, relative=r) for r in (False, True))
    return {
        "loss on the batch": batch_loss(net),
        "loss half a length away": loss_surface(net, x, y, radius=0.5, points=4).mean().item(),
        "loss range": path.loss_range,
        "predictiveness": path.distances.mean().item(),
        "beta": path.beta,
        "relative beta": relative.beta,
        "relative eigenvalue": abs(top_eigenvalue(net, x, y, 10, relative=True)),
    }


found = [{name: measures(net) for name, net in pair.items()} for pair in pairs]
print("with WS / without       " + " ".join(f"{f'rate {r}':>10}" for r, _ in settings))
print("                        " + " ".join(f"{f'seed {s}':>10}" for _, s in settings))
for measure in found[0]["gn"]:
    ratios = [pair["ws-gn"][measure] / pair["gn"][measure] for pair in found]
    print(f"{measure:24}" + " ".join(f"{ratio:10.2f}" for ratio in ratios))

# %% [markdown]
# The plane above agrees with the claim; of the four pairs' planes (*loss half a length away*) one does not. The other numbers depend on the learning rate: at the lower one the network with WS is the smoother, at the higher one some say so and some the opposite. A landscape
# belongs to a way of training as much as to an architecture.
#
# ## Through training, on CIFAR-10
#
# Four of these measures on one batch of 128 training images, at every hundredth step of the recorded runs: a quarter-width VGG with GroupNorm, BatchNorm and BCN, each without WS (dashed) and with it, all at one learning rate. A
# thin line is a seed, a thick one their geometric mean. BCN without WS takes the statistics of its batch, with WS it takes running estimates, each as it was meant: that pair differs in two things.


# %% alt="Four rows of three panels, for GroupNorm, BatchNorm and BCN: loss range, beta, relative beta and relative eigenvalue over 500 steps, with and without WS. With GroupNorm the line with WS is the lower one, with BatchNorm the two lie together, with BCN the line with WS is the upper one." tags=["draws"]
pairs = (("gn", "ws-gn"), ("bn", "ws-bn"), ("bcn", "ws-bcn"))
shown = ("loss_range", "beta", "relative_beta", "relative_eigenvalue")
figure, axes = plt.subplots(4, 3, figsize=(7.2, 9), sharex=True, sharey="row")
for row, measure in zip(axes, shown, strict=True):
    for axis, pair in zip(row, pairs, strict=True):
        for net in pair:
            values = [through(run, measure) for run in runs[net].values()]
            steps = 100 * np.arange(len(values[0]))
            axis.plot(steps, np.transpose(values), **plots.look(net) | {"linewidth": 0.5})
            axis.plot(steps, np.exp(np.log(values).mean(axis=0)), **plots.look(net))
        axis.set_title(f"{measure.replace('_', ' ')}: {plots.look(pair[0])['label']}")
        axis.set_xlabel("step" if measure == shown[-1] else "")
    plots.plain_log(row[0].yaxis)
plots.panels(figure)
plt.show()
plots.Provenance([run for pair in pairs for net in pair for run in runs[net].values()])

# %% [markdown]
# The surfaces around the four final networks of seed 0 with GroupNorm and BatchNorm, over 500 of their training images. A thin line for every quarter of a unit of the loss, a thick one for every half.

# %% alt="Four contour maps of the loss on CIFAR-10, around the final weights. With GroupNorm the valley is deeper with WS than without, and rises as fast. With BatchNorm the two look alike." tags=["draws"]
figure, axes = plt.subplots(2, 2, figsize=(4.8, 5.2), sharex=True, sharey=True)
for axis, net in zip(axes.flat, ("gn", "ws-gn", "bn", "ws-bn"), strict=True):
    found = json.loads((runs[net][0].folder / "surface.json").read_text())
    at = np.linspace(-found["radius"], found["radius"], len(found["losses"]))
    color = plots.look(net)["color"]
    axis.contour(at, at, found["losses"], np.arange(1.25, 4, 0.5), colors=color, linewidths=0.8)
    bold = axis.contour(at, at, found["losses"], np.arange(1, 4, 0.5), colors=color)
    losses = np.array(found["losses"])
    name_lines(axis, bold, at, losses)
    middle, edge = losses[8, 8], np.mean(losses[4:-4:8, 4:-4:8])
    label = plots.look(net)["label"]
    print(f"{label:8} in the middle {middle:.2f}, half a length each way {edge:.2f}")
    axis.set(title=label, aspect="equal", xlabel="filter lengths")
    axis.set(xticks=[-1, 0, 1], yticks=[-1, 0, 1])
plots.panels(figure)
plt.show()
plots.Provenance([runs[net][0] for net in ("gn", "ws-gn", "bn", "ws-bn")])

# %% [markdown]
# All four rise by about as much on half a length: the valleys differ in how deep they are, not in how steep.
#
# ## At equal loss
#
# After equal steps the networks are not equally good, and one that learns badly may sit where the loss is steep, or where it is flat. So compare them where they are equally good, too: at five losses that both of a pair
# pass on their way, interpolated between snapshots, the untrained network left out. A dot is a seed: the measure with WS over that without, as a geometric mean over the five losses. For GroupNorm
# each of the two steps was recorded alone as well.


# %% tags=["draws"]
rows = []
for name, pair in compared.items():
    ratios = [np.exp(np.log(at_equal_loss(*pair, m)).mean()) for m in equal]
    accuracy = [np.mean([run.accuracy for run in runs[net].values()]) for net in pair]
    cells = [*(f"{ratio:.2f}" for ratio in ratios), *(f"{100 * one:.1f} %" for one in accuracy)]
    rows.append([name, *cells])
heads = [*(measure.replace("_", " ") for measure in equal), "accuracy", "of the other"]
plots.Table("At equal loss: ratios, means of the seeds", heads, rows)

# %% [markdown]
# ## What it shows, and what it doesn't
#
# **The theorem holds**, for centering, exactly, on any weights. For scaling there is none: curvature is multiplied by about $1/\sigma^2$. In the small example that is only a change of the unit of length.
#
# Between two networks it is a matter of measurement. The claim is that the one with WS is smoother: [a ratio at equal loss](#at-equal-loss) below 1, in the mean of the logarithms over the seeds. ([How a verdict comes about](recorded_run.md#verdicts).)


# %% tags=["draws"]
claims = []
for name, pair in compared.items():
    # BCN with WS has estimates, without it the batch's statistics: two differences, one measurement.
    confounded = pair == ("ws-bcn", "bcn")
    for measure in equal:
        ratios = None if confounded else np.log(at_equal_loss(*pair, measure)).tolist()
        claims.append((f"{name}: {measure.replace('_', ' ')}", ratios, "less"))
intervals.verdicts("With WS it is smaller, at equal loss", claims, ratios=True)

# %% [markdown]
# * **With GroupNorm** two of four measures confirm it, on CIFAR-10 at this scale: beta and the largest relative curvature are little more than half as large with WS. Loss range and predictiveness are undecided: their intervals reach from a fraction to a multiple. Of the
#   two steps, centering alone confirms the curvature; for the rest, and for scaling alone, three seeds say nothing.
# * **With BatchNorm** no measure confirms it, and the loss range contradicts it, if only just: of sixteen such intervals one may well have missed. And yet the network with WS is [the better one](recorded_run.md#verdicts): so WS must do something else there. From the hundredth step on BatchNorm alone
#   has, on average, a smaller beta and a smaller relative curvature than WS with GroupNorm.
# * **With BCN** what WS does alone is not measured. WS with running estimates is rougher than BCN with the statistics of its batch, in every measure and seed; how much of that comes from the estimates, these runs don't say.
# * A Lipschitz constant is a maximum over all points. These are a few points on the path of one small network without skip connections, trained for four epochs at one learning rate. That the smoother network
#   is the better one with GroupNorm does not say that it is better *because* it is smoother.
