"""Are DCGAN's rules kept: the two networks are walked, module by module (Radford, Metz and Chintala 2015)."""

from __future__ import annotations

from torch import nn

from triptych.checklist.answers import Answer, beside, judged
from triptych.core.objectives import Objective
from triptych.training.trainer import Trainer

CHAPTER = "architecture"
RULES = (
    "no pooling",
    "strided convolutions in the {critic}",
    "fractionally strided convolutions in the {generator}",
    "batch norm but at the {generator}'s output and the {critic}'s input",
    "ReLU in the {generator}, Tanh at its end",
    "LeakyReLU in the {critic}",
)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)
POOLS = (
    nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.LPPool2d,
    nn.FractionalMaxPool2d,
)  # fmt: skip
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def rules(training: Trainer) -> list[Answer]:
    """One answer a rule."""
    game = training.model.adversarial
    if game is None:
        return [beside(CHAPTER, "the DCGAN rules", f"{training.model.title} plays no game of two")]
    names = {"critic": game.critic, "generator": game.generator}
    asked = [rule.format(**names) for rule in RULES]
    players = {player.name: player for player in training.objectives}
    if training.model.spec.size == 1:
        return [
            beside(CHAPTER, "the DCGAN rules", "points are no pictures: their networks have no convolutions")
        ]
    kept = _kept(_layers(training, players[game.generator]), _layers(training, players[game.critic]))
    why = training.model.checklist_exemptions.get(CHAPTER)
    if why is None:
        return [judged(CHAPTER, q, good, found) for q, (good, found) in zip(asked, kept, strict=True)]
    return [
        judged(CHAPTER, question, True, found)
        if good
        else beside(CHAPTER, question, f"{found}; {training.model.title} need not: {why}")
        for question, (good, found) in zip(asked, kept, strict=True)
    ]


def _layers(training: Trainer, player: Objective) -> list[nn.Module]:
    """The leaves of the networks that a player moves, in order, those without weights among them."""
    owned = {id(p) for p in player.parameters()}
    homes = [m for m in training.model.children() if any(id(p) in owned for p in m.parameters())]
    return [leaf for home in homes for leaf in home.modules() if not any(leaf.children())]


def _kept(forger: list[nn.Module], judge: list[nn.Module]) -> list[tuple[bool, str]]:
    """Whether each rule is kept, and what was found."""
    pools = [type(m).__name__ for m in (*forger, *judge) if isinstance(m, POOLS)]
    down = [m for m in judge if isinstance(m, nn.Conv2d)]
    up = [m for m in forger if isinstance(m, nn.ConvTranspose2d)]
    strided = sum(max(m.stride) > 1 for m in down)
    fractional = sum(max(m.stride) > 1 for m in up)
    plain = sum(isinstance(m, nn.Conv2d) for m in forger)
    return [
        (not pools, f"{len(pools)} pooling layers" + (f": {', '.join(pools)}" if pools else "")),
        (strided > 0, f"{strided} of {len(down)} convolutions have a stride over 1"),
        (
            fractional > 0 and not plain,
            f"{fractional} of {len(up) + plain} convolutions are fractionally strided",
        ),
        _norms(forger, judge),
        _forger_activations(forger),
        _judge_activations(judge),
    ]


def _norms(forger: list[nn.Module], judge: list[nn.Module]) -> tuple[bool, str]:
    mine, theirs = _followed(forger), _followed(judge)
    inner = mine[:-1] + theirs[1:-1]  # the judge's last layer is its verdict
    found = (
        f"after {sum(inner)} of {len(inner)} inner convolutions; at the generator's output "
        f"{'there is one' if mine and mine[-1] else 'none'}, at the critic's input "
        f"{'there is one' if theirs and theirs[0] else 'none'}"
    )
    both = bool(mine) and bool(theirs)
    good = both and bool(inner) and all(inner) and not mine[-1] and not theirs[0]
    return good, found


def _followed(layers: list[nn.Module]) -> list[bool]:
    """For each convolution, whether batch norm comes before the next one."""
    places = [k for k, m in enumerate(layers) if isinstance(m, CONVOLUTIONS)]
    ends = [*places[1:], len(layers)] if places else []
    return [any(isinstance(m, NORMS) for m in layers[a:b]) for a, b in zip(places, ends, strict=True)]


def _activations(layers: list[nn.Module]) -> list[str]:
    kinds = (nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.ELU, nn.SELU, nn.PReLU, nn.Mish)
    return [type(m).__name__ for m in layers if isinstance(m, kinds)]


def _forger_activations(layers: list[nn.Module]) -> tuple[bool, str]:
    found = _activations(layers)
    good = bool(found) and found[-1] == "Tanh" and set(found[:-1]) == {"ReLU"}
    return good, ", ".join(found) or "none found among its modules"


def _judge_activations(layers: list[nn.Module]) -> tuple[bool, str]:
    found = _activations(layers)
    kept = [name for name in found if name != "Sigmoid"]  # at its end it may be part of the loss
    return bool(kept) and set(kept) == {"LeakyReLU"}, ", ".join(found) or "none found among its modules"
