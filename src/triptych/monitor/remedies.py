"""What may help against a disease: settings of the family at hand, gentlest first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

FEW_PICTURES = 1000  # to train on: short runs on more pay for augmentation (`benchmarks/small_data.py`)


class Remedy(NamedTuple):
    """One thing to try."""

    words: str
    flags: dict[str, str]  # "--lr" -> "1e-4"; "" for a switch


def remedies_for(verdict: str, config: Mapping[str, Any], options: Mapping[str, Any]) -> list[Remedy]:
    """At most two remedies for a verdict, with flags that the run's family has.

    config: the family's, as run.json keeps it. options: the training's; "pictures" beside them says how
    many it was trained on.
    """
    back = (_rollback,) if verdict in MAY_BE_FATAL else ()  # others never set it off
    makers = (*ORDER.get(verdict, ()), *back, _another_seed)
    return [remedy for make in makers if (remedy := make(config, options)) is not None][:2]


Values = Mapping[str, Any]


def _gentler(config: Values, options: Values) -> Remedy | None:
    if "lr" not in config:
        return None
    rate = config["lr"] / (100 if config["lr"] >= 0.02 else 10 if config["lr"] >= 2e-3 else 4)
    flags = {"--lr": f"{rate:.3g}"}
    if config.get("critic_lr") is not None:
        flags["--critic-lr"] = f"{config['critic_lr'] * rate / config['lr']:.3g}"
    return Remedy("A smaller learning rate for both players.", flags)


def _slower_critic(config: Values, options: Values) -> Remedy | None:
    if "critic_lr" not in config:
        return None
    rate = (config["critic_lr"] or config["lr"]) / 4
    return Remedy(
        "A slower critic: it must not win before the generator has learnt.", {"--critic-lr": f"{rate:.3g}"}
    )


def _faster_critic(config: Values, options: Values) -> Remedy | None:
    if not (config.get("critic_lr") or math.inf) < config.get("lr", 0):
        return None
    return Remedy("A critic that learns as fast as the generator.", {"--critic-lr": f"{config['lr']:.3g}"})


def _patient_generator(config: Values, options: Values) -> Remedy | None:
    if "generator_interval" not in config:
        return None
    every = str(2 * config["generator_interval"])
    return Remedy("More of the critic's steps to each of the generator's.", {"--generator-interval": every})


def _quicker(config: Values, options: Values) -> Remedy | None:
    if "lr" not in config or config["lr"] >= 1e-3:
        return None
    return Remedy("A usual learning rate for both players.", {"--lr": "1e-3"})


def _quicker_generator(config: Values, options: Values) -> Remedy | None:
    if config.get("generator_interval", 1) <= 1:
        return None
    return Remedy("A generator that moves at every step.", {"--generator-interval": "1"})


def _usual_clipping(config: Values, options: Values) -> Remedy | None:
    if config.get("lipschitz") != "clipping" or config["clip_value"] >= 0.01:
        return None
    return Remedy(
        "A critic with larger weights: what it tells the generator fades.", {"--clip-value": "0.01"}
    )


def _non_saturating(config: Values, options: Values) -> Remedy | None:
    if config.get("loss") != "min-max":
        return None
    return Remedy(
        "The non-saturating loss: log(1 - D(G(z))) vanishes where the critic is sure.",
        {"--loss": "non-saturating"},
    )


def _noise(config: Values, options: Values) -> Remedy | None:
    if "instance_noise" not in config or config["instance_noise"] >= 0.3:
        return None
    return Remedy(
        "Noise on what the critic sees, so that real and fake overlap.", {"--instance-noise": "0.3"}
    )


def _wider_latent(config: Values, options: Values) -> Remedy | None:
    if not isinstance(config.get("latent"), int) or config["latent"] >= 64:
        return None
    return Remedy(
        f"More numbers in the latent vector: {config['latent']} span too little.", {"--latent": "100"}
    )


def _usual_momentum(config: Values, options: Values) -> Remedy | None:
    if config.get("beta1", 0.5) <= 0.5:
        return None
    return Remedy("Less momentum: a high beta1 is known to make the game swing.", {"--beta1": "0.5"})


def _larger_batch(config: Values, options: Values) -> Remedy | None:
    if options.get("batch", 128) >= 128:
        return None
    part = options.get("micro_batch") or 1  # it must divide the batch
    larger = str(math.ceil(128 / part) * part)
    return Remedy("A larger batch: each step then sees more of the modes.", {"--batch": larger})


def _augment(config: Values, options: Values) -> Remedy | None:
    if config.get("augment", {}).get("kind") != "none" or options.get("pictures", math.inf) > FEW_PICTURES:
        return None
    return Remedy(
        "Augmentation: of few pictures the critic soon knows each by heart.", {"--augment": "adaptive"}
    )


def _stronger_penalty(config: Values, options: Values) -> Remedy | None:
    if "gamma" not in config:
        return None
    gamma = 3 * config["gamma"] or 10.0
    return Remedy("A stronger penalty on the critic's gradients.", {"--gamma": f"{gamma:.3g}"})


def _lighter_penalty(config: Values, options: Values) -> Remedy | None:
    if not config.get("gamma"):
        return None
    return Remedy("A lighter penalty: the critic may say more.", {"--gamma": f"{config['gamma'] / 10:.3g}"})


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
    return Remedy("Let it go back to its last good state, at lower rates.", {"--on-collapse": "rollback"})


def _another_seed(config: Values, options: Values) -> Remedy:
    return Remedy("Another seed: some games are lost by chance.", {"--seed": str(options.get("seed", 0) + 1)})


MAY_BE_FATAL = ("not finite", "diverged", "generator collapsed", "critic overpowering")
ORDER = {
    "not finite": (_gentler, _fp32),
    "diverged": (_gentler, _usual_momentum, _noise),
    "generator collapsed": (
        _wider_latent, _augment, _noise, _stronger_penalty, _larger_batch, _gentler,
    ),
    "critic overpowering": (_non_saturating, _noise, _slower_critic, _gentler),
    "critic not learning": (_faster_critic, _lighter_penalty, _patient_generator, _gentler),
    "generator not learning": (_quicker, _quicker_generator, _usual_clipping),
    "oscillating": (_usual_momentum, _gentler, _larger_batch),
    "labels carry nothing": (_unconditional,),
}  # fmt: skip
