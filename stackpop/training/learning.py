"""Followers that learn inside every leader episode and ask no queries: the tabular-Q oracle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from stackpop.evaluation import ExactValues, mean_returns
from stackpop.games import FOLLOWER, LEADER, GameBatch, policy_table_returns, table_index
from stackpop.learners import Batch, Phase, Snapshot, Streams, TabularQFollower, TabularQSettings, joined, part
from stackpop.learners.tabular_q import Draws, LearningEpisodes, fresh_tables, learn_and_play
from stackpop.spec import RunSpec

# Episodes side by side in an evaluation: enough to make NumPy's calls cheap, few enough for a core's cache.
LANES = 4096


class LearningFollowers:
    """Followers of a pack of runs that learn from the leader's play, and are greedy in one paid game an episode.

    What the leaders are worth depends on what each follower happened to learn. So the curves are means over
    evaluation episodes; given the table learned in an episode, the returns of its paid game are exact.
    """

    recordable = False  # episodes are NumPy's

    def __init__(self, specs: Sequence[RunSpec], settings: TabularQSettings) -> None:
        games = [spec.to_game() for spec in specs]
        self._settings, self._seeds = settings, [spec.seed for spec in specs]
        self._game, self._truth = GameBatch.of(games), ExactValues.of(games)
        self._evaluation_episodes = specs[0].evaluation_episodes
        self._follower = TabularQFollower(self._game, settings)
        self._training = Streams(self._seeds, Phase.TABULAR_Q)
        self._evaluation = Streams(self._seeds, Phase.TABULAR_Q_EVALUATION)
        # Without reset, the tables after each batch that has no curves yet, [run, 1, state, column].
        self._carried: list[Tensor] = []
        self.episode_steps = (settings.games + 1) * games[0].rounds

    def play(self, behaviour: Tensor, envs: int) -> Batch:
        """The leaders' next training episodes, with what they play: [run, env or 1, state, action]."""
        episodes = self._follower.play(behaviour, self._training.uniform(envs, self._follower.numbers))
        if not self._settings.reset:
            self._carried.append(episodes.tables[:, -1:])
        return Batch.of(episodes.state, episodes.action, self._game.rows, episodes.reward)

    def curves(self, policies: Tensor) -> dict[str, Tensor]:
        """Curves [run, iteration] of the next recorded policies [run, iteration, state, action].

        A greedy leader meets followers that learn from its greedy play, with the same random numbers.
        """
        parts = []
        for block in self._blocks(policies.shape[1]):
            policy = policies[:, block]
            size = block.stop - block.start
            uniforms = self._evaluation.uniform(size, self._evaluation_episodes, self._follower.numbers)
            greedy_policy = torch.nn.functional.one_hot(policy.argmax(-1), policy.shape[-1]).to(policy.dtype)
            learned, greedy = (self._episodes(each, uniforms, block) for each in (policy, greedy_policy))
            returns, best = self._exact_returns(policy, learned)
            greedy_returns, _ = self._exact_returns(greedy_policy, greedy)
            parts.append(
                {
                    "leader_return": returns[..., LEADER],
                    "follower_return": returns[..., FOLLOWER],
                    "leader_return_greedy": greedy_returns[..., LEADER],
                    "follower_return_greedy": greedy_returns[..., FOLLOWER],
                    "equilibrium_gap": self._truth.equilibrium[:, None] - returns[..., LEADER],
                    "follower_regret": best - returns[..., FOLLOWER],
                }
                | mean_returns(learned.rounds, self._game.runs)
            )
        self._carried.clear()
        return {name: torch.cat([block[name] for block in parts], 1) for name in parts[0]}

    def snapshot(self) -> Snapshot:
        """Where the random numbers stand, and the tables that are carried on."""
        streams = {"training": self._training.snapshot(), "evaluation": self._evaluation.snapshot()}
        tables = self._follower.tables
        return joined(streams) if tables is None else {**joined(streams), "tables": tables}

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot of followers of the same runs."""
        self._training.restore(part(snapshot, "training"))
        self._evaluation.restore(part(snapshot, "evaluation"))
        self._follower.tables = snapshot.get("tables")

    def post_train(self, policy: Tensor) -> dict[str, Tensor]:  # noqa: ARG002 these followers keep nothing to train on
        """No curves: every episode trains a follower anyway."""
        return {}

    def _blocks(self, iterations: int) -> Iterator[slice]:
        size = max(1, LANES // (self._game.runs * self._evaluation_episodes))
        for start in range(0, iterations, size):
            yield slice(start, min(start + size, iterations))

    def _episodes(self, policy: Tensor, uniforms: Tensor, block: slice) -> LearningEpisodes:
        """Evaluation episodes [run · iteration, env] against a policy [run, iteration, state, action].

        Each starts from a fresh table or, without reset, from the one that was carried out of the iteration's batch.
        """
        runs, iterations, envs, _ = uniforms.shape
        game = self._game.repeat(iterations)
        side_by_side = self._settings.model_copy(update={"reset": True})
        draws = Draws.of(game, side_by_side, uniforms.flatten(0, 1))
        tables = fresh_tables(game, side_by_side, draws)
        if self._carried:
            carried = torch.cat(self._carried[block], 1)  # [run, iteration, state, column]
            tables = carried[:, :, None].expand(runs, iterations, envs, -1, -1).flatten(0, 1)
        return learn_and_play(game, side_by_side, policy.flatten(0, 1)[:, None], tables, draws)

    def _exact_returns(self, policy: Tensor, episodes: LearningEpisodes) -> tuple[Tensor, Tensor]:
        """Returns [run, iteration, player] against the learned tables, mean over episodes, and the follower's best."""
        runs, iterations = policy.shape[:2]
        against_tables = policy_table_returns(self._game, policy)  # [run, iteration, follower_table, player]
        reply = table_index(episodes.tables.argmax(-1), self._game.columns).view(runs, iterations, -1, 1)
        answered = against_tables.gather(2, reply.expand(-1, -1, -1, 2))
        return answered.cumsum(2)[:, :, -1] / answered.shape[2], against_tables[..., FOLLOWER].amax(-1)
