"""Train a pack of followers or of leaders: settings in, labelled arrays out.

A pack is a population of runs of one shape; one run is a pack of one, and there is no other path. Each
run's arrays depend on its own settings and seed only, bit for bit.
"""

from stackpop.training.followers import LEARNED, learned, train_followers
from stackpop.training.leaders import train_leaders

__all__ = ["LEARNED", "learned", "train_followers", "train_leaders"]
