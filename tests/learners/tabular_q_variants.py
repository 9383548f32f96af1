"""Tabular-Q followers of every kind."""

from __future__ import annotations

from stackpop.learners.tabular_q import TabularQSettings

VARIANTS = {
    "epsilon_greedy": TabularQSettings(games=7, alpha=0.3, epsilon=0.25),
    "never_exploring": TabularQSettings(games=5, epsilon=0.0),
    "always_exploring": TabularQSettings(games=5, epsilon=1.0, gamma=1.0),
    "zeros": TabularQSettings(games=6, alpha=1.0, init="zeros"),
    "paid": TabularQSettings(games=4, paid=True, gamma=0.0),
    "carried": TabularQSettings(games=3, reset=False),
    "carried_zeros_paid": TabularQSettings(games=3, reset=False, init="zeros", paid=True),
    "parameter_noise": TabularQSettings(games=7, exploration="parameter_noise", noise=1.5),
    "parameter_noise_zeros": TabularQSettings(games=5, exploration="parameter_noise", init="zeros", alpha=0.2),
    "parameter_noise_carried": TabularQSettings(games=4, exploration="parameter_noise", noise=0.7, reset=False),
}
