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
# # The recorded runs
#
# Every number about training on this site comes from a run whose record lies in `docs/runs/`: the command, the settings, a fingerprint of the data,
# versions, hardware, and the metrics as they were written. This page reads those files; its tables and figures are not typed by hand.

# %%
# %config InlineBackend.figure_formats = ["svg"]
import json
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt

plt.style.use("labml_ws.house")

runs = next(path for path in map(Path, ("../runs", "docs/runs")) if path.exists())
records, metrics = {}, {}
for file in sorted(runs.glob("*/config.json")):
    name = file.parent.name
    records[name] = json.loads(file.read_text())
    metrics[name] = [
        json.loads(line) for line in (file.parent / "metrics.jsonl").read_text().splitlines()
    ]
print(", ".join(records))

# %% [markdown]
# ## What was run
#
# `full-width` has the [default settings](../annotated/experiment.md) in all but the number of epochs: up to 512 channels, Adam at a constant learning rate
# of 2.5e-4, batches of 64. Three epochs say that it learns, not how far it would get. Its weights (59 MB) are not kept.
#
# `quarter-width` has a quarter of the channels, a sixteenth of the weights, the batch's own statistics in BCN's first half, and a one-cycle schedule (the learning rate rises to its peak and falls to
# nearly zero). It is small enough to keep its weights in the repository, and is the network that
# [Weights before and after](weights.md) opens. Each ran once, with one seed: read the accuracies as examples, not as comparisons.
#
# `make results DATA=folder` runs what is not recorded yet; remove a folder of `docs/runs/` first to repeat its run.

# %% tags=["hide-code"]
for name, record in records.items():
    data, hardware = record["data"], record["hardware"]
    print(name)
    command = textwrap.wrap(record["command"], 76, break_on_hyphens=False)
    print("  command  " + " \\\n             ".join(command))
    print(
        f"  data     {data['source']}: {data['train']:,} training and {data['test']:,} test images"
    )
    print(f"           {record['config']['note'] or 'as it came'}")
    print(f"           fingerprint {data['fingerprint']}")
    print(
        f"  machine  {hardware['processor']}, {hardware['device']}, {hardware['threads']} threads"
    )
    print(
        f"  with     {', '.join(f'{package} {number}' for package, number in record['versions'].items())}"
    )
    print(f"  started  {record['started']}\n")

# %% [markdown]
# ## How it went
#
# Left, the loss of single training batches: cross-entropy with the natural logarithm, hence *nats*. Right, after every epoch, the accuracy on the 10,000
# test images, which are neither augmented nor trained on.

# %% alt="Left: training loss against epochs for each recorded run, falling. Right: test accuracy after each epoch, rising." tags=["wide"]
figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.2))
for name, rows in metrics.items():
    steps = [row for row in rows if row["kind"] == "step"]
    epochs = [row for row in rows if row["kind"] == "epoch"]
    length = max(row["step"] for row in steps)
    time = [row["epoch"] - 1 + row["step"] / length for row in steps]
    left.plot(time, [row["loss"] for row in steps], linewidth=0.8)
    right.plot(
        [row["epoch"] for row in epochs],
        [row["test_accuracy"] for row in epochs],
        "o-",
        label=name,
    )
left.set(xlabel="epoch", ylabel="training loss (nats)", ylim=(0, None))
right.set(xlabel="epoch", ylabel="test accuracy")
right.legend(loc="lower right", fontsize=9)
plt.show()

# %% [markdown]
# ## Epoch by epoch
#
# The training columns are averages over the epoch, of augmented images and of a network that is still changing; that is
# why the training accuracy starts below the test accuracy. The speed is that of a machine shared with other work.

# %% tags=["hide-code"]
for name, rows in metrics.items():
    print(f"{name}\n  epoch  train loss  train accuracy  test accuracy  images/s")
    for row in rows:
        if row["kind"] == "epoch":
            print(
                f"  {row['epoch']:5}  {row['train_loss']:10.3f}  {row['train_accuracy']:14.1%}"
                f"  {row['test_accuracy']:13.2%}  {row['images_per_second']:8.0f}"
            )
