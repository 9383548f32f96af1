"""Exact ground truth: best responses, and pure, mixed, resampled and behavioural commitment."""

from stackpop.equilibria.behavioural import behavioural_commitment
from stackpop.equilibria.enumeration import (
    ENUMERATION_LIMIT,
    MAX_TABLES,
    best_responses,
    enumeration_size,
    is_enumerable,
    pure_commitment,
    rounding,
)
from stackpop.equilibria.ground_truth import GroundTruth, ground_truth, known_commitment, known_truth, overflows
from stackpop.equilibria.judged import judged_tables, judges_all, knows_regret
from stackpop.equilibria.mixed import is_one_shot, mixed_commitment
from stackpop.equilibria.resample import resample_commitment
from stackpop.equilibria.results import BestResponses, PureCommitment, StochasticCommitment
from stackpop.equilibria.walks import (
    WalkedResponses,
    walkable,
    walked_commitment,
    walked_response,
    walked_responses,
)

__all__ = [
    "ENUMERATION_LIMIT",
    "MAX_TABLES",
    "BestResponses",
    "GroundTruth",
    "PureCommitment",
    "StochasticCommitment",
    "WalkedResponses",
    "behavioural_commitment",
    "best_responses",
    "enumeration_size",
    "ground_truth",
    "is_enumerable",
    "is_one_shot",
    "judged_tables",
    "judges_all",
    "known_commitment",
    "known_truth",
    "knows_regret",
    "mixed_commitment",
    "overflows",
    "pure_commitment",
    "resample_commitment",
    "rounding",
    "walkable",
    "walked_commitment",
    "walked_response",
    "walked_responses",
]
