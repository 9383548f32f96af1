"""Updates on a GPU, which are recorded once and then repeated: a CUDA graph.

An update is hundreds of operations on few numbers. To start one takes the processor longer than it takes the GPU, so
all of an update are started together.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import torch

from stackpop.errors import ClusterError, explain

WARM_UPS = 2  # updates before the one that is recorded, in which all that is made once is made
SWITCH = "STACKPOP_CUDA_GRAPHS"  # "0" where no update is to be recorded

Update = Callable[[], None]


def cuda_graph(update: Update) -> Update:
    """Record an update without making it; each call of the result makes one.

    Raises:
        ClusterError: the GPU, or PyTorch, refuses to.
    """
    try:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads do as they like
            update()
    except RuntimeError as error:
        raise ClusterError(
            explain(
                "device",
                expected="a GPU that records an update as a CUDA graph",
                got=str(error).partition("\n")[0],
                remedy=f"set the environment variable {SWITCH}=0 where workers run, and train without",
            )
        ) from error
    replay: Update = graph.replay
    return replay


# Kind of device -> how an update is recorded there; on other kinds none is.
RECORDERS: Mapping[str, Callable[[Update], Update]] = {"cuda": cuda_graph}


class GraphedUpdate:
    """An update that is made once with each call, on the device where tensors are made at the first.

    What is recorded of it are operations on memory, and no Python: all that changes from one update to the next must
    be in tensors, each of which an update changes in place.

    recordable: whether the update is of that kind; one that is not is made by Python every time.
    """

    def __init__(self, update: Update, *, recordable: bool = True) -> None:
        self._update = self._next = update  # the update itself is kept, for a record works on the memory that it holds
        self._recordable, self._made = recordable, 0

    def __call__(self) -> None:
        """Make the next update."""
        if self._made == WARM_UPS and self._recordable and os.environ.get(SWITCH) != "0":
            record = RECORDERS.get(torch.get_default_device().type)
            self._next = record(self._update) if record else self._update
        self._next()
        self._made += 1
