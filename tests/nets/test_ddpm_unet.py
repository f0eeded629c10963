"""The paper's U-Net beside diffusers' `UNet2DModel`: the same weights give the same outputs."""

from __future__ import annotations

import re

import pytest
import torch

from triptych.nets.ddpm_unet import DdpmUNet

T = 1000
ENDS = {  # names outside the levels: ours -> theirs
    "embed_time.0": "time_embedding.linear_1", "embed_time.2": "time_embedding.linear_2",
    "embed_label": "class_embedding", "enter": "conv_in", "leave.0": "conv_norm_out", "leave.2": "conv_out",
    "middle.0": "mid_block.resnets.0", "middle.1": "mid_block.attentions.0",
    "middle.2": "mid_block.resnets.1",
}  # fmt: skip
INNER = {  # names within a residual block or an attention
    "embed": "time_emb_proj", "skip": "conv_shortcut", "norm": "group_norm", "query": "to_q", "key": "to_k",
    "value": "to_v", "out": "to_out.0",
}  # fmt: skip
LEVELS = [
    (r"down\.(\d+)\.blocks\.(\d+)", r"down_blocks.\1.resnets.\2"),
    (r"down\.(\d+)\.attention\.(\d+)", r"down_blocks.\1.attentions.\2"),
    (r"up\.(\d+)\.blocks\.(\d+)", r"up_blocks.\1.resnets.\2"),
    (r"up\.(\d+)\.attention\.(\d+)", r"up_blocks.\1.attentions.\2"),
    (r"shrink\.(\d+)", r"down_blocks.\1.downsamplers.0.conv"),
    (r"grow\.(\d+)", r"up_blocks.\1.upsamplers.0.conv"),
]


def name_in_diffusers(name: str) -> str:
    """A parameter's name in `UNet2DModel`."""
    for ours, theirs in ENDS.items():
        if name.startswith(ours + "."):
            name = theirs + name[len(ours) :]
    for pattern, replacement in LEVELS:
        name = re.sub(f"^{pattern}", replacement, name)
    *path, layer, kind = name.split(".")
    if "resnets" in path or "attentions" in path:
        layer = INNER.get(layer, layer)
    return ".".join([*path, layer, kind])


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("width", [32, 128])
def test_outputs_are_those_of_diffusers_with_the_same_weights(classes: int, width: int) -> None:
    from diffusers import UNet2DModel

    channels = (width, 2 * width, 2 * width, 2 * width)
    torch.manual_seed(0)
    ours = DdpmUNet(3, 32, channels, 2, (16,), classes, T).eval()
    down = ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"]
    up = ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"]
    theirs = UNet2DModel(
        sample_size=32, block_out_channels=channels, layers_per_block=2, down_block_types=down,
        up_block_types=up, norm_eps=1e-6, freq_shift=1, flip_sin_to_cos=False, downsample_padding=0,
        attention_head_dim=None, num_class_embeds=classes + 1 if classes else None,
    ).eval()  # fmt: skip
    renamed = {name_in_diffusers(name): tensor for name, tensor in ours.state_dict().items()}
    theirs.load_state_dict(renamed)  # every name and shape
    if width == 128 and not classes:
        assert sum(p.numel() for p in ours.parameters()) == 35_746_307
    x, t = torch.randn(2, 3, 32, 32), torch.tensor([1, 700])
    labels = torch.tensor([0, classes]) if classes else None
    with torch.no_grad():
        outputs = ours(x, t / T, labels)
        expected = theirs(x, t - 1, labels).sample
    assert outputs.abs().mean() > 0.01
    assert torch.allclose(outputs, expected, atol=1e-5)


def test_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    network = DdpmUNet(1, 8, (8, 8), 1, (4,), 0, T, dropout=0.5)
    x, t = torch.randn(1, 1, 8, 8), torch.tensor([0.5])
    with torch.no_grad():
        assert not torch.equal(network(x, t, None), network(x, t, None))
        network.eval()
        assert torch.equal(network(x, t, None), network(x, t, None))
