"""The faster and safer gradients are those of the library in float32, and nothing else changes."""

import copy

import pytest
import torch
from torch import Tensor, nn

from hundredfold.backbones.backbone import create_backbone
from hundredfold.backbones.convolutions import StridedConv2d, use_cpu_convolutions
from hundredfold.backbones.depthwise import DepthwiseConv2d


def gradients(layer: nn.Module, maps: Tensor) -> list[Tensor]:
    maps = maps.clone().requires_grad_()
    layer.zero_grad()
    output = layer(maps)
    (output * torch.linspace(-1, 1, output.numel(), dtype=maps.dtype).view_as(output)).sum().backward()
    return [output.detach(), maps.grad, *(p.grad for p in layer.parameters())]  # type: ignore[list-item]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("kernel", "shape"), [(5, (3, 3)), (5, (2, 2)), (3, (1, 2)), (3, (7, 9)), (5, (1, 1))]
)
def test_outputs_and_gradients_are_the_librarys(
    kernel: int, shape: tuple[int, int], stride: int, bias: bool
) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(6, 6, kernel, stride, kernel // 2, groups=6, bias=bias).double()
    fast = nn.Sequential(copy.deepcopy(plain))
    assert use_cpu_convolutions(fast) == 1
    maps = torch.randn(4, 6, *shape, dtype=torch.float64)
    for layout in (torch.contiguous_format, torch.channels_last):
        given = maps.contiguous(memory_format=layout)
        for found, expected in zip(gradients(fast, given), gradients(plain, given), strict=True):
            torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("kernel", "shape"), [(5, (3, 3)), (5, (9, 9)), (5, (8, 15)), (5, (30, 28)), (3, (9, 8)), (3, (2, 1))]
)
def test_in_bfloat16_the_gradient_is_about_as_near_to_the_exact_one_as_the_librarys(
    kernel: int, shape: tuple[int, int], stride: int
) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(6, 6, kernel, stride, kernel // 2, groups=6)
    fast = copy.deepcopy(plain)
    use_cpu_convolutions(nn.Sequential(fast))
    maps = torch.randn(16, 6, *shape)
    exact = gradients(plain, maps)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        library, ours = gradients(plain, maps), gradients(fast, maps)
    assert ours[0].dtype == torch.bfloat16
    assert all(gradient.dtype == torch.float32 for gradient in ours[1:])
    for found, theirs, expected in zip(ours, library, exact, strict=True):
        assert (found - expected).norm() <= 1.25 * (theirs - expected).norm() + 1e-3 * expected.norm()


def test_the_gradient_passes_a_numerical_check() -> None:
    layer = DepthwiseConv2d(2, 2, 5, padding=2, groups=2).double()
    assert torch.autograd.gradcheck(layer, torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True))


def test_only_plain_depthwise_layers_are_changed_and_names_stay() -> None:
    module = nn.Sequential(
        nn.Conv2d(4, 4, 3, groups=4),
        nn.Conv2d(4, 4, 3, groups=2),
        nn.Conv2d(4, 8, 3, groups=4),
        nn.Conv2d(4, 4, 3, groups=4, dilation=2),
        nn.Conv2d(4, 4, 3, groups=4, padding=1, padding_mode="reflect"),
        nn.Conv2d(4, 4, 1),
    )
    names = list(module.state_dict())
    assert use_cpu_convolutions(module) == 1
    assert [type(layer) for layer in module] == [DepthwiseConv2d, *[nn.Conv2d] * 5]
    assert list(module.state_dict()) == names


def test_a_real_backbone_has_them() -> None:
    assert use_cpu_convolutions(create_backbone("efficientnet_lite0", weights="none")) >= 10


@pytest.mark.parametrize("side", [1, 2, 3])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (7, 2), (1, 2), (3, 3)])
def test_a_strided_gradient_in_bfloat16_never_holds_what_lay_in_memory(
    side: int, kernel: int, stride: int
) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(16, 24, kernel, stride, kernel // 2, bias=False)
    safe = nn.Sequential(copy.deepcopy(plain))
    use_cpu_convolutions(safe)
    assert type(safe[0]) is StridedConv2d
    maps = torch.randn(4, 16, side, side)
    exact = gradients(plain, maps)
    for _ in range(5):
        litter = [torch.full((2**power,), torch.nan, dtype=torch.bfloat16) for power in range(8, 20)]
        del litter  # what a new tensor then finds in its memory
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = gradients(safe, maps)
        for ours, expected in zip(found, exact, strict=True):
            size = float(expected.abs().max())
            torch.testing.assert_close(ours.float(), expected, rtol=0.05, atol=0.05 * size)
