"""Mixtures of Gaussians over latent vectors, sampled as a smooth function of standard normal noise."""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import torch
from torch import Tensor, nn

from triptych.core.errors import UsageError

EDGE = 1e-12  # probabilities are kept this far from 0 and 1, about 7 standard deviations


class GaussianMixture(NamedTuple):
    """One mixture for all latent vectors (R = 1), or one for each of a batch (R = B)."""

    weights: Tensor  # (R, K), their sum over K is 1
    means: Tensor  # (R, K, D)
    factors: Tensor  # (R, K, D, D) lower Cholesky factors, or (R, K, D) standard deviations

    def of_class(self, labels: Tensor | None) -> GaussianMixture:
        """The mixture of each image's class, from one per class; labels: (B,) int64, None: this mixture."""
        return self if labels is None else GaussianMixture(*(part[labels] for part in self))

    def from_noise(self, noise: Tensor, truncation: float = 1.0) -> Tensor:
        """Draw latent vectors as a function of the noise alone.

        The first number's quantile chooses the component; the quantile's place within the component's share
        is again uniform, and becomes the first number of the component's own noise.

        Args:
            noise: (B, D) standard normal.
            truncation: scale of the noise within the component.

        Returns:
            (B, D), distributed as the mixture.
        """
        ends, uniform = self._ends(), self._uniform(noise[:, 0])  # (R, K), (B,)
        chosen = (uniform[:, None] >= ends).sum(1).clamp(max=ends.shape[1] - 1)  # (B,)
        weight, start = self._share(ends, chosen)
        within = ((uniform - start) / weight).clamp(EDGE, 1 - EDGE)
        first = torch.special.ndtri(within).to(noise.dtype)
        own = truncation * torch.cat([first[:, None], noise[:, 1:]], dim=1)  # (B, D)
        mean, factor = self._rows(self.means, chosen), self._rows(self.factors, chosen)
        return mean + (factor * own if factor.dim() == 2 else (factor * own[:, None]).sum(2))

    def to_noise(self, latent: Tensor) -> Tensor:
        """The noise from which `from_noise` draws these vectors, each from its likeliest component.

        Args:
            latent: (B, D).

        Returns:
            (B, D).
        """
        residuals = self._residuals(latent)  # (B, K, D)
        chosen = self._log_joint(residuals).argmax(1)  # (B,)
        own = self._rows(residuals, chosen)
        weight, start = self._share(self._ends(), chosen)
        uniform = (start + weight * self._uniform(own[:, 0])).clamp(EDGE, 1 - EDGE)
        return torch.cat([torch.special.ndtri(uniform).to(latent.dtype)[:, None], own[:, 1:]], dim=1)

    def log_prob(self, latent: Tensor) -> Tensor:
        """Log of the density, in nats: (B, D) -> (B,)."""
        return self._log_joint(self._residuals(latent)).logsumexp(1)

    def _residuals(self, latent: Tensor) -> Tensor:
        """What noise each component would need: (B, D) -> (B, K, D)."""
        centered = latent[:, None] - self.means
        if self.factors.dim() == 3:
            return centered / self.factors
        factors = self.factors.expand(len(latent), -1, -1, -1)
        return torch.linalg.solve_triangular(factors, centered[..., None], upper=False)[..., 0]

    def _log_joint(self, residuals: Tensor) -> Tensor:
        """Log of weight times density of each component: (B, K, D) -> (B, K)."""
        full = self.factors.dim() == 4
        scales = self.factors.diagonal(dim1=2, dim2=3) if full else self.factors  # (R, K, D)
        log_density = -(0.5 * residuals.square() + 0.5 * math.log(math.tau)).sum(2) - scales.log().sum(2)
        return self.weights.log() + log_density

    def _ends(self) -> Tensor:
        """Where each component's share of the unit interval ends: (R, K) float64."""
        ends = self.weights.double().cumsum(1)
        return ends / ends[:, -1:]

    @staticmethod
    def _uniform(normal: Tensor) -> Tensor:
        return torch.special.ndtr(normal.double()).clamp(EDGE, 1 - EDGE)

    @classmethod
    def _share(cls, ends: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Width and start of the chosen components' shares: (B,) float64 each."""
        start = cls._rows(torch.cat([torch.zeros_like(ends[:, :1]), ends[:, :-1]], dim=1), chosen)
        return cls._rows(ends, chosen) - start, start

    @staticmethod
    def _rows(parts: Tensor, chosen: Tensor) -> Tensor:
        """The chosen component's part for each of the batch: (R, K, ...) -> (B, ...)."""
        return parts[0][chosen] if len(parts) == 1 else parts[torch.arange(len(parts)), chosen]


def fit_mixture(latent: Tensor, components: int) -> GaussianMixture:
    """Fit a mixture with full covariances by expectation maximization, from a fixed start.

    Args:
        latent: (N, D).
        components: K; with fewer vectors than components, the others have weight 0.

    Returns:
        The mixture, R = 1, float32 on the CPU; N(0, I) for fewer than two vectors.
    """
    count, dimensions = latent.shape
    weights = torch.zeros(1, components)
    means = torch.zeros(1, components, dimensions)
    factors = torch.eye(dimensions).expand(1, components, -1, -1).clone()
    weights[0, 0] = 1.0
    if count < 2:
        return GaussianMixture(weights, means, factors)
    from sklearn.exceptions import ConvergenceWarning  # takes a second to import
    from sklearn.mixture import GaussianMixture as Estimator
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

    used = min(components, 1 + count // (2 * dimensions))  # each covariance needs several vectors
    estimator = Estimator(used, reg_covar=1e-3, max_iter=50, random_state=0)
    with warnings.catch_warnings(), threadpool_limits(1):  # sums in the same order each time
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator.fit(latent.double().cpu().numpy())
    weights[0, :used] = torch.from_numpy(estimator.weights_).float()
    means[0, :used] = torch.from_numpy(estimator.means_).float()
    factors[0, :used] = torch.linalg.cholesky(torch.from_numpy(estimator.covariances_)).float()
    return GaussianMixture(weights, means, factors)


class FittedMixture(nn.Module):
    """A mixture in buffers of fixed shapes, for each class or for all images; fitted after training."""

    weights: Tensor  # (groups, K); zeros until fitted
    means: Tensor  # (groups, K, D)
    factors: Tensor  # (groups, K, D, D)

    def __init__(self, dimensions: int, components: int, groups: int) -> None:
        """Build the buffers.

        Args:
            dimensions: D, of the latent vectors.
            components: K, of each mixture.
            groups: number of classes; 1 for one mixture of all images.
        """
        super().__init__()
        self.register_buffer("weights", torch.zeros(groups, components))
        self.register_buffer("means", torch.zeros(groups, components, dimensions))
        self.register_buffer("factors", torch.eye(dimensions).repeat(groups, components, 1, 1))

    def fit(self, latent: Tensor, labels: Tensor | None) -> None:
        """Fit the mixtures.

        Args:
            latent: (N, D).
            labels: (N,) int64; None for one mixture of all.
        """
        for group in range(len(self.weights)):
            own = latent if labels is None else latent[labels == group]
            weights, means, factors = fit_mixture(own, self.weights.shape[1])
            self.weights[group], self.means[group] = weights[0], means[0]
            self.factors[group] = factors[0]

    def fitted(self) -> GaussianMixture:
        """The mixtures, one for each class.

        Returns:
            A mixture with `groups` rows.

        Raises:
            UsageError: when they have not been fitted.
        """
        if not self.weights.any():
            raise UsageError(
                "--sampler mixture needs a mixture that is fitted when training ends, and this training has "
                "not fitted one: take --sampler prior, or train with this version"
            )
        return GaussianMixture(self.weights, self.means, self.factors)
