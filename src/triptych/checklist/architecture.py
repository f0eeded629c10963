"""The architecture rules of DCGAN, checked module by module (Radford, Metz and Chintala 2015, section 3)."""

from __future__ import annotations

from torch import nn

from triptych.checklist.answers import Answer, not_applicable, pass_or_fail
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
    """Give one answer for each rule."""
    spec = training.model.adversarial
    if spec is None:
        return [not_applicable(CHAPTER, "the DCGAN rules", f"{training.model.title} is not adversarial")]
    names = {"critic": spec.critic, "generator": spec.generator}
    questions = [rule.format(**names) for rule in RULES]
    objectives = {objective.name: objective for objective in training.objectives}
    if training.model.spec.size == 1:
        return [not_applicable(CHAPTER, "the DCGAN rules", "networks for 2-D points have no convolutions")]
    kept = _kept(_layers(training, objectives[spec.generator]), _layers(training, objectives[spec.critic]))
    why = training.model.checklist_exemptions.get(CHAPTER)
    if why is None:
        return [
            pass_or_fail(CHAPTER, q, good, evidence)
            for q, (good, evidence) in zip(questions, kept, strict=True)
        ]
    return [
        pass_or_fail(CHAPTER, question, True, evidence)
        if good
        else not_applicable(CHAPTER, question, f"{evidence}; not required of {training.model.title}: {why}")
        for question, (good, evidence) in zip(questions, kept, strict=True)
    ]


def _layers(training: Trainer, objective: Objective) -> list[nn.Module]:
    """The leaf modules of the networks that an objective updates, in order, also those without weights."""
    owned = {id(p) for p in objective.parameters()}
    networks = [m for m in training.model.children() if any(id(p) in owned for p in m.parameters())]
    return [leaf for network in networks for leaf in network.modules() if not any(leaf.children())]


def _kept(generator: list[nn.Module], critic: list[nn.Module]) -> list[tuple[bool, str]]:
    """Whether each rule is kept, and the evidence."""
    pools = [type(m).__name__ for m in (*generator, *critic) if isinstance(m, POOLS)]
    down = [m for m in critic if isinstance(m, nn.Conv2d)]
    up = [m for m in generator if isinstance(m, nn.ConvTranspose2d)]
    strided = sum(max(m.stride) > 1 for m in down)
    fractional = sum(max(m.stride) > 1 for m in up)
    plain = sum(isinstance(m, nn.Conv2d) for m in generator)
    return [
        (not pools, f"{len(pools)} pooling layers" + (f": {', '.join(pools)}" if pools else "")),
        (strided > 0, f"{strided} of {len(down)} convolutions have a stride over 1"),
        (
            fractional > 0 and not plain,
            f"{fractional} of {len(up) + plain} convolutions are fractionally strided",
        ),
        _norms(generator, critic),
        _generator_activations(generator),
        _critic_activations(critic),
    ]


def _norms(generator: list[nn.Module], critic: list[nn.Module]) -> tuple[bool, str]:
    generator_norms, critic_norms = _followed(generator), _followed(critic)
    inner = generator_norms[:-1] + critic_norms[1:-1]  # the critic's last layer is its output
    evidence = (
        f"after {sum(inner)} of {len(inner)} inner convolutions; at the generator's output "
        f"{'there is one' if generator_norms and generator_norms[-1] else 'none'}, at the critic's input "
        f"{'there is one' if critic_norms and critic_norms[0] else 'none'}"
    )
    both = bool(generator_norms) and bool(critic_norms)
    good = both and bool(inner) and all(inner) and not generator_norms[-1] and not critic_norms[0]
    return good, evidence


def _followed(layers: list[nn.Module]) -> list[bool]:
    """For each convolution, whether batch norm comes before the next one."""
    places = [k for k, m in enumerate(layers) if isinstance(m, CONVOLUTIONS)]
    ends = [*places[1:], len(layers)] if places else []
    return [any(isinstance(m, NORMS) for m in layers[a:b]) for a, b in zip(places, ends, strict=True)]


def _activations(layers: list[nn.Module]) -> list[str]:
    types = (nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.ELU, nn.SELU, nn.PReLU, nn.Mish)
    return [type(m).__name__ for m in layers if isinstance(m, types)]


def _generator_activations(layers: list[nn.Module]) -> tuple[bool, str]:
    names = _activations(layers)
    good = bool(names) and names[-1] == "Tanh" and set(names[:-1]) == {"ReLU"}
    return good, ", ".join(names) or "none found among its modules"


def _critic_activations(layers: list[nn.Module]) -> tuple[bool, str]:
    names = _activations(layers)
    kept = [name for name in names if name != "Sigmoid"]  # at its end it may be part of the loss
    return bool(kept) and set(kept) == {"LeakyReLU"}, ", ".join(names) or "none found among its modules"
