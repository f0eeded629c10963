"""The VampPrior: a mixture of a VAE's posteriors of learned pseudo-inputs (Tomczak and Welling 2018)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from triptych.core.errors import UsageError
from triptych.core.types import Batch, ImageSpec
from triptych.nets.gaussian_mixture import GaussianMixture


class VampPrior(nn.Module):
    """The pseudo-inputs of p(z|y) = mean_k q(z|u_k, y), an equal share of them for each class y.

    They have the shape of images but are free: nothing holds them in [-1, 1].

    References:
        Tomczak and Welling 2018, "VAE with a VampPrior", eq. 9.
    """

    def __init__(self, components: int, groups: int, spec: ImageSpec) -> None:
        """Build the pseudo-inputs, near 0.

        Args:
            components: their number, in all.
            groups: number of classes; 1 for an unconditional VAE.
            spec: shape of the images.

        Raises:
            UsageError: when there are fewer components than classes.
        """
        super().__init__()
        if components < groups:
            raise UsageError(
                f"--pseudo-inputs {components} are too few for {groups} classes: give at least one per class"
            )
        self.groups, self.each = groups, components // groups
        shape = (groups * self.each, spec.channels, spec.size, spec.size)
        self.pseudo_inputs = nn.Parameter(0.1 * torch.randn(shape))  # ordered by class

    def with_pseudo_inputs(self, images: Tensor | None, label: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Append the pseudo-inputs to a batch, so that batch norm treats them as it treats images.

        Args:
            images: (B, C, H, W), or None for the pseudo-inputs alone.
            label: of the images, (B, classes) one-hot, or None for an unconditional VAE.

        Returns:
            (B + K, C, H, W), and the labels, (B + K, classes) or None.
        """
        labels = None
        if label is not None:
            labels = torch.eye(self.groups, device=label.device).repeat_interleave(self.each, 0)
            labels = labels if images is None else torch.cat([label, labels])
        return self.pseudo_inputs if images is None else torch.cat([images, self.pseudo_inputs]), labels

    def mixture(self, mean: Tensor, log_std: Tensor) -> GaussianMixture:
        """The prior of each class.

        Args:
            mean: of the pseudo-inputs' posteriors, (K, latent).
            log_std: of the same, (K, latent).

        Returns:
            Mixtures with `groups` rows.
        """
        means, stds = (part.view(self.groups, self.each, -1) for part in (mean, log_std.exp()))
        return GaussianMixture(means.new_full(means.shape[:2], 1 / self.each), means, stds)

    @torch.no_grad()
    def begin_at(self, batches: Iterator[Batch]) -> None:
        """Set the pseudo-inputs to training images of their classes, as far as these are found.

        Args:
            batches: training batches, without end.
        """
        missing = {
            group: list(range(group * self.each, (group + 1) * self.each)) for group in range(self.groups)
        }
        for _, batch in zip(range(10 + len(self.pseudo_inputs)), batches, strict=False):
            labels = (
                [0] * len(batch.images) if self.groups == 1 or batch.labels is None else batch.labels.tolist()
            )
            for image, group in zip(batch.images, labels, strict=True):
                if missing[group]:
                    self.pseudo_inputs[missing[group].pop()] = image
            if not any(missing.values()):
                break
