"""The losses: each one is computed on a batch, and must fall after one small gradient step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from triptych.checklist.answers import Answer, not_applicable, pass_or_fail
from triptych.core.objectives import Objective, StepContext
from triptych.core.types import Batch
from triptych.training.trainer import Trainer

CHAPTER = "losses"
STRIDE = 1e-3  # of the small step, relative to the weights' norm and to the loss, whichever is less
LEAST_LOSS = 0.01  # the size that is assumed of a loss near 0
MORE_STRIDES = (1.0, 0.1, 0.01, 0.001)  # losses that are not smooth (gradient penalties) need smaller ones


def losses(training: Trainer) -> list[Answer]:
    """Answer every question on the losses. The training's weights are as before afterwards."""
    batch = next(training.batches()).to(training.device)
    answers = [_disjoint(training)]
    for objective in training.objectives:
        answers += _of_objective(training, objective, batch)
    spec = training.model.adversarial
    if spec is not None:
        by_name = {objective.name: objective for objective in training.objectives}
        answers += _of_adversaries(training, by_name[spec.critic], by_name[spec.generator], batch)
    return answers


def _context(training: Trainer, batch: Batch, without_lazy_terms: bool = False) -> StepContext:
    """The same context, and so the same noise, at each call.

    without_lazy_terms: of a step at which losses leave out what they add only every `step_period` steps.
    """
    active = frozenset(objective.name for objective in training.objectives)
    progress = min(training.step / training.plan.steps, 1.0)
    step, period = training.step, training.model.step_period
    if without_lazy_terms and period > 1 and step % period == 0:
        step += 1
    return StepContext(training.options.seed, step, progress, active, batch)


def _disjoint(training: Trainer) -> Answer:
    owned = [id(p) for objective in training.objectives for p in objective.parameters()]
    trainable = {id(p) for p in training.model.parameters() if p.requires_grad}
    good = len(owned) == len(set(owned)) and set(owned) == trainable
    evidence = " and ".join(f"{p.name} ({len(p.parameters())} tensors)" for p in training.objectives)
    return pass_or_fail(CHAPTER, "does every weight belong to one objective", good, evidence)


def _of_objective(training: Trainer, objective: Objective, batch: Batch) -> list[Answer]:
    loss, _ = objective.loss(batch, _context(training, batch))
    own, before = objective.parameters(), float(loss.detach())
    gradients = torch.autograd.grad(loss, own, allow_unused=True)
    names = {id(p): name for name, p in training.model.named_parameters()}
    named = [(names.get(id(p), "one without a name"), g) for p, g in zip(own, gradients, strict=True)]
    unreached = [
        name for name, g in named if g is None or not bool(g.isfinite().all()) or not bool(g.abs().sum() > 0)
    ]
    evidence = f"{len(own) - len(unreached)} of {len(own)} tensors have a finite gradient other than 0"
    if frozen := sum(len(group["params"]) for group in objective.optimizer.param_groups) - len(own):
        evidence += f" ({frozen} more are frozen by the settings)"
    answers = [
        pass_or_fail(
            CHAPTER,
            f"does the {objective.name}'s loss reach all its weights",
            not unreached,
            f"{evidence}{f', not {unreached[0]}' if unreached else ''}, loss {before:.4g}",
        )
    ]
    after = _after_a_step(training, objective, gradients, batch, before)
    answers.append(
        pass_or_fail(
            CHAPTER,
            f"does the {objective.name}'s loss fall along its gradient",
            after < before,
            f"{before:.6g} before, {after:.6g} after a small step",
        )
    )
    return answers


def _after_a_step(
    training: Trainer, objective: Objective, gradients: Sequence[Tensor | None], batch: Batch, before: float
) -> float:
    after = before
    for factor in MORE_STRIDES:
        with small_step(objective.parameters(), gradients, STRIDE * factor, before), torch.no_grad():
            after = float(_detached_loss(training, objective, batch))
        if after < before:
            break
    return after


def _detached_loss(training: Trainer, objective: Objective, batch: Batch) -> Tensor:
    with torch.enable_grad():  # a gradient penalty needs gradients
        return objective.loss(batch, _context(training, batch))[0].detach()


@contextmanager
def small_step(
    parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor | None], share: float, loss: float
) -> Iterator[None]:
    """Take one gradient step, and undo it on leaving.

    Its length is `share` of the weights' norm, or what lowers the loss by `share` of itself to first order,
    whichever is less: weights may be stored at a scale at which most of their norm hardly matters
    (StyleGAN's mapping network).

    Args:
        parameters: The weights to move.
        gradients: Of the loss, one for each parameter; None for those it does not depend on.
        share: Relative length of the step, above 0.
        loss: The loss before the step.
    """
    kept = [p.detach().clone() for p in parameters]
    pairs = [(p, g) for p, g in zip(parameters, gradients, strict=True) if g is not None]
    norm = float(torch.stack([p.detach().square().sum() for p, _ in pairs]).sum().sqrt())
    slope = float(torch.stack([g.square().sum() for _, g in pairs]).sum().sqrt())
    slope = max(slope, 1e-30)
    reach = min(norm, max(abs(loss), LEAST_LOSS) / slope)
    with torch.no_grad():
        for p, g in pairs:
            p.sub_(g, alpha=share * reach / slope)
    try:
        yield
    finally:
        with torch.no_grad():
            for p, old in zip(parameters, kept, strict=True):
                p.copy_(old)


def _of_adversaries(training: Trainer, critic: Objective, generator: Objective, batch: Batch) -> list[Answer]:
    """Of adversarial models: gradient flow between the two networks, and the critic's outputs."""
    loss, logged = critic.loss(batch, _context(training, batch))
    across = torch.autograd.grad(loss, generator.parameters(), allow_unused=True)
    leak = sum(float(g.abs().sum()) for g in across if g is not None)
    detached = pass_or_fail(
        CHAPTER,
        f"are the fakes detached in the {critic.name}'s loss",
        leak == 0,
        f"its gradient in the {generator.name}'s weights sums to {leak:.3g}",
    )
    before = _outputs(logged)
    generator_loss = generator.loss(batch, _context(training, batch))[0]
    move = torch.autograd.grad(generator_loss, generator.parameters(), allow_unused=True)
    after = _outputs(_after_moving(training, generator, move, critic, batch, float(generator_loss.detach())))
    raises = pass_or_fail(
        CHAPTER,
        f"does the {generator.name}'s step raise the {critic.name}'s output on fakes",
        after[1] > before[1],
        f"{before[1]:.6f} before, {after[1]:.6f} after",
    )
    return [detached, _critic_learns(training, critic, batch), raises]


def _critic_learns(training: Trainer, critic: Objective, batch: Batch) -> Answer:
    """Whether the gap of the outputs grows; without a lazy penalty where there are steps without one."""
    loss, logged = critic.loss(batch, _context(training, batch, without_lazy_terms=True))
    own = torch.autograd.grad(loss, critic.parameters(), allow_unused=True)
    now = _after_moving(training, critic, own, critic, batch, float(loss.detach()), without_lazy_terms=True)
    before, after = _outputs(logged), _outputs(now)
    question = f"does the {critic.name} learn to tell real from fake"
    evidence = f"real minus fake {before[0] - before[1]:.6f} before its step, {after[0] - after[1]:.6f} after"
    grows = after[0] - after[1] > before[0] - before[1]
    spec = training.model.adversarial
    penalties = [name for name in spec.penalties if name in logged] if spec is not None else []
    penalty_before, penalty_after = (sum(float(x[name]) for name in penalties) for x in (logged, now))
    if not grows and penalty_after < penalty_before:
        return not_applicable(CHAPTER, question, f"{evidence}; the step reduced the penalty instead")
    return pass_or_fail(CHAPTER, question, grows, evidence)


def _outputs(logged: dict[str, Tensor]) -> tuple[float, float]:
    return float(logged["real"]), float(logged["fake"])


def _after_moving(
    training: Trainer,
    moved: Objective,
    gradients: Sequence[Tensor | None],
    critic: Objective,
    batch: Batch,
    loss: float,
    without_lazy_terms: bool = False,
) -> dict[str, Tensor]:
    """The critic's logged values after a small step of one objective."""
    with small_step(moved.parameters(), gradients, STRIDE, loss):
        return critic.loss(batch, _context(training, batch, without_lazy_terms))[1]
