"""Weights of one model as the start of another, with other classes or other layers."""

import dataclasses
from collections.abc import Hashable, Iterator, Sequence

import keras
import numpy as np


@dataclasses.dataclass(frozen=True)
class Transfer:
    """What a model took from another one.

    Attributes:
      taken: the parts whose weights were taken, such as "encoder"; of what belongs to single
        classes, those of `same_classes`.
      left: the parts that keep their initial values, since the two models differ there.
      same_classes: the names of the classes that keep their weights.
      new_classes: the names of all others, which are learned anew.
    """

    taken: tuple[str, ...]
    left: tuple[str, ...]
    same_classes: tuple[str, ...]
    new_classes: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"took {', '.join(self.taken) or 'nothing'}"]
        if self.left:
            lines.append(f"left as new: {', '.join(self.left)}")
        if self.new_classes:
            kept = ", ".join(self.same_classes) or "none"
            lines.append(f"classes kept: {kept}; new: {', '.join(self.new_classes)}")
        return "; ".join(lines)


def transfer_weights(old: keras.Model, new: keras.Model) -> Transfer:
    """Copies weights from one model into another, as far as they fit.

    The weights of a part (the encoder, a cell) are taken if it has the same inputs and outputs in
    both models. Those that belong to a class (its share of the canvas, of the last layer's gates,
    of the classifier) are taken for classes of the same name. All others stay as they are in `new`.
    A recurrent model of which half of the classes or more are new takes the encoder alone: layers
    of a stack that have learned to tell other classes apart take longer to train than new ones.

    Args:
      old: a `rnnseg.models.base.SegmentationModel` to take weights from; it stays as it is.
      new: another one, which is changed.

    Returns:
      What was taken.
    """
    sources = dict(_named(old))
    same_classes = tuple(name for name in new.names if name in old.names)
    if new.stack is not None and 2 * len(same_classes) <= new.num_classes:
        sources = {key: each for key, each in sources.items() if _part(key) == "encoder"}
        same_classes = ()
    values: dict[str, list[tuple[keras.Variable, np.ndarray | None]]] = {}
    for key, target in _named(new):
        value = None
        if key in sources:
            value = _fitted(_Axes(old, key, sources[key]), _Axes(new, key, target))
        values.setdefault(_part(key), []).append((target, value))
    # A part is taken as a whole: half of an encoder gives no features.
    fits = {part: all(value is not None for _, value in each) for part, each in values.items()}
    for part, each in values.items():
        for target, value in each if fits[part] else ():
            target.assign(value)
    return Transfer(
        taken=tuple(part for part in fits if fits[part]),
        left=tuple(part for part in fits if not fits[part]),
        same_classes=same_classes,
        new_classes=tuple(name for name in new.names if name not in same_classes),
    )


def _named(model: keras.Model) -> Iterator[tuple[str, keras.Variable]]:
    """Yields the weights with names that are the same for the same layer of another model."""
    encoder = {id(each) for each in model.encoder.weights}
    gates = model.stack.gates_by_variable() if model.stack is not None else {}
    for variable in model.weights:
        if id(variable) in encoder:
            yield f"encoder/{variable.path}", variable
        elif id(variable) in gates:
            yield f"gates of {gates[id(variable)]}/{variable.name}", variable
        else:
            yield variable.path, variable


def _part(key: str) -> str:
    first, *others = key.split("/")
    if first == "stack":
        return "initial state" if others[0].startswith("initial_") else others[0]
    if first == "head" and others[0].startswith("classify"):
        return "classifier"
    return first


class _Axes:
    """A weight, with a name for every index of its axes.

    Attributes:
      values: the values, as an array.
      names: one list per axis. An index that belongs to a class is named by the class and by the
        number of its block (there is one per gate); all others are counted.
    """

    def __init__(self, model: keras.Model, key: str, variable: keras.Variable):
        self.values = keras.ops.convert_to_numpy(variable)
        self.names: list[list[Hashable]] = []
        blocks = _class_blocks(model, key, self.values.shape)
        for axis, length in enumerate(self.values.shape):
            names: list[Hashable] = [None] * length
            for number, start in enumerate(blocks.get(axis, ())):
                for index, name in enumerate(model.names):
                    names[start + index] = (name, number)
            plain = [index for index, name in enumerate(names) if name is None]
            for count, index in enumerate(plain):
                names[index] = count
            self.names.append(names)

    def plain(self) -> list[int]:
        """Returns for every axis the number of indices that belong to no class."""
        return [sum(isinstance(name, int) for name in names) for names in self.names]


def _fitted(old: _Axes, new: _Axes) -> np.ndarray | None:
    """Returns the values of `new` with those of `old` where the names agree; None if none fit."""
    if len(old.names) != len(new.names) or old.plain() != new.plain():
        return None
    mine, its = [], []
    for old_names, new_names in zip(old.names, new.names, strict=True):
        place = {name: index for index, name in enumerate(old_names)}
        shared = [index for index, name in enumerate(new_names) if name in place]
        mine.append(shared)
        its.append([place[new_names[index]] for index in shared])
    values = new.values.copy()
    if values.ndim:
        values[np.ix_(*mine)] = old.values[np.ix_(*its)]
        return values
    return old.values


def _class_blocks(model: keras.Model, key: str, shape: Sequence[int]) -> dict[int, Sequence[int]]:
    """Returns, by axis, where blocks of one index per class begin."""
    count, last_axis = model.num_classes, len(shape) - 1
    if _part(key) == "field":  # of a conditional random field: per class, or per pair of them
        return {} if key.endswith("/log_widths") else dict.fromkeys(range(len(shape)), (0,))
    if model.stack is None:
        return {last_axis: (0,)} if _part(key) == "classifier" else {}
    last = len(model.stack.widths) - 1
    per_gate = [gate * count for gate in range(4)]
    blocks: dict[int, Sequence[int]] = {}
    if key in ("stack/initial_canvas", f"stack/initial_h_{last}", f"stack/initial_c_{last}"):
        blocks[0] = (0,)
    # Gates are four blocks of the layer's width, which is the number of classes in the last one.
    if key.startswith(f"stack/cell_{last}/") or (last == 0 and key.startswith("gates of ")):
        blocks[last_axis] = per_gate
    if key.endswith("/kernel") and key.startswith("stack/cell_"):
        # A cell sees its inputs and then its last output. The first one's inputs are the canvas.
        seen = [0] if key.startswith("stack/cell_0/") else []
        seen += [shape[-2] - count] if key.startswith(f"stack/cell_{last}/") else []
        blocks[last_axis - 1] = seen
    return blocks
