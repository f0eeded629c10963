"""Settings of the VAE."""

from __future__ import annotations

from types import MappingProxyType
from typing import Literal

from pydantic import Field, model_validator

from triptych.core.config import Settings
from triptych.nets.likelihoods import GaussianLikelihood, LikelihoodSettings


class VaeConfig(Settings):
    """What is fixed when training starts."""

    former_names = MappingProxyType({"rate": "lr", "warmup": "kl_warmup"})

    latent: int = Field(16, ge=1)
    """Dimensions of the latent space; with 2 it can be drawn as a map."""
    width: int = Field(32, ge=1)
    """Channels of the layers nearest the image."""
    prior: Literal["normal", "flow", "vamp"] = "flow"
    """Distribution of latent vectors: N(0, I); N(0, I) sent through a normalizing flow learned jointly; or
    (vamp) a mixture of the encoder's distributions for learned pseudo-inputs.

    Both learned priors close the holes of the normal one: regions to which no image is encoded but from which
    samples are drawn all the same (Chen et al. 2017; Dai and Wipf 2019). The ELBO stays a bound.
    """
    pseudo_inputs: int = Field(100, ge=1)
    """Components of the vamp prior, in all: with labels each class has its share."""
    likelihood: LikelihoodSettings = GaussianLikelihood()
    """Distribution of pixels given the latent vector. bernoulli: of gray images, binarized at every step;
    mixture: logistic distributions whose means and scales the decoder predicts for each pixel."""
    importance_samples: int = Field(1, ge=1)
    """Latent samples k per image: 1 trains the ELBO, more the tighter importance-weighted bound."""
    free_bits: float = Field(0.0, ge=0)
    """Nats per latent dimension that the KL term lets pass for free, against posterior collapse."""
    beta: float = Field(1.0, ge=0)
    """Weight of the KL term: 1 is the ELBO; more gives a more regular latent space and blurrier images."""
    kl_warmup: float = Field(0.1, ge=0, le=1)
    """Share of the run over which beta rises from 0, so that the latent space is used before it costs."""
    lr: float = Field(2e-3, gt=0)
    """Peak learning rate."""

    @model_validator(mode="after")
    def check_free_bits(self) -> VaeConfig:
        """Refuse free bits where the loss has no KL term per dimension."""
        if self.free_bits and (self.prior != "normal" or self.importance_samples > 1):
            raise ValueError(
                "--free-bits needs --prior normal and --importance-samples 1: only then has the loss a KL "
                "term for each latent dimension"
            )
        return self


class VaeControls(Settings):
    """What may be chosen when sampling."""

    truncation: float = Field(1.0, ge=0)
    """Scale of the latent vector: below 1 the images are more typical and less diverse."""
    sampler: Literal["prior", "mixture"] = "prior"
    """Distribution of latent vectors: the prior, or a Gaussian mixture (for each class) that was fitted to
    encoded training images when training ended."""
