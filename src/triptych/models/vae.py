"""The variational autoencoder: an encoder to latent distributions, a decoder back to images.

Kingma and Welling 2013; conditional as in Sohn, Lee and Yan 2015; with the decoder's noise level learned
(Rybkin, Daniilidis and Levine 2021) and, unless the textbook's N(0, I) is asked for, the prior too. After
training, a Gaussian mixture is fitted to the latent vectors, as another distribution to sample them from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from triptych.core.bits_per_dim import crop, nats_to_bits_per_dim
from triptych.core.errors import UsageError
from triptych.core.generative_model import GenerativeModel
from triptych.core.images import to_float
from triptych.core.lr_schedules import warmup_cosine
from triptych.core.objectives import Objective, StepContext
from triptych.core.rng import SamplerNoise, generator
from triptych.core.types import Batch, Condition, GenerationStep, ImageSpec, LikelihoodQuery
from triptych.models._vae_logs import LOG_HELP, kl_by_dimension, latent_use
from triptych.models._vae_settings import VaeConfig, VaeControls
from triptych.nets import autoencoder as nets
from triptych.nets import likelihoods
from triptych.nets.gaussian_mixture import FittedMixture, GaussianMixture
from triptych.nets.realnvp import RealNVP
from triptych.nets.vamp_prior import VampPrior

MIXTURE, MIXTURE_PER_CLASS = 10, 4  # components of the fitted mixture, without and with labels


class Vae(GenerativeModel[VaeConfig, VaeControls]):
    """Maximizes E_q[log p(x|z)] - beta KL(q(z|x) || p(z)) (Kingma and Welling 2013, eq. 3).

    With several importance samples, the tighter bound of Burda, Grosse and Salakhutdinov 2016, eq. 8.
    Trained with labels y, all three depend on them: p(x|z, y), q(z|x, y), and unless it is normal p(z|y)
    (Sohn, Lee and Yan 2015).
    """

    Config, Controls = VaeConfig, VaeControls
    title = "VAE"
    accent_color = 1
    ema_modules = ("decoder", "encoder", "flow", "log_scale", "label_offset", "vamp", "mixture")
    fitted_buffers = later_buffers = ("mixture.weights", "mixture.means", "mixture.factors")
    fitting_images = 5000
    channels_last = True
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "fast": {},
        "map": {"latent": 2, "conditional": False},  # a latent space that `steer map` shows whole
    }
    log_help = LOG_HELP
    likelihood_bounds = ("elbo", "iwae")
    clip_norm = 1e4  # the loss is summed over pixels: only the first few steps come near it

    log_scale: Tensor | None  # of the decoder's distribution

    def __init__(
        self,
        config: VaeConfig,
        spec: ImageSpec,
        components: Mapping[str, GenerativeModel[Any, Any]] | None = None,
    ) -> None:
        super().__init__(config, spec, components)
        self.noise_shape = (config.latent,)
        self.encoder = nets.encoder(spec, 2 * config.latent, config.width)
        self.conditional = spec.classes > 0
        outputs = likelihoods.output_channels(config.likelihood, spec.channels)
        self.decoder = nets.decoder(spec, config.latent + spec.classes, config.width, outputs)
        self.flow = RealNVP(config.latent, 6 if config.prior == "flow" else 0, condition=spec.classes)
        self.likelihood = likelihoods.likelihood(config.likelihood, spec.channels)
        self.binary = config.likelihood.kind == "bernoulli"
        if self.binary:
            if spec.channels != 1:
                raise UsageError("--likelihood bernoulli needs gray images: add --color gray")
            self.likelihood_bounds = ("binarized-elbo", "binarized-iwae")  # never compared with 8-bit ones
        if not isinstance(config.likelihood, likelihoods.GaussianLikelihood | likelihoods.LogisticLikelihood):
            self.log_scale = None
        elif config.likelihood.scale is None:
            self.log_scale = nn.Parameter(torch.tensor(math.log(0.5)))
        else:
            self.register_buffer("log_scale", torch.tensor(math.log(config.likelihood.scale)))
        # The encoder sees the label as an offset to its first feature maps: what a convolution would make of
        # one constant input plane per class, except at the borders, without the cost of the planes.
        self.label_offset = nn.Linear(spec.classes, config.width, bias=False) if self.conditional else None
        groups = max(1, spec.classes)  # of mixture components: one for each class
        self.vamp = VampPrior(config.pseudo_inputs, groups, spec) if config.prior == "vamp" else None
        each = MIXTURE_PER_CLASS if self.conditional else MIXTURE
        self.mixture = FittedMixture(config.latent, each, groups)

    def objectives(self) -> list[Objective]:
        """One objective, for encoder and decoder together."""
        adam = torch.optim.Adam(self.parameters(), self.config.lr, fused=True)
        return [
            Objective("autoencoder", adam, self.loss, max_grad_norm=self.clip_norm, lr_schedule=warmup_cosine)
        ]

    def one_hot(self, labels: Tensor | None) -> Tensor | None:
        """Encode labels for the networks.

        Args:
            labels: (B,) int64.

        Returns:
            (B, classes) float32; None for an unconditional VAE.

        Raises:
            UsageError: when a conditional VAE is given no labels.
        """
        if not self.conditional:
            return None
        if labels is None:
            raise UsageError(
                "this VAE was trained with labels and needs one for every image: give the images' labels"
            )
        return F.one_hot(labels, self.spec.classes).float()

    def posterior(self, images: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        """The parameters of q(z|x, y).

        Args:
            images: (B, C, H, W) in [-1, 1].
            label: (B, classes) from `one_hot`, or None.

        Returns:
            Mean and log of the standard deviation, (B, latent) each.
        """
        if self.label_offset is None:
            parameters = self.encoder(images)  # (B, 2 * latent)
        else:
            offset = self.label_offset(label)[:, :, None, None]  # (B, width, 1, 1)
            parameters = self.encoder[1:](self.encoder[0](images) + offset)
        mean, log_std = parameters.float().chunk(2, dim=1)
        return mean, log_std.clamp(-7, 2)

    def decoder_outputs(self, latent: Tensor, label: Tensor | None) -> Tensor:
        """The parameters of p(x|z, y): mean images in [-1, 1], or what the likelihood reads (logits).

        Args:
            latent: (B, latent).
            label: (B, classes) from `one_hot`, or None.

        Returns:
            (B, output channels, H, W) float32.
        """
        code = latent if label is None else torch.cat([latent, label], dim=1)  # (B, latent + classes)
        return self.decoder(code).float()

    def decode(self, latent: Tensor, label: Tensor | None) -> Tensor:
        """The mean of p(x|z, y).

        Args:
            latent: (B, latent).
            label: (B, classes) from `one_hot`, or None.

        Returns:
            Images, (B, C, H, W) in [-1, 1].
        """
        return self.likelihood.mean(self.decoder_outputs(latent, label))

    def loss(self, batch: Batch, context: StepContext) -> tuple[Tensor, dict[str, Tensor]]:
        """Negative ELBO, or importance-weighted bound: reconstruction plus beta times KL.

        Args:
            batch: images, (B, C, H, W) in [-1, 1], and labels, (B,) int64 or None.
            context: of the step; gives the noise of the latents and the progress of the KL warm-up.

        Returns:
            The mean over the batch, in nats per image, and its parts to log.
        """
        k = self.config.importance_samples
        images, label = batch.images, self.one_hot(batch.labels)
        noise = context.randn(k, *self.noise_shape)  # (B, k, latent)
        if self.binary:
            images = likelihoods.binarize(images, context.rand(*images.shape[1:]))
        mean, log_std, prior = self._posterior_and_prior(images, label)
        warmup = min(1.0, context.progress / self.config.kl_warmup) if self.config.kl_warmup else 1.0
        beta = self.config.beta * warmup
        if k == 1:
            latent = mean + log_std.exp() * noise[:, 0]  # the reparameterization trick
            reconstruction = self.reconstruction_nats(images, self.decoder_outputs(latent, label)).mean()
            kl = self.kl(mean, log_std, latent, label, prior).mean()
            penalty = kl
            if self.config.free_bits:  # of each dimension's mean over the batch (Kingma et al. 2016)
                penalty = kl_by_dimension(mean, log_std).mean(0).clamp(min=self.config.free_bits).sum()
            loss = reconstruction + beta * penalty
        else:
            loss, reconstruction, kl = self._importance_weighted(
                images, label, mean, log_std, noise, beta, prior
            )
        logged = {"distortion": reconstruction, "rate": kl}
        logged |= latent_use(mean.detach(), log_std.detach(), normal=self.config.prior == "normal")
        if self.log_scale is not None:
            logged["scale"] = self.log_scale.exp()
        return loss, {name: value.detach() for name, value in logged.items()}

    def _importance_weighted(
        self,
        images: Tensor,
        label: Tensor | None,
        mean: Tensor,
        log_std: Tensor,
        noise: Tensor,
        beta: float,
        prior: GaussianMixture | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """-log mean_k w_k, w = p(x|z) (p(z) / q(z|x))^beta; and the means of reconstruction and KL: () each.

        noise: (B, k, latent).
        """
        k = noise.shape[1]
        latent = (mean[:, None] + log_std.exp()[:, None] * noise).flatten(0, 1)  # (B k, latent)
        images, log_std = images.repeat_interleave(k, 0), log_std.repeat_interleave(k, 0)
        label = None if label is None else label.repeat_interleave(k, 0)
        reconstruction = self.reconstruction_nats(images, self.decoder_outputs(latent, label))  # (B k,)
        if prior is not None and len(prior.weights) > 1:
            prior = GaussianMixture(*(part.repeat_interleave(k, 0) for part in prior))
        log_ratio = self._log_prior_ratio(latent, label, log_std, noise.flatten(0, 1), prior)  # (B k,)
        log_weights = (beta * log_ratio - reconstruction).view(-1, k)
        return math.log(k) - log_weights.logsumexp(1).mean(), reconstruction.mean(), -log_ratio.mean()

    def kl(
        self,
        mean: Tensor,
        log_std: Tensor,
        latent: Tensor,
        label: Tensor | None = None,
        prior: GaussianMixture | None = None,
    ) -> Tensor:
        """KL(q(z|x, y) || p(z|y)): in closed form for a normal prior, else estimated from the latent.

        Args:
            mean: of q, (B, latent).
            log_std: of q, (B, latent).
            latent: a sample of q, (B, latent).
            label: (B, classes) from `one_hot`, or None.
            prior: the vamp prior; None for the others.

        Returns:
            (B,), in nats.
        """
        if self.config.prior == "normal":
            return kl_by_dimension(mean, log_std).sum(1)
        if prior is None:
            with torch.autocast(latent.device.type, enabled=False):
                noise, log_det = self.flow.inverse(latent, label)
            cross_entropy = (0.5 * noise.square() + 0.5 * math.log(math.tau)).sum(1) - log_det
        else:
            cross_entropy = -prior.log_prob(latent)
        return cross_entropy - (log_std + 0.5 * math.log(math.tau * math.e)).sum(1)

    def reconstruction_nats(self, images: Tensor, outputs: Tensor) -> Tensor:
        """-log p(x|z), summed over an image's pixels.

        Args:
            images: (B, C, H, W) in [-1, 1]; each -1 or 1 where pixels are binary.
            outputs: from `decoder_outputs`, (B, output channels, H, W).

        Returns:
            (B,), in nats.
        """
        return self.likelihood.nats(images, outputs, self.log_scale)

    def _log_prior_ratio(
        self,
        latent: Tensor,
        label: Tensor | None,
        log_std: Tensor,
        noise: Tensor,
        prior: GaussianMixture | None,
    ) -> Tensor:
        """log p(z|y) - log q(z|x, y) at z = mean + std noise: (B,), in nats.

        The entropy of q is not put in closed form: its noise is shared by the other terms of an importance
        weight, and where q is the true posterior all of it cancels.
        """
        if prior is None:
            with torch.autocast(latent.device.type, enabled=False):
                source, log_det = self.flow.inverse(latent, label)
            log_prior = log_det - 0.5 * source.square().sum(1)
        else:
            log_prior = prior.log_prob(latent) + 0.5 * self.config.latent * math.log(math.tau)
        log_posterior = -log_std.sum(1) - 0.5 * noise.square().sum(1)
        return log_prior - log_posterior  # both lack the same multiple of log 2 pi

    def _posterior_and_prior(
        self, images: Tensor, label: Tensor | None
    ) -> tuple[Tensor, Tensor, GaussianMixture | None]:
        """The parameters of q(z|x, y), (B, latent) each, and the vamp prior of each image, if that is used.

        Images and pseudo-inputs are encoded as one batch: in training both see the same batch norm.
        """
        if self.vamp is None:
            return *self.posterior(images, label), None
        joint = self.posterior(*self.vamp.with_pseudo_inputs(images, label))
        mean, log_std = (part[: len(images)] for part in joint)
        prior = self.vamp.mixture(*(part[len(images) :] for part in joint))
        return mean, log_std, prior.of_class(None if label is None else label.argmax(1))

    def fit_preprocessing(self, batches: Iterator[Batch]) -> None:
        """Begin the vamp prior's pseudo-inputs at training images of their classes."""
        if self.vamp is not None:
            self.vamp.begin_at(batches)

    @torch.no_grad()
    def fit_after_training(self, batches: Iterator[Batch]) -> None:
        """Fit a Gaussian mixture to draws from the aggregate posterior, for each class if labels count.

        Args:
            batches: training images, (B, C, H, W) in [-1, 1], with their labels.

        References:
            Ghosh et al. 2020, "From variational to deterministic autoencoders", section 4.
        """
        draws, latents, labels = generator("aggregate posterior"), [], []
        for batch in batches:
            images = batch.images
            if self.binary:
                uniform = torch.rand(images.shape, generator=draws).to(images.device)
                images = likelihoods.binarize(images, uniform)
            mean, log_std = (part.cpu() for part in self.posterior(images, self.one_hot(batch.labels)))
            latents.append(mean + log_std.exp() * torch.randn(mean.shape, generator=draws))
            labels += [] if batch.labels is None else [batch.labels.cpu()]
        self.mixture.fit(torch.cat(latents), torch.cat(labels) if self.conditional else None)

    def _mixture(self, label: Tensor | None, sampler: str) -> GaussianMixture | None:
        """What latent vectors are drawn from, for each image; None: the normal or flow prior."""
        classes = None if label is None else label.argmax(1)
        if sampler == "mixture":
            return self.mixture.fitted().of_class(classes)
        if self.vamp is None:
            return None
        pseudo_inputs, labels = self.vamp.with_pseudo_inputs(None, label)
        return self.vamp.mixture(*self.posterior(pseudo_inputs, labels)).of_class(classes)

    def generate(
        self, noise: Tensor, condition: Condition, controls: VaeControls, seeds: Sequence[int]
    ) -> Iterator[GenerationStep]:
        """Yields once: the decoder's mean image."""
        label = self.one_hot(condition.labels)
        mixture = self._mixture(label, controls.sampler)
        source = noise * controls.truncation
        if mixture is None:
            yield GenerationStep(1, 1, source, lambda: self.decode(self.flow(source, label), label))
        else:
            latent = mixture.from_noise(noise, controls.truncation)
            yield GenerationStep(1, 1, source, lambda: self.decode(latent, label))

    def invert(
        self, images: Tensor, condition: Condition, controls: VaeControls, seeds: Sequence[int]
    ) -> Tensor:
        """The mean of q(z|x, y), as the noise that it is drawn from: (B, latent)."""
        label = self.one_hot(condition.labels)
        mean = self.posterior(images, label)[0]
        mixture = self._mixture(label, controls.sampler)
        return self.flow.inverse(mean, label)[0] if mixture is None else mixture.to_noise(mean)

    def first_layer_weight(self) -> Tensor | None:
        """(channels * 16, latent): the decoder's first layer, without labels; None with a learned prior."""
        first = self.decoder[0]
        assert isinstance(first, nn.Linear)
        return first.weight[:, : self.config.latent].detach() if self.config.prior == "normal" else None

    def bits_per_dim(self, query: LikelihoodQuery) -> Tensor:
        """The ELBO, or the tighter importance-weighted bound (Burda et al. 2016, eq. 8) with k = draws.

        Both from the same latents z_1..z_k of q(z|x): the mean of log p(x, z) - log q(z|x), or the log of
        the mean of its exponential. A Bernoulli likelihood bounds images binarized once, by their seeds, and
        names its bounds so. Pixels outside the box are marginalized exactly. A label that is not
        given is summed out, each class alike: log p(x) >= log mean_y exp(bound of log p(x|y)).
        """
        pixels = query.pixels
        if not self.conditional or query.condition.labels is not None:
            nats = self._nats(query, query.condition.labels)
        else:
            classes = torch.arange(self.spec.classes, device=pixels.device)[:, None].expand(-1, len(pixels))
            by_class = torch.stack([self._nats(query, y) for y in classes])  # (classes, B)
            nats = math.log(self.spec.classes) - (-by_class).logsumexp(0)  # (B,)
        return nats_to_bits_per_dim(nats, pixels.shape[1:], query.box)

    def _nats(self, query: LikelihoodQuery, labels: Tensor | None) -> Tensor:
        """A bound on -log P(x|y) with these labels, (B,) int64: (B,) float64 on the CPU, in nats."""
        label = self.one_hot(labels)
        if self.binary:
            query = replace(query, pixels=likelihoods.binarize_stored(query.pixels, query.seeds))
        mean, log_std, prior = self._posterior_and_prior(to_float(query.pixels), label)
        noise = SamplerNoise(query.seeds, "bound")
        weights = torch.stack(
            [
                self._log_weight(query, label, mean, log_std, noise.randn_like(mean), prior)
                for _ in range(query.draws)
            ]
        )  # (draws, B)
        if query.bound.endswith("elbo"):
            return -weights.mean(0)
        return math.log(query.draws) - weights.logsumexp(0)

    def _log_weight(
        self,
        query: LikelihoodQuery,
        label: Tensor | None,
        mean: Tensor,
        log_std: Tensor,
        noise: Tensor,
        prior: GaussianMixture | None,
    ) -> Tensor:
        """log P(x|z, y) + log p(z|y) - log q(z|x, y) at z = mean + std noise: (B,) float64, CPU, in nats.

        P(x|z, y) is the probability of the stored values within the box: 8-bit levels, or binary pixels.
        """
        latent = mean + log_std.exp() * noise
        outputs = self.decoder_outputs(latent, label)
        log_likelihood = self.likelihood.log_prob(query.pixels, outputs, self.log_scale)  # (B, C, H, W)
        log_likelihood = crop(log_likelihood, query.box).flatten(1).sum(1)  # (B,)
        return log_likelihood + self._log_prior_ratio(latent, label, log_std, noise, prior).cpu().double()
