"""Exact ground truth: best responses, and pure, mixed, resampled and behavioural commitment."""

from stackpop.equilibria.behavioural import behavioural_commitment
from stackpop.equilibria.enumeration import (
    ENUMERATION_LIMIT,
    best_responses,
    enumeration_size,
    pure_commitment,
    rounding,
)
from stackpop.equilibria.ground_truth import GroundTruth, ground_truth
from stackpop.equilibria.mixed import mixed_commitment
from stackpop.equilibria.resample import resample_commitment
from stackpop.equilibria.results import BestResponses, PureCommitment, StochasticCommitment

__all__ = [
    "ENUMERATION_LIMIT",
    "BestResponses",
    "GroundTruth",
    "PureCommitment",
    "StochasticCommitment",
    "behavioural_commitment",
    "best_responses",
    "enumeration_size",
    "ground_truth",
    "mixed_commitment",
    "pure_commitment",
    "resample_commitment",
    "rounding",
]
