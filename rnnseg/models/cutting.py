"""Cuts a functional Keras network at inner layers: into one with several outputs, or into stages.

The parts share the layers and the weights of the network.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from rnnseg.errors import UserError


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of a network, from tensors that earlier parts computed.

    Attributes:
      network: a model from a list of tensors to a dictionary of tensors by the names of the layers
        that they come from. For the first part the input is the images.
      needed: the names of the layers that the tensors of the list come from.
      carried: the names of all tensors that later parts need, whether this part or an earlier one
        computes them.
    """

    network: keras.Model
    needed: tuple[str, ...]
    carried: tuple[str, ...]


def check_layer(network: keras.Model, layer: str) -> None:
    """Raises a UserError if a network has no such layer."""
    if layer not in _nodes(network):
        last = ", ".join(each.name for each in network.layers[-12:])
        raise UserError(f"encoder {network.name} has no layer {layer!r}; its last ones are {last}")


def up_to(network: keras.Model, layer: str) -> keras.Model:
    """Returns the part of a network up to a layer.

    Raises:
      UserError: there is no such layer.
    """
    check_layer(network, layer)
    return keras.Model(network.input, _nodes(network)[layer].outputs[0], name=network.name)


def with_outputs(network: keras.Model, layers: Sequence[str], deepest: str) -> keras.Model:
    """Returns a network that also gives the outputs of inner layers.

    Args:
      network: a network with one output.
      layers: the names of the layers.
      deepest: the name for the network's own output.

    Returns:
      A model from images to a dictionary of tensors by name.
    """
    nodes = _nodes(network)
    outputs = {name: nodes[name].outputs[0] for name in layers}
    return keras.Model(network.input, outputs | {deepest: network.output}, name=network.name)


def parts(network: keras.Model, ends: Sequence[Sequence[str]], deepest: str) -> list[Part]:
    """Cuts a network into parts that can be run one after the other.

    Args:
      network: a network with one output.
      ends: for every part but the last the names of the layers whose outputs it gives, from the
        shallowest part to the deepest; for the last part the names of further layers.
      deepest: the name for the network's own output, which the last part gives.
    """
    nodes = _nodes(network)
    output = next(node for node in nodes.values() if network.output in node.outputs)
    everything = _ancestors([output])
    done: set[str] = set()
    result = []
    for number, names in enumerate(ends):
        last = number == len(ends) - 1
        targets = [nodes[name] for name in names] + ([output] if last else [])
        reached = done | _ancestors(targets)
        # What crosses from the parts so far to the rest.
        carried = _crossing(nodes, reached, everything)
        needed = _crossing(nodes, done, reached)
        inputs = [nodes[name].outputs[0] for name in needed] if done else network.input
        given = {name: nodes[name].outputs[0] for name in (*names, *carried) if name not in done}
        if last:
            given[deepest] = network.output
        result.append(Part(keras.Model(inputs, given), needed, carried))
        done = reached
    return result


def _nodes(network: keras.Model) -> Mapping[str, Any]:
    """Returns the nodes of a network by the names of their operations.

    A layer's own `output` fails as soon as the layer is part of another network, too.
    """
    nodes = itertools.chain.from_iterable(network._nodes_by_depth.values())
    return {node.operation.name: node for node in nodes}


def _ancestors(targets) -> set[str]:
    """Returns the names of the operations that nodes depend on, their own included."""
    found, waiting = set(), list(targets)
    while waiting:
        node = waiting.pop()
        if node.operation.name not in found:
            found.add(node.operation.name)
            waiting += node.parent_nodes
    return found


def _crossing(nodes: Mapping, inside: set[str], within: set[str]) -> tuple[str, ...]:
    """Returns the operations of `inside` whose outputs are used by `within` beyond `inside`."""
    used = {
        parent.operation.name
        for name in within - inside
        for parent in nodes[name].parent_nodes
        if parent.operation.name in inside
    }
    return tuple(sorted(used))
