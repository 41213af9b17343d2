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
# # What it costs
#
# WS is work on weights: so much per step, however many images there are. What should it cost at least, what does it cost here and in other forms, and when
# does it not matter?
#
# *6 minutes. It helps to know [that WS is a layer norm of the weight](../annotated/standardization.md#labml_ws.standardization.standardize).*

# %% alt="One panel: time of a training step over that of the plain convolution against the images per step, from 1 to 32, for the layer of this project and for the floor. Both lines come down towards 1." tags=["draws"]
# %config InlineBackend.figure_formats = ["svg"]
import json

import matplotlib.pyplot as plt
from IPython.display import HTML, display

from labml_ws.experiment.plots import InShort, Table, label_ends
from labml_ws.experiment.record import records

plt.style.use("labml_ws.experiment.house")

folder = records() / "bench"
bench = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def rows(table, device="cpu"):
    return [row for row in bench[device]["rows"] if row["table"] == table]


def cell(row):
    return f"{row['ratio']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"


def provenance(device="cpu"):
    about = bench[device]
    words = [
        f"docs/runs/bench/{device}.json: {about['processor']}, {about['threads']} threads",
        f"torch {about['versions']['torch']}",
        about["date"],
    ]
    if about["quick"]:
        words.append(
            "a quick trial on a busy machine, to be replaced: read nothing from its times"
        )
    return HTML(f'<p class="provenance">{"; ".join(words)}</p>')


def grid(title, table, device="cpu"):
    found = rows(table, device)
    places = list(dict.fromkeys(row["row"] for row in found))
    forms = list(dict.fromkeys(row["form"] for row in found))[1:]
    cells = {(row["row"], row["form"]): cell(row) for row in found}
    display(Table(title, forms, [[p, *(cells.get((p, f), "") for f in forms)] for p in places]))


def time(table, place, form="ours"):
    found = {(row["row"], row["form"]): cell(row) for row in rows(table)}
    return found[place, form]


figure, axis = plt.subplots(figsize=(4.8, 3))
found = rows("batch")
for form, label in (("ours", "WS"), ("floor", "floor")):
    line = [row for row in found if row["form"] == form]
    images = [int(row["row"]) for row in line]
    axis.fill_between(
        images, [row["low"] for row in line], [row["high"] for row in line], alpha=0.2
    )
    axis.plot(images, [row["ratio"] for row in line], label=label)
axis.axhline(1, color="gray", linewidth=0.8)
axis.set_xscale("log", base=2)
axis.set_xticks(images, [str(n) for n in images])
axis.set_xlabel("images per step")
axis.set_ylabel("time ÷ plain")
label_ends(axis)
counted = bench["cpu"]["traffic"]
ours, others = counted["ours"], counted["authors"]
largest = str(max(images))
display(
    InShort(
        [
            f"**With one image per step a convolution of 256 to 256 channels on 8×8 positions takes {time('batch', '1')} times as long** with WS as without, with {largest} images {time('batch', largest)} times.",
            f"**It moves what it must**: {ours['reads']:.0f} times the size of a weight read and {ours['writes']:.0f} written, in {ours['kernels']:.0f} kernels; the authors' code {others['reads']:.0f} and {others['writes']:.0f}, in {others['kernels']:.0f}.",
            "**At inference it costs nothing**, once it is [folded in][labml_ws.convert.fold].",
        ],
        "a GPU. These are ratios on one CPU, of one convolution; in brackets the quartiles."
        + (
            " This record is a quick trial on a busy machine: read nothing from its times."
            if bench["cpu"]["quick"]
            else ""
        ),
    )
)
plt.show()
provenance()

# %% [markdown]
# Every time is a ratio within one run, `make bench`: the forms take turns, each starts from cold caches, and a number is the median over
# the rounds, with the quartiles in brackets.
#
# ## Goals and what came out
#
# For WS the goal is a tenth over the floor, which is [explained below](#where-the-time-goes); for what is shared over micro-batches, for BCN and for whole networks, it is a number
# that was set before: from the plain network's own time to 1.6 times that of a small batch norm.

# %% tags=["draws"]
names = {"weights": "WS", "once": "WS once, 8 micro-batches", "norms": "BCN", "networks": ""}
aims = [
    [
        f"{names[row['table']]} {row['row']}".strip(),
        cell(row),
        f"{row['goal']:.2f}",
        "met" if row["ratio"] <= row["goal"] else f"{row['ratio'] / row['goal'] - 1:.1%} over",
    ]
    for row in bench["cpu"]["rows"]
    if row["goal"]
]
display(Table("Time of a step over that of the plain layer", ["time", "goal", "result"], aims))
provenance()

# %% [markdown]
# **Where a goal is missed, and why.** One convolution, by three percent at most: WS has as many kernels and moves as many bytes as the floor ([counted below](#where-the-time-goes)), so what is left is
# arithmetic, for which there is no waiting at one image. BCN at 64 × 32²: it [moves more memory](#batch-channel-norm-and-whole-networks) than BatchNorm does, being two normalizations, and
# what it saves does not make up for all of that. Whole networks at one and two images: most weights sit in layers of 2² and 4² positions, where even the floor is far above the goal.
# How far, [the last table](#batch-channel-norm-and-whole-networks) shows, with the floor and WS alone in the same network; the rest is BCN, whose small kernels cost the same at
# one image as at sixteen. **If you train with one or two images per step, gather their gradients** [within `standardize_once`](#once-for-several-micro-batches).

# %% [markdown]
# ## When it matters
#
# The convolution's work grows with the images and that of WS doesn't. So WS is felt at one or two images per step and on small feature maps, and at a usual batch it is lost in the
# noise: the figure [at the top](#what-it-costs).
#
# With the fan-in both grow together, and with depth as well:

# %% tags=["draws"]
for table, title in (("fan-in", "Fan-in"), ("depth", "Layers in turn, with GroupNorm")):
    grid(f"{title}: time over the plain convolution", table)
provenance()

# %% [markdown]
# ## Where the time goes
#
# Such a kernel computes a handful of operations for each number that it fetches: it waits for memory, and memory traffic is what can be counted. A standardization must read the weight
# and write $\hat W$; backward it must read both the weight and the gradient, and write a gradient. That is five passes over the size of a weight, two and a half copies of it, and it is
# the **floor** of the tables here: a plain step and these passes, with no arithmetic at all.
#
# These are counts, of what each kernel takes and gives, and hold on any machine; a test holds the layers to theirs.

# %% tags=["draws"]
lines = [[form, *(f"{n:g}" for n in values.values())] for form, values in counted.items()]
display(
    Table("Forward and backward, in sizes of the weight", ["kernels", "read", "written"], lines)
)

# %% [markdown]
# And what they take:

# %% tags=["draws"]
grid("One convolution: time over the plain one", "weights")
provenance()

# %% [markdown]
# What a step keeps for backward is the other price: $\hat W$, which the convolution needs, and with it what a form has saved on its way.

# %% tags=["draws"]
first = rows("weights")[0]["row"]
kept = {row["form"]: row["saved"] for row in rows("weights") if row["row"] == first}
saved = [[form, f"{value / 2**20:.2f}"] for form, value in kept.items()]
display(Table(f"Kept for backward beyond weight and input, {first}", ["MiB"], saved))

# %% [markdown]
# ## Once for several micro-batches
#
# Where gradients are gathered, [`standardize_once`](../annotated/once.md) pays the price of WS once for all of them.

# %% tags=["draws"]
grid("Eight micro-batches of one image: time over the plain convolution", "once")
provenance()

# %% [markdown]
# ## Batch-Channel Norm, and whole networks
#
# [BCN](../annotated/batch_channel_norm.md) is two normalizations in one. Compared with `nn.BatchNorm2d` in a training step, 64 images, and last a VGG with WS and BCN compared
# with the same network with BatchNorm, optimizer included.

# %% tags=["draws"]
grid("Normalization: time over BatchNorm", "norms")
provenance()

# %% [markdown]
# Again what the kernels take and give can be counted, now in sizes of the input. (A BatchNorm kernel goes over its input twice, once for the moments, and that counts once here.)

# %%
lines = [
    [form, *(f"{n:g}" for n in values.values())]
    for form, values in bench["cpu"]["norm_traffic"].items()
]
display(
    Table("Forward and backward, in sizes of the input", ["kernels", "read", "written"], lines)
)

# %% tags=["wide"]
grid("Training step: time over the network with BatchNorm", "networks")
provenance()

# %% [markdown]
# ## Page faults: if your numbers jump
#
# On Linux, glibc gives large tensors back to the system when they are freed, and gets them anew, page by page, in the next step. Each page is a fault of a microsecond or so, thousands of them in a
# step of a layer with nine megabytes of weights, and they come and go with what else the process has allocated: ratios then have two values. All tables above are from a process with
# `MALLOC_TRIM_THRESHOLD_` and `MALLOC_MMAP_THRESHOLD_` set to 1000000000 before Python starts, which keeps the memory. It's worth setting for training on a CPU, too. Here is the same layer
# with the allocator as it is:

# %% tags=["draws"]
place = rows("allocator")[0]["row"]
compared = {
    "kept": [row for row in rows("weights") if row["row"] == place],
    "given back": rows("allocator"),
}
lines = [
    [
        f"{row['form']}, memory {how}",
        f"{row['milliseconds']:.1f}",
        cell(row),
        f"{row['faults']:,}",
    ]
    for form in ("plain", "ours", "floor")
    for how, found in compared.items()
    for row in found
    if row["form"] == form
]
display(Table(f"A step, {place}", ["ms", "over plain", "page faults"], lines))
provenance()

# %% [markdown]
# ## On a GPU
#
# `make bench` measures the same tables where there is one. Where none was at hand, all that can be said is an **estimate**: the counted traffic over a memory bandwidth, here 1 TB/s, without
# what it takes to start a kernel (some microseconds each, which small weights will feel more than this) and without what a cache saves. Another bandwidth divides the times.

# %% tags=["draws"]
if "cuda" in bench:
    grid("One convolution: time over the plain one", "weights", "cuda")
    grid("Eight micro-batches of one image", "once", "cuda")
    grid("Normalization: time over BatchNorm", "norms", "cuda")
    grid("Training step: time over the network with BatchNorm", "networks", "cuda")
    display(provenance("cuda"))
else:
    size = 4 * 512 * 512 * 9  # bytes
    estimates = [
        [form, f"{(n['reads'] + n['writes']) * size / 1e12 * 1e6:.0f}", f"{n['kernels']:g}"]
        for form, n in counted.items()
    ]
    heads = ["µs at 1 TB/s", "kernels to start"]
    display(Table("Estimated, not measured: 512→512, 3×3, float32", heads, estimates))
