"""Functions of the state that a population of leaders learns: tables, or networks of the one-hot state."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stackpop.learners.adam import Adam
from stackpop.learners.networks import NetworkSettings, backward, forward, fresh_layers
from stackpop.learners.snapshot import Snapshot
from stackpop.learners.streams import Streams
from stackpop.learners.tables import normalised_init


class StateFunctions:
    """Functions from every state to some outputs, of one population, trained by one Adam.

    outputs: [output, run, state] of each function, which `step` updates in place. gradients: of the same shapes; the
    caller writes a loss's gradients in the outputs there before each `step`, which overwrites them.
    """

    def __init__(
        self, settings: Sequence[NetworkSettings], states: int, sizes: Sequence[int], streams: Streams, lr: Tensor
    ) -> None:
        """Draw the functions' parameters. sizes: number of outputs of each; lr: [run]."""
        hidden = settings[0].hidden_sizes
        if hidden:
            start = [fresh_layers(streams, (states, *hidden, size)) for size in sizes]
        else:
            start = [[normalised_init(streams.normal(states, size)).movedim(-1, 0)] for size in sizes]
        by_run = lr[:, None, None] if hidden else lr[:, None]  # layers begin with the run, tables with the output
        parts = [layer for layers in start for layer in layers]
        # One row of numbers for one Adam; layers, and their gradients, are views of it.
        params = torch.cat([part.flatten() for part in parts])
        self._adam = Adam(params, torch.cat([by_run.expand_as(part).flatten() for part in parts]))
        self._shapes, self._run_axis = [part.shape for part in parts], 0 if hidden else 1
        layers, by_layer = (_views(flat, self._shapes) for flat in (params, self._adam.gradient))
        self.outputs, self.gradients, self._networks = layers, by_layer, list[_Network]()
        if hidden:
            depth = len(hidden) + 1
            starts = range(0, len(parts), depth)
            self._networks = [_Network(layers[k : k + depth], by_layer[k : k + depth]) for k in starts]
            self.outputs = [network.outputs for network in self._networks]
            self.gradients = [network.output_gradient for network in self._networks]

    def step(self) -> None:
        """One step of Adam against the gradients."""
        for network in self._networks:
            network.backward()
        self._adam.step()
        for network in self._networks:
            network.refresh()

    def snapshot(self) -> Snapshot:
        """The parameters, and where Adam stands."""
        return self._adam.snapshot(self._by_run)

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot; the outputs change in place."""
        self._adam.restore(snapshot, self._by_run)
        for network in self._networks:
            network.refresh()

    def _by_run(self, flat: Tensor) -> list[Tensor]:
        return [view.movedim(self._run_axis, 0) for view in _views(flat, self._shapes)]


class _Network:
    """One network a run, at every state at once; layers and their gradients are views that others own."""

    def __init__(self, layers: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        self._layers, self._gradients = layers, gradients
        runs, states = layers[0].shape[0], layers[0].shape[1] - 1
        one_hot = torch.nn.functional.pad(torch.eye(states, dtype=layers[0].dtype), (0, 1), value=1.0)
        *self._fed, outputs = forward(layers, one_hot.expand(runs, -1, -1))
        self.outputs = outputs.movedim(-1, 0).contiguous()
        self.output_gradient = torch.empty_like(self.outputs)

    def backward(self) -> None:
        """Write the gradients in the layers, from that in the outputs."""
        found = backward(self._layers, self._fed, self.output_gradient.movedim(0, -1))
        for own, by_layer in zip(self._gradients, found, strict=True):
            own.copy_(by_layer)

    def refresh(self) -> None:
        """Compute the outputs of changed layers."""
        *fed, outputs = forward(self._layers, self._fed[0])
        for own, new in zip(self._fed[1:], fed[1:], strict=True):
            own.copy_(new)
        self.outputs.copy_(outputs.movedim(-1, 0))


def _views(flat: Tensor, shapes: Sequence[torch.Size]) -> list[Tensor]:
    """Views of one row of numbers, of the shapes of its parts."""
    pieces = flat.split([shape.numel() for shape in shapes])
    return [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]
