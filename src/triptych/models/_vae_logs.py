"""What the VAE logs of its latent space, and how to read it."""

from __future__ import annotations

from torch import Tensor

ACTIVE = 0.01  # variance of a dimension's posterior means over images, above which it counts as active
RANKS = (1, 2, 4, 8)  # of the dimensions whose KL is logged, the largest first

LOG_HELP = {
    "autoencoder/loss": "The negative ELBO in nats per image (a density may exceed 1, so it may fall below "
    "0): lower is better, and it should fall smoothly.",
    "autoencoder/distortion": "Nats per image given its latent vector, -log p(x|z); falls as reconstructions "
    "sharpen.",
    "autoencoder/rate": "KL(q(z|x) || p(z)): nats that the latent vector carries about the image; near 0 "
    "means that the latent space is not used (posterior collapse).",
    "autoencoder/active_units": "Latent dimensions that depend on the image (variance of their posterior "
    "means over the batch above 0.01): the others have collapsed onto the prior.",
    **{
        f"autoencoder/kl_dimension_{rank}": f"KL of one latent dimension in nats, the one with rank {rank} "
        "from the largest: near 0 where so many dimensions are not used. From N(0, 1) with the normal prior, "
        "else from the Gaussian with the batch's mean and variance."
        for rank in RANKS
    },
    "autoencoder/scale": "Scale of the decoder's distribution, images in [-1, 1]: what it cannot explain.",
}


def latent_use(mean: Tensor, log_std: Tensor, normal: bool) -> dict[str, Tensor]:
    """Measure how much each latent dimension says about the image.

    Args:
        mean: of q(z|x), (B, latent).
        log_std: of q(z|x), (B, latent).
        normal: whether the prior is N(0, I); else each dimension is compared with the Gaussian that has the
            mean and variance of the batch's aggregate posterior.

    Returns:
        Name -> (), of the values to log; ranks above the number of dimensions are left out.
    """
    if normal:
        by_dimension = kl_by_dimension(mean, log_std).mean(0)  # (latent,)
    else:
        variance = mean.var(0, correction=0) + (2 * log_std).exp().mean(0)
        by_dimension = 0.5 * variance.log() - log_std.mean(0)
    largest = by_dimension.sort(descending=True).values
    active = (mean.var(0, correction=0) > ACTIVE).sum().float()
    ranks = [rank for rank in RANKS if rank <= len(largest)]
    return {"active_units": active} | {f"kl_dimension_{rank}": largest[rank - 1] for rank in ranks}


def kl_by_dimension(mean: Tensor, log_std: Tensor) -> Tensor:
    """KL(N(mean, std^2) || N(0, 1)) of each latent dimension.

    Args:
        mean: (B, latent).
        log_std: (B, latent).

    Returns:
        (B, latent), in nats; the KL of the vectors is the sum over dimensions.

    References:
        Kingma and Welling 2013, appendix B.
    """
    return 0.5 * (mean.square() + (2 * log_std).exp() - 1 - 2 * log_std)
