"""Settings of the tabular-Q follower."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from stackpop.settings import Settings

EPSILON = 0.1
NOISE = 0.1

UnitInterval = Annotated[float, Field(ge=0, le=1)]
StepSize = Annotated[float, Field(gt=0, le=1)]


class TabularQSettings(Settings):
    """Settings of the tabular-Q follower.

    games: learning games in each leader episode, before the paid one. alpha: step size of an update.
    gamma: discount of the next round. init: a fresh table is normal of standard deviation 0.01, or zero.
    exploration: in learning games the follower takes a random action with chance `epsilon`, or it is
    greedy in its table plus Gaussian noise of standard deviation `noise`, drawn once a game. epsilon,
    noise: null means 0.1; each belongs to its own exploration. reset: a fresh table in every leader
    episode; otherwise the table is carried on from the episode before, also from one batch to the next.
    paid: the leader is paid for learning games too.
    """

    oracle: Literal["tabular_q"] = "tabular_q"
    games: PositiveInt = 80
    alpha: StepSize = 0.1
    gamma: UnitInterval = 0.9
    init: Literal["normal", "zeros"] = "normal"
    exploration: Literal["epsilon_greedy", "parameter_noise"] = "epsilon_greedy"
    epsilon: UnitInterval | None = None
    noise: NonNegativeFloat | None = None
    reset: bool = True
    paid: bool = False

    @property
    def explore_chance(self) -> float:
        """The epsilon in effect: 0 under parameter noise."""
        if self.exploration != "epsilon_greedy":
            return 0.0
        return EPSILON if self.epsilon is None else self.epsilon

    @property
    def noise_sd(self) -> float:
        """Standard deviation in effect of the noise on the table: 0 under epsilon-greedy."""
        if self.exploration != "parameter_noise":
            return 0.0
        return NOISE if self.noise is None else self.noise
