"""Are the losses right: each player's is taken again on a batch, and followed one small step downhill."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from triptych.checklist.answers import Answer, beside, judged
from triptych.core.objectives import Objective, StepContext
from triptych.core.types import Batch
from triptych.training.trainer import Trainer

CHAPTER = "losses"
STRIDE = 1e-3  # of the small step: of the weights' length and, by its slope, of the loss, whichever is less
LEAST_LOSS = 0.01  # what a loss is taken for that happens to be near 0
MORE_STRIDES = (1.0, 0.1, 0.01, 0.001)  # a rough landscape, as of penalties with kinks, needs smaller ones


def losses(training: Trainer) -> list[Answer]:
    """Every question on the losses. The training's weights are as before afterwards."""
    batch = next(training.batches()).to(training.device)
    answers = [_apart(training)]
    for player in training.objectives:
        answers += _of_player(training, player, batch)
    game = training.model.adversarial
    if game is not None:
        by_name = {player.name: player for player in training.objectives}
        answers += _of_game(training, by_name[game.critic], by_name[game.generator], batch)
    return answers


def _turn(training: Trainer, batch: Batch, between: bool = False) -> StepContext:
    """The same turn each time it is asked for: the same noise.

    between: one between the steps at which the family does what it does only now and then, if there is one.
    """
    movers = frozenset(player.name for player in training.objectives)
    asked, done = training.options, min(training.step / training.plan.steps, 1.0)
    step = training.step
    rhythm = training.model.step_period
    if between and rhythm > 1 and step % rhythm == 0:
        step += 1
    return StepContext(asked.seed, step, done, movers, batch)


def _apart(training: Trainer) -> Answer:
    owned = [id(p) for player in training.objectives for p in player.parameters()]
    all_of_it = {id(p) for p in training.model.parameters() if p.requires_grad}
    good = len(owned) == len(set(owned)) and set(owned) == all_of_it
    who = " and ".join(f"{p.name} ({len(p.parameters())} tensors)" for p in training.objectives)
    return judged(CHAPTER, "does every weight belong to one player", good, who)


def _of_player(training: Trainer, player: Objective, batch: Batch) -> list[Answer]:
    loss, _ = player.loss(batch, _turn(training, batch))
    own, before = player.parameters(), float(loss.detach())
    gradients = torch.autograd.grad(loss, own, allow_unused=True)
    names = {id(p): name for name, p in training.model.named_parameters()}
    named = [(names.get(id(p), "one without a name"), g) for p, g in zip(own, gradients, strict=True)]
    unmoved = [
        name for name, g in named if g is None or not bool(g.isfinite().all()) or not bool(g.abs().sum() > 0)
    ]
    told = f"{len(own) - len(unmoved)} of {len(own)} tensors have a finite gradient other than 0"
    if frozen := sum(len(group["params"]) for group in player.optimizer.param_groups) - len(own):
        told += f" ({frozen} more are frozen by the settings)"
    answers = [
        judged(
            CHAPTER,
            f"does the {player.name}'s loss reach all its weights",
            not unmoved,
            f"{told}{f', not {unmoved[0]}' if unmoved else ''}, loss {before:.4g}",
        )
    ]
    after = _after_a_step(training, player, gradients, batch, before)
    answers.append(
        judged(
            CHAPTER,
            f"does the {player.name}'s loss fall along its gradient",
            after < before,
            f"{before:.6g} before, {after:.6g} after a small step",
        )
    )
    return answers


def _after_a_step(
    training: Trainer, player: Objective, gradients: Sequence[Tensor | None], batch: Batch, before: float
) -> float:
    after = before
    for factor in MORE_STRIDES:
        with small_step(player.parameters(), gradients, STRIDE * factor, before), torch.no_grad():
            after = float(_detached_loss(training, player, batch))
        if after < before:
            break
    return after


def _detached_loss(training: Trainer, player: Objective, batch: Batch) -> Tensor:
    with torch.enable_grad():  # a penalty may ask for gradients of its own
        return player.loss(batch, _turn(training, batch))[0].detach()


@contextmanager
def small_step(
    parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor | None], share: float, loss: float
) -> Iterator[None]:
    """Weights moved downhill, and back again on leaving.

    By `share` of their own length, or so far that by its slope the loss falls by `share` of itself if that
    is nearer: weights may be stored in a unit in which most of their length hardly acts (StyleGAN's mapping).
    """
    kept = [p.detach().clone() for p in parameters]
    pairs = [(p, g) for p, g in zip(parameters, gradients, strict=True) if g is not None]
    length = float(torch.stack([p.detach().square().sum() for p, _ in pairs]).sum().sqrt())
    steep = float(torch.stack([g.square().sum() for _, g in pairs]).sum().sqrt())
    steep = max(steep, 1e-30)
    reach = min(length, max(abs(loss), LEAST_LOSS) / steep)
    with torch.no_grad():
        for p, g in pairs:
            p.sub_(g, alpha=share * reach / steep)
    try:
        yield
    finally:
        with torch.no_grad():
            for p, old in zip(parameters, kept, strict=True):
                p.copy_(old)


def _of_game(training: Trainer, critic: Objective, generator: Objective, batch: Batch) -> list[Answer]:
    """What only a game of two can be asked: who reaches whom, and which way the verdicts go."""
    loss, said = critic.loss(batch, _turn(training, batch))
    across = torch.autograd.grad(loss, generator.parameters(), allow_unused=True)
    leak = sum(float(g.abs().sum()) for g in across if g is not None)
    detached = judged(
        CHAPTER,
        f"are the fakes detached in the {critic.name}'s loss",
        leak == 0,
        f"its gradient in the {generator.name}'s weights sums to {leak:.3g}",
    )
    before = _verdicts(said)
    forged = generator.loss(batch, _turn(training, batch))[0]
    move = torch.autograd.grad(forged, generator.parameters(), allow_unused=True)
    fooled = _verdicts(_after_moving(training, generator, move, critic, batch, float(forged.detach())))
    raises = judged(
        CHAPTER,
        f"does the {generator.name}'s step raise the {critic.name}'s verdict on fakes",
        fooled[1] > before[1],
        f"{before[1]:.6f} before, {fooled[1]:.6f} after",
    )
    return [detached, _critic_learns(training, critic, batch), raises]


def _critic_learns(training: Trainer, critic: Objective, batch: Batch) -> Answer:
    """Whether the gap of the verdicts grows; asked without a penalty where steps without one are made."""
    loss, said = critic.loss(batch, _turn(training, batch, between=True))
    own = torch.autograd.grad(loss, critic.parameters(), allow_unused=True)
    now = _after_moving(training, critic, own, critic, batch, float(loss.detach()), between=True)
    before, after = _verdicts(said), _verdicts(now)
    question = f"does the {critic.name} learn to tell real from fake"
    found = f"real minus fake {before[0] - before[1]:.6f} before its step, {after[0] - after[1]:.6f} after"
    grows = after[0] - after[1] > before[0] - before[1]
    game = training.model.adversarial
    paid = [name for name in game.penalties if name in said] if game is not None else []
    if not grows and sum(float(now[name]) for name in paid) < sum(float(said[name]) for name in paid):
        return beside(CHAPTER, question, f"{found}; the step served the penalty")
    return judged(CHAPTER, question, grows, found)


def _verdicts(said: dict[str, Tensor]) -> tuple[float, float]:
    return float(said["real"]), float(said["fake"])


def _after_moving(
    training: Trainer,
    mover: Objective,
    gradients: Sequence[Tensor | None],
    critic: Objective,
    batch: Batch,
    loss: float,
    between: bool = False,
) -> dict[str, Tensor]:
    """What the critic says after one player's small step."""
    with small_step(mover.parameters(), gradients, STRIDE, loss):
        return critic.loss(batch, _turn(training, batch, between))[1]
