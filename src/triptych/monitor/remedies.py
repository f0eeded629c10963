"""What may help against a training problem: settings of the model at hand, gentlest first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

FEW_IMAGES = 1000  # training images: short runs on more lose by augmentation (`benchmarks/small_data.py`)


class Remedy(NamedTuple):
    """One thing to try."""

    sentence: str
    flags: dict[str, str]  # "--lr" -> "1e-4"; "" for a switch


def remedies_for(verdict: str, config: Mapping[str, Any], options: Mapping[str, Any]) -> list[Remedy]:
    """List at most two remedies for a verdict, with flags that the run's model has.

    Args:
        verdict: The verdict, as `verdicts.Verdict`.
        config: The model's settings, as run.json has them.
        options: The training's, and "images": how many it was trained on.

    Returns:
        The gentlest first.
    """
    rollback = (_rollback,) if verdict in MAY_BE_FATAL else ()  # others never set it off
    candidates = (*ORDER.get(verdict, ()), *rollback, _another_seed)
    return [remedy for make in candidates if (remedy := make(config, options)) is not None][:2]


Values = Mapping[str, Any]


def _lower_lr(config: Values, options: Values) -> Remedy | None:
    if "lr" not in config:
        return None
    lr = config["lr"] / (100 if config["lr"] >= 0.02 else 10 if config["lr"] >= 2e-3 else 4)
    flags = {"--lr": f"{lr:.3g}"}
    if config.get("critic_lr") is not None:
        flags["--critic-lr"] = f"{config['critic_lr'] * lr / config['lr']:.3g}"
    return Remedy("A lower learning rate for both networks.", flags)


def _lower_critic_lr(config: Values, options: Values) -> Remedy | None:
    if "critic_lr" not in config:
        return None
    lr = (config["critic_lr"] or config["lr"]) / 4
    return Remedy(
        "A lower learning rate for the critic: it must not win before the generator has learned.",
        {"--critic-lr": f"{lr:.3g}"},
    )


def _equal_critic_lr(config: Values, options: Values) -> Remedy | None:
    if not (config.get("critic_lr") or math.inf) < config.get("lr", 0):
        return None
    return Remedy("The generator's learning rate for the critic too.", {"--critic-lr": f"{config['lr']:.3g}"})


def _more_critic_updates(config: Values, options: Values) -> Remedy | None:
    if "generator_interval" not in config:
        return None
    every = str(2 * config["generator_interval"])
    return Remedy("More updates of the critic per update of the generator.", {"--generator-interval": every})


def _usual_lr(config: Values, options: Values) -> Remedy | None:
    if "lr" not in config or config["lr"] >= 1e-3:
        return None
    return Remedy("A usual learning rate for both networks.", {"--lr": "1e-3"})


def _update_generator_every_step(config: Values, options: Values) -> Remedy | None:
    if config.get("generator_interval", 1) <= 1:
        return None
    return Remedy("An update of the generator at every step.", {"--generator-interval": "1"})


def _usual_clipping(config: Values, options: Values) -> Remedy | None:
    if config.get("lipschitz") != "clipping" or config["clip_value"] >= 0.01:
        return None
    return Remedy(
        "A larger bound on the critic's weights: with a small one the generator's gradient vanishes.",
        {"--clip-value": "0.01"},
    )


def _non_saturating(config: Values, options: Values) -> Remedy | None:
    if config.get("loss") != "min-max":
        return None
    return Remedy(
        "The non-saturating loss: the gradient of log(1 - D(G(z))) vanishes where the critic is confident.",
        {"--loss": "non-saturating"},
    )


def _instance_noise(config: Values, options: Values) -> Remedy | None:
    if "instance_noise" not in config or config["instance_noise"] >= 0.3:
        return None
    return Remedy(
        "Noise on the critic's inputs, so that the distributions of real images and fakes overlap.",
        {"--instance-noise": "0.3"},
    )


def _larger_latent(config: Values, options: Values) -> Remedy | None:
    if not isinstance(config.get("latent"), int) or config["latent"] >= 64:
        return None
    return Remedy(f"A latent vector of more dimensions: {config['latent']} are too few.", {"--latent": "100"})


def _usual_momentum(config: Values, options: Values) -> Remedy | None:
    if config.get("beta1", 0.5) <= 0.5:
        return None
    return Remedy("Less momentum: a high beta1 is known to make GANs oscillate.", {"--beta1": "0.5"})


def _larger_batch(config: Values, options: Values) -> Remedy | None:
    if options.get("batch", 128) >= 128:
        return None
    part = options.get("micro_batch") or 1  # it must divide the batch
    larger = str(math.ceil(128 / part) * part)
    return Remedy("A larger batch, which holds more of the modes.", {"--batch": larger})


def _augment(config: Values, options: Values) -> Remedy | None:
    if config.get("augment", {}).get("kind") != "none" or options.get("images", math.inf) > FEW_IMAGES:
        return None
    return Remedy("Augmentation: the critic soon memorizes a small data set.", {"--augment": "adaptive"})


def _stronger_penalty(config: Values, options: Values) -> Remedy | None:
    if "gamma" not in config:
        return None
    gamma = 3 * config["gamma"] or 10.0
    return Remedy("A stronger penalty on the critic's gradients.", {"--gamma": f"{gamma:.3g}"})


def _weaker_penalty(config: Values, options: Values) -> Remedy | None:
    if not config.get("gamma"):
        return None
    return Remedy("A weaker penalty on the critic's gradients.", {"--gamma": f"{config['gamma'] / 10:.3g}"})


def _fp32(config: Values, options: Values) -> Remedy | None:
    if options.get("precision") == "fp32":
        return None
    return Remedy("Full precision.", {"--precision": "fp32"})


def _unconditional(config: Values, options: Values) -> Remedy | None:
    if options.get("conditional") is False:
        return None
    return Remedy(
        "Check the labels (triptych data inspect), or train without them.", {"--no-conditional": ""}
    )


def _rollback(config: Values, options: Values) -> Remedy | None:
    if options.get("on_collapse") == "rollback":
        return None
    return Remedy(
        "Roll back to the last healthy checkpoint, at lower learning rates.", {"--on-collapse": "rollback"}
    )


def _another_seed(config: Values, options: Values) -> Remedy:
    return Remedy("Another seed: some trainings fail by chance.", {"--seed": str(options.get("seed", 0) + 1)})


MAY_BE_FATAL = ("non-finite values", "divergence", "mode collapse", "critic too strong")
ORDER = {
    "non-finite values": (_lower_lr, _fp32),
    "divergence": (_lower_lr, _usual_momentum, _instance_noise),
    "mode collapse": (
        _larger_latent, _augment, _instance_noise, _stronger_penalty, _larger_batch, _lower_lr,
    ),
    "critic too strong": (_non_saturating, _instance_noise, _lower_critic_lr, _lower_lr),
    "critic not learning": (_equal_critic_lr, _weaker_penalty, _more_critic_updates, _lower_lr),
    "generator not learning": (_usual_lr, _update_generator_every_step, _usual_clipping),
    "oscillation": (_usual_momentum, _lower_lr, _larger_batch),
    "labels have no effect": (_unconditional,),
}  # fmt: skip
