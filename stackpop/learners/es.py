"""The ES leader: evolution strategies with antithetic perturbations and centred ranks."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from stackpop.arrays import array_of, library_of, row_order, running_largest, tensor_of
from stackpop.learners.adam import Adam, spread
from stackpop.learners.batch import Batch
from stackpop.learners.snapshot import Snapshot, joined, part
from stackpop.learners.streams import Phase, Streams
from stackpop.learners.tables import greedy, normalised_init, softmax
from stackpop.settings import Settings


class ESSettings(Settings):
    """Settings of the ES leader (Salimans et al., 2017).

    lr: Adam's learning rate. updates: generations. population: perturbed leaders a generation, of one
    episode each; an even number, as they come in opposite pairs. noise: standard deviation of the
    perturbations. l2: weight of the logits' decay. acting: whether leaders take the action of the largest
    logit, or sample from the softmax as RLlib's do, which learns far more slowly.
    """

    algorithm: Literal["es"] = "es"
    lr: PositiveFloat = 0.01
    updates: PositiveInt = 500
    population: Annotated[PositiveInt, Field(multiple_of=2)] = 1000
    noise: PositiveFloat = 0.02
    l2: NonNegativeFloat = 0.005
    acting: Literal["greedy", "sample"] = "greedy"

    def episodes(self, _episode_steps: int) -> int:
        """Leader episodes a batch."""
        return self.population


class ESLeader:
    """A population of ES leaders, tables of logits [run, state, action].

    They learn from the returns of whole episodes alone, so unpaid steps in a batch make no difference.
    Settings other than the learning rate must be equal across the population.
    """

    recordable = True

    def __init__(self, settings: Sequence[ESSettings], states: int, actions: int, seeds: Sequence[int]) -> None:
        self.settings = settings[0]
        self.logits = normalised_init(Streams(seeds, Phase.LEADER_INIT).normal(states, actions))
        self._policy = self._act(self.logits)  # [run, state, action]
        self._exploration = Streams(seeds, Phase.LEADER_EXPLORATION)
        lr = torch.tensor([s.lr for s in settings], dtype=self.logits.dtype)
        self._directions = self.logits.new_empty(0)  # [run, pair, state, action] standard normal
        self._adam = Adam(self.logits, spread(lr, self.logits))

    @property
    def policy(self) -> Tensor:
        """See `Leader`."""
        return self._policy.clone()

    def behaviour(self, envs: int) -> Tensor:
        """Policies of fresh perturbations, [run, env, state, action]: envs i and i + envs / 2 are opposites."""
        self._directions = self._exploration.normal(envs // 2, *self.logits.shape[1:])
        centre, shift = self.logits[:, None], self.settings.noise * self._directions
        return self._act(torch.cat([centre + shift, centre - shift], 1))

    @np.errstate(all="ignore")  # as in PyTorch
    def update(self, batch: Batch) -> None:
        """One step of Adam along the estimated gradient of the ranked return, less l2 · logits.

        The gradient's estimate is, as published, the mean of rank · direction: not divided by the noise.
        """
        ranks = centred_ranks(batch.reward.cumsum(-1)[..., -1])
        ahead, behind = ranks.chunk(2, 1)
        climb = (ahead - behind)[..., None, None] * self._directions
        climb = climb.cumsum(1)[:, -1] / ranks.shape[1]
        torch.sub(self.settings.l2 * self.logits, climb, out=self._adam.gradient)
        self._adam.step()
        self._policy.copy_(self._act(self.logits))

    def snapshot(self) -> Snapshot:
        """See `Leader`."""
        return joined({"adam": self._adam.snapshot(), "exploration": self._exploration.snapshot()})

    def restore(self, snapshot: Snapshot) -> None:
        """See `Leader`."""
        self._adam.restore(part(snapshot, "adam"))
        self._exploration.restore(part(snapshot, "exploration"))
        self._policy.copy_(self._act(self.logits))

    def _act(self, logits: Tensor) -> Tensor:
        return greedy(logits) if self.settings.acting == "greedy" else softmax(logits)


def centred_ranks(returns: Tensor) -> Tensor:
    """Each run's returns [run, env] by rank, from -0.5 (least) to 0.5; equal returns share their mean rank.

    That rank is (how many are less - how many are greater) / 2 (envs - 1).
    """
    xp, order = library_of(returns), row_order(returns)
    ordered = array_of(returns.gather(1, order))
    less, greater = _different_before(xp, ordered), xp.flip(_different_before(xp, xp.flip(ordered, (1,))), (1,))
    ranks = tensor_of(less - greater).double() / (2 * (returns.shape[1] - 1))
    return torch.empty_like(ranks).scatter_(1, order, ranks)


def _different_before(xp: ModuleType, ordered: Any) -> Any:
    """How many of the ordered numbers [run, env] stand before the first that equals this one, arrays of the library."""
    firsts = xp.zeros(ordered.shape, dtype=xp.int64)
    firsts[:, 1:] = (ordered[:, 1:] != ordered[:, :-1]) * xp.arange(1, ordered.shape[1])
    return running_largest(firsts)
