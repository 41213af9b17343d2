"""One training by several processes, forked from a warm one: what each of them does."""

import os
import signal
import socket
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState, GradientState, PartialState
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn import functional as F

from labml_ws.experiment import cifar10, writing
from labml_ws.experiment.checkpoint import Stopped
from labml_ws.experiment.config import Config, build
from labml_ws.experiment.processes import share_statistics
from labml_ws.experiment.train import Training, train
from labml_ws.once import standardize_once
from tests.experiment import interrupted
from tests.experiment.interrupted import code, warm

KINDS: dict[str, dict[str, Any]] = {
    "bcn": {},
    "bn": {"norm": "bn"},
    "batch": {"estimate": False},
    "gn": {"norm": "gn"},
    "accumulated": {"accumulate": 2},
    "adam": {"optimizer": "adam", "learning_rate": 1e-3},
    "validated": {"validation": 0.2},
}


def config(kind: str, **settings: Any) -> Config:
    defaults = {
        "data": "digits",
        "width": 1 / 16,
        "epochs": 1,
        "batch_size": 8,
        "cpu": True,
        "optimizer": "sgd",
        "learning_rate": 0.01,
        "threads": 1,
        "validation": 0.0,
        "tracker": "none",
        "out": Path(kind),
    }
    return Config(**{**defaults, **KINDS[kind], **settings})


# Five batches of 8, and 19 test images, which two or four can't share equally.
def images() -> cifar10.Images:
    return replace(interrupted.images(40, 19), flip=True)


def again() -> None:
    AcceleratorState._reset_state()
    GradientState._reset_state()


def work(folder: Path, rank: int, processes: int, port: int) -> None:
    """
    Trains each kind, into folders of their names; with two processes also once with a batch that they cannot share, and once
    with a signal to the second of them. In float64, whose sums hardly depend on their order.
    """
    os.chdir(folder)
    said = os.open(f"said-{rank}.txt", os.O_WRONLY | os.O_CREAT)
    os.dup2(said, 1)
    os.dup2(said, 2)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if processes > 1:
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": processes}
        for name, value in (where | {"RANK": rank, "LOCAL_RANK": rank}).items():
            os.environ[name] = str(value)
    PartialState._reset_state()
    torch.set_default_dtype(torch.float64)
    cifar10.normalize = lambda x, mean, std: (x.double() / 255 - mean) / std
    writing.probe = lambda config: {}
    for kind in KINDS:
        again()
        train(config(kind), images())
    if processes == 2:
        again()
        try:
            train(config("bcn", batch_size=7, out=Path("seven")), images())
        except ValueError as error:
            Path(f"seven-{rank}.txt").write_text(str(error))
        stop(rank)
        refused = sharded(rank, once=True)
        Path(f"refused-{rank}.txt").write_text(str(refused))
    if processes < 3:
        torch.save(sharded(rank, once=False), f"sharded-{rank}.pt")
    if processes > 1:
        torch.distributed.destroy_process_group()


def sharded(rank: int, once: bool) -> dict[str, Tensor] | RuntimeError:
    """
    The weights and statistics after five steps of FSDP2 with a share of each batch or, of one process, of the network as it is.
    With `once`, inside `standardize_once`: returns the error.
    """
    processes = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
    torch.manual_seed(0)
    model = build(config("bcn")).train()
    if processes > 1:
        share_statistics(model)
        fully_shard(model, mesh=init_device_mesh("cpu", (processes,)))
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    few = images()
    mean, std = cifar10.channel_stats(few.train_x)
    for first in range(0, 40, 8):
        mine = slice(first + rank * 8 // processes, first + (rank + 1) * 8 // processes)
        x = cifar10.normalize(few.train_x[mine], mean, std)
        try:
            with standardize_once(model) if once else nullcontext():
                F.cross_entropy(model(x), few.train_y[mine]).backward()
        except RuntimeError as error:
            return error
        optimizer.step()
        optimizer.zero_grad()
    return {
        name: tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        for name, tensor in model.state_dict().items()
    }


def stop(rank: int) -> None:
    update, calls = Training.update, list[None]()

    def counted(*arguments: Any) -> Any:
        calls.append(None)
        # One process alone is told.
        if len(calls) == 3 and rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return update(*arguments)

    again()
    Training.update = counted  # type: ignore[method-assign]
    with suppress(Stopped):
        try:
            train(config("bcn", out=Path("stop")), images())
        except Stopped as stopped:
            Path(f"stopped-{rank}.txt").write_text(str(stopped))
            raise
    Training.update = update  # type: ignore[method-assign]
    again()
    train(config("bcn", out=Path("stop"), resume=True), images())


def start(folder: Path, processes: int) -> None:
    """All of them, until they have ended. Each writes what it says into `said-RANK.txt`."""
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    several = [
        warm().Process(target=work, args=(folder, rank, processes, port))
        for rank in range(processes)
    ]
    for process in several:
        process.start()
    for rank, process in enumerate(several):
        assert code(process) == 0, (folder / f"said-{rank}.txt").read_text()
