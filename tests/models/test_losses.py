"""The models' losses against their equations."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from triptych.core.objectives import StepContext
from triptych.core.types import ImageSpec
from triptych.data.dataset import Split
from triptych.data.loader import batches
from triptych.models._vae_logs import kl_by_dimension
from triptych.models.dcgan import Dcgan, DcganConfig
from triptych.models.vae import Vae, VaeConfig

SPEC = ImageSpec(channels=1, size=32, classes=10)
PLAIN = replace(SPEC, classes=0)


@pytest.fixture
def batch() -> Any:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 1), dtype=np.uint8)
    return next(batches(Split(pixels, np.arange(8)), 8, 0))


def context(batch: Any, *movers: str, done: float = 0.5) -> StepContext:
    return StepContext(0, 3, done, frozenset(movers), batch)


def shapes(module: torch.nn.Module) -> list[tuple[str, tuple[int, ...]]]:
    kept = (torch.nn.Conv2d, torch.nn.ConvTranspose2d, torch.nn.BatchNorm2d)
    return [(type(m).__name__, tuple(m.weight.shape)) for m in module.modules() if isinstance(m, kept)]


def test_dcgan_has_the_study_guides_layers() -> None:
    model = Dcgan(DcganConfig(), PLAIN)
    assert shapes(model.generator) == [
        ("ConvTranspose2d", (100, 256, 4, 4)), ("BatchNorm2d", (256,)),
        ("ConvTranspose2d", (256, 128, 4, 4)), ("BatchNorm2d", (128,)),
        ("ConvTranspose2d", (128, 64, 4, 4)), ("BatchNorm2d", (64,)),
        ("ConvTranspose2d", (64, 1, 4, 4)),
    ]  # fmt: skip
    assert shapes(model.discriminator) == [
        ("Conv2d", (64, 1, 4, 4)),
        ("Conv2d", (128, 64, 4, 4)), ("BatchNorm2d", (128,)),
        ("Conv2d", (256, 128, 4, 4)), ("BatchNorm2d", (256,)),
        ("Conv2d", (1, 256, 4, 4)),
    ]  # fmt: skip
    groups = [objective.optimizer.param_groups[0] for objective in model.objectives()]
    assert all(g["lr"] == 2e-4 and g["betas"] == (0.5, 0.999) for g in groups)
    assert all(objective.max_grad_norm is None for objective in model.objectives())


def test_dcgan_losses_are_binary_cross_entropies(batch: Any) -> None:
    for loss in ("non-saturating", "min-max"):
        torch.manual_seed(0)
        model = Dcgan(DcganConfig(loss=loss), PLAIN)  # type: ignore[arg-type]
        now = context(batch, "discriminator", "generator")
        fakes = model.fakes(now)
        real, fake = (torch.sigmoid(model.discriminator(x)) for x in (batch.images, fakes))
        bce = F.binary_cross_entropy
        wanted = bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))
        assert model.critic_loss(batch, now)[0].item() == pytest.approx(wanted.item(), rel=1e-4)
        wanted = bce(fake, torch.ones_like(fake)) if loss == "non-saturating" else (1 - fake).log().mean()
        assert model.generator_loss(batch, now)[0].item() == pytest.approx(wanted.item(), rel=1e-4)


def test_fakes_are_cached_and_have_no_graph_when_the_generator_is_not_updated(batch: Any) -> None:
    model = Dcgan(DcganConfig(), PLAIN)
    both = context(batch, "discriminator", "generator")
    assert model.fakes(both) is model.fakes(both) and model.fakes(both).requires_grad
    assert not model.fakes(context(batch, "discriminator")).requires_grad


def test_labels_reach_generator_and_discriminator_of_a_conditional_dcgan(batch: Any) -> None:
    model = Dcgan(DcganConfig(), SPEC)
    noise = torch.randn(2, 100)
    ones, twos = torch.ones(2, dtype=torch.int64), torch.full((2,), 2)
    assert model.conditional
    assert not torch.equal(model.synthesize(noise, ones), model.synthesize(noise, twos))
    shifted = replace(batch, labels=(batch.labels + 1) % 10)
    first, second = (
        model.logits(b.images, context(b, "discriminator", "generator")).detach() for b in (batch, shifted)
    )
    assert not torch.equal(first, second)


def test_instance_noise_reaches_the_discriminator_and_leaves_the_images_unchanged(batch: Any) -> None:
    torch.manual_seed(0)
    model = Dcgan(DcganConfig(instance_noise=0.5), PLAIN)
    received: list[torch.Tensor] = []
    model.discriminator.register_forward_pre_hook(lambda module, inputs: received.append(inputs[0]))
    before = batch.images.clone()
    model.critic_loss(batch, context(batch, "discriminator"))
    assert torch.equal(batch.images, before)
    assert (received[0] - batch.images).std().item() == pytest.approx(0.5, rel=0.05)


def test_without_instance_noise_the_discriminator_is_nearly_blind_to_contrast(batch: Any) -> None:
    """Why the option is there: batch norm and layers without bias divide contrast out again."""
    model = Dcgan(DcganConfig(), PLAIN)
    now = context(batch, "discriminator")
    whole, pale = (model.logits(scale * batch.images, now).detach() for scale in (1.0, 0.7))
    assert torch.allclose(whole, pale, atol=0.05 * whole.std().item())


def test_kl_is_torchs() -> None:
    mean, log_std = torch.randn(6, 4), torch.randn(6, 4)
    q = torch.distributions.Normal(mean, log_std.exp())
    p = torch.distributions.Normal(torch.zeros(4), torch.ones(4))
    wanted = torch.distributions.kl_divergence(q, p).sum(1)
    assert torch.allclose(kl_by_dimension(mean, log_std).sum(1), wanted, atol=1e-5)


def test_kl_under_a_flow_is_the_closed_form_where_the_flow_is_the_identity() -> None:
    model = Vae(VaeConfig(latent=3, prior="flow"), PLAIN)
    assert [p.abs().sum().item() == 0 for p in model.flow.parameters()].count(True) > 0  # starts at zero
    mean, log_std = torch.tensor([[0.5, -1.0, 0.2]]), torch.tensor([[-0.3, 0.1, -1.0]])
    draws = 200_000
    noise = torch.randn(draws, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        latent = mean + log_std.exp() * noise
        drawn = model.kl(mean.expand(draws, -1), log_std.expand(draws, -1), latent).mean().item()
    assert drawn == pytest.approx(kl_by_dimension(mean, log_std).sum(1).item(), abs=0.02)


def test_a_normal_prior_has_no_flow_and_the_closed_form() -> None:
    model = Vae(VaeConfig(latent=3, prior="normal"), PLAIN)
    mean, log_std = torch.randn(4, 3), torch.randn(4, 3)
    assert not list(model.flow.parameters())
    assert torch.equal(model.kl(mean, log_std, torch.randn(4, 3)), kl_by_dimension(mean, log_std).sum(1))


def test_vae_reconstruction_is_a_gaussians(batch: Any) -> None:
    model = Vae(VaeConfig(), PLAIN)
    means = torch.zeros_like(batch.images)
    gaussian = torch.distributions.Normal(means, model.log_scale.exp())
    wanted = -gaussian.log_prob(batch.images).flatten(1).sum(1)
    assert torch.allclose(model.reconstruction_nats(batch.images, means), wanted, rtol=1e-5)


def test_vae_beta_warms_up(batch: Any) -> None:
    model = Vae(VaeConfig(kl_warmup=0.5), PLAIN).eval()

    def loss(done: float) -> tuple[float, dict[str, Any]]:
        total, logged = model.loss(batch, context(batch, "autoencoder", done=done))
        return total.item(), logged

    start, logged = loss(0.0)
    assert start == pytest.approx(logged["distortion"].item())
    for done, beta in ((0.25, 0.5), (0.75, 1.0)):
        total, logged = loss(done)
        assert total == pytest.approx((logged["distortion"] + beta * logged["rate"]).item(), rel=1e-5)


def test_vae_reparameterization_has_the_right_gradient() -> None:
    """d/dmu E[z^2] = 2 mu and d/dlog_std E[z^2] = 2 std^2 for z = mu + std eps."""
    mean, log_std = torch.tensor(0.7, requires_grad=True), torch.tensor(-0.4, requires_grad=True)
    noise = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    (mean + log_std.exp() * noise).square().mean().backward()
    assert mean.grad is not None and log_std.grad is not None
    assert mean.grad.item() == pytest.approx(1.4, rel=0.02)
    assert log_std.grad.item() == pytest.approx(2 * math.exp(-0.8), rel=0.02)
