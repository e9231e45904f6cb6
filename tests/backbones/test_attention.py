"""Fused or plain, attention gives the same values, and the choice follows the number of tokens."""

import pytest
import torch
from torch.nn import functional

from hundredfold.backbones.attention import fuse_attention_from, has_attention
from hundredfold.backbones.backbone import create_backbone

NAMES = ["test_vit.r160_in1k", "xcit_nano_12_p16_224"]  # timm fuses the class attention of the second


@pytest.mark.parametrize("name", NAMES)
def test_both_kernels_give_the_same_features_and_gradients(name: str) -> None:
    torch.manual_seed(0)
    backbone = create_backbone(name, weights="none").eval()
    images = torch.randn(2, 3, 64, 64)
    found = []
    for tokens in (0, 10**9):
        assert fuse_attention_from(backbone, tokens) > 0
        backbone.zero_grad()
        features = backbone(images)
        features.square().sum().backward()
        found.append([features.detach(), *(p.grad for p in backbone.parameters() if p.grad is not None)])
    for fused, plain in zip(*found, strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-3, atol=1e-4)


def test_the_kernel_is_chosen_in_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = create_backbone(NAMES[0], weights="none").eval()  # patches of 16 px and a class token
    fuse_attention_from(backbone, tokens=10)
    seen = []
    fused = functional.scaled_dot_product_attention

    def counted(query: torch.Tensor, *given: torch.Tensor, **named: object) -> torch.Tensor:
        seen.append(query.shape[-2])
        return fused(query, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(functional, "scaled_dot_product_attention", counted)
    for side in (32, 64, 32):
        backbone(torch.zeros(1, 3, side, side))
    assert set(seen) == {17}  # 4 x 4 patches; the 5 tokens of 32 px take plain products


def test_who_attends() -> None:
    assert all(has_attention(create_backbone(name, weights="none")) for name in NAMES)
    assert not has_attention(create_backbone("resnet10t", weights="none"))


def test_what_timm_does_not_fuse_stays_so() -> None:
    """XCiT attends over channels: torch's kernel for tokens would compute something dear and pointless."""
    backbone = create_backbone(NAMES[1], weights="none").eval()
    before = choices(backbone)
    fuse_attention_from(backbone, tokens=0)
    backbone(torch.zeros(1, 3, 32, 32))
    assert choices(backbone) == before
    assert not all(before)


def choices(backbone: torch.nn.Module) -> list[bool]:
    return [layer.fused_attn for layer in backbone.modules() if hasattr(layer, "fused_attn")]  # type: ignore[misc]
