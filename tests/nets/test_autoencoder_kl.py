"""The first stage's networks, against diffusers' AutoencoderKL with the same weights."""

from __future__ import annotations

import pytest
import torch

from triptych.nets.autoencoder_kl import Decoder, Encoder

diffusers = pytest.importorskip("diffusers")


@pytest.mark.parametrize(("widths", "blocks"), [((32, 64), 1), ((32, 64, 64, 128), 2)])
def test_equals_diffusers_autoencoder_with_the_same_weights(widths: tuple[int, ...], blocks: int) -> None:
    torch.manual_seed(0)
    reference = diffusers.AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        block_out_channels=widths,
        layers_per_block=blocks,
        latent_channels=4,
    ).eval()
    encoder, decoder = Encoder(3, 8, widths, blocks), Decoder(4, 3, widths, blocks)
    weights = reference.state_dict()
    for name, network in (("encoder.", encoder), ("decoder.", decoder)):
        network.load_state_dict({k.removeprefix(name): v for k, v in weights.items() if k.startswith(name)})
    side = 32 // 2 ** (len(widths) - 1)
    images, latents = torch.randn(2, 3, 32, 32), torch.randn(2, 4, side, side)
    with torch.no_grad():
        torch.testing.assert_close(encoder(images), reference.encoder(images), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(decoder(latents), reference.decoder(latents), atol=1e-5, rtol=1e-5)
