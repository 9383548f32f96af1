"""The tabular-Q follower: a one-step Q-learner that learns anew from games inside every leader episode.

A leader episode is a chain of learning games, in which the follower explores and updates its table
(Watkins, 1989), and one paid game, in which it is greedy.
"""

from stackpop.learners.tabular_q.draws import Draws, fresh_tables
from stackpop.learners.tabular_q.episodes import LearningEpisodes, TabularQFollower, learn_and_play
from stackpop.learners.tabular_q.settings import TabularQSettings

__all__ = ["Draws", "LearningEpisodes", "TabularQFollower", "TabularQSettings", "fresh_tables", "learn_and_play"]
