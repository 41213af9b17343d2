"""The plain layers that a page compares ours with are torch's: outputs, gradients and running statistics, in float64."""

import pytest
import torch
from torch import Tensor, nn

from docs import variants


def gradients(layer: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    x = x.clone().requires_grad_()
    y = layer(x)
    weights = torch.linspace(-1, 2, y.numel(), dtype=y.dtype).reshape(y.shape)
    return y, list(torch.autograd.grad((y * weights).sum(), [x, *layer.parameters()]))


def assert_equal(ours: nn.Module, torchs: nn.Module, x: Tensor) -> None:
    torch.manual_seed(1)
    for parameter in torchs.parameters():
        nn.init.normal_(parameter)
    ours.load_state_dict(torchs.state_dict())
    (y, grads), (expected, expected_grads) = gradients(ours, x), gradients(torchs, x)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(grads, expected_grads)
    torch.testing.assert_close(ours.state_dict(), torchs.state_dict())


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(0)
    return 3 + 2 * torch.randn(4, 6, 5, 7, dtype=torch.float64)


@pytest.mark.parametrize("padding_mode", ["zeros", "circular"])
def test_the_plain_convolution_is_torchs(x: Tensor, padding_mode: str) -> None:
    chosen = {"stride": 2, "padding": 1, "groups": 2, "padding_mode": padding_mode}
    ours = variants.Conv2d(6, 8, 3, **chosen, dtype=torch.float64)
    assert_equal(ours, nn.Conv2d(6, 8, 3, **chosen, dtype=torch.float64), x)


@pytest.mark.parametrize("affine", [True, False])
def test_the_plain_batch_norm_is_torchs_in_training_and_in_evaluation(
    x: Tensor, affine: bool
) -> None:
    ours = variants.BatchNorm(6, eps=1e-3, momentum=0.3, affine=affine).double()
    torchs = nn.BatchNorm2d(6, eps=1e-3, momentum=0.3, affine=affine).double()
    assert_equal(ours, torchs, x)
    assert_equal(ours, torchs, x + 1)
    assert_equal(ours.eval(), torchs.eval(), x)


@pytest.mark.parametrize("affine", [True, False])
def test_the_plain_group_norm_is_torchs(x: Tensor, affine: bool) -> None:
    ours = variants.GroupNorm(6, 3, affine=affine).double()
    assert_equal(ours, nn.GroupNorm(3, 6, affine=affine).double(), x)


def test_the_plain_layers_refuse_what_ours_refuse() -> None:
    with pytest.raises(ValueError, match="at least 1 channel"):
        variants.BatchNorm(0)
    with pytest.raises(ValueError, match="momentum"):
        variants.BatchNorm(1, momentum=2)
    with pytest.raises(ValueError, match="divides the channels"):
        variants.GroupNorm(6, 4)
    with pytest.raises(ValueError, match="shape"):
        variants.BatchNorm(3)(torch.ones(2, 4))
