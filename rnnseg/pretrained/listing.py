"""What the presets are that come with the package: their classes, sizes, costs and scores."""

import dataclasses

from rnnseg.pretrained.names import DEFAULT, names, open_preset
from rnnseg.pretrained.preset import LITERT, WEIGHTS, Preset
from rnnseg.score_files import ScoreRow


@dataclasses.dataclass(frozen=True)
class PresetInfo:
    """A preset that comes with the package.

    Attributes:
      name: the name that stands for it.
      description: a sentence on the model.
      classes: the names of the classes.
      parameters: the number of parameters.
      megabytes: the size of the files of weights, in 10^6 bytes, by name.
      data: what it was trained on.
      license: of the weights.
      image_size: the (height, width) that the costs are for; None if nothing was scored.
      scores: the points of cost and mIoU that no other one beats, by rising cost; empty if nothing
        was scored.
    """

    name: str
    description: str
    classes: tuple[str, ...] = dataclasses.field(repr=False)
    parameters: int
    megabytes: dict[str, float]
    data: str = dataclasses.field(repr=False)
    license: str
    image_size: tuple[int, int] | None
    scores: tuple[ScoreRow, ...] = dataclasses.field(repr=False)

    @property
    def best(self) -> ScoreRow | None:
        """The point of the highest mIoU; None if nothing was scored."""
        return self.scores[-1] if self.scores else None


def presets() -> dict[str, PresetInfo]:
    """Returns the presets that come with the package, by name, the default one first."""
    found = sorted(names(), key=lambda name: name != DEFAULT)
    return {name: _describe(open_preset(name)) for name in found}


def text() -> str:
    """Returns what `rnnseg presets` prints."""
    lines = []
    for name, info in presets().items():
        sizes = " and ".join(f"{name} {size:.1f} MB" for name, size in info.megabytes.items())
        lines += [
            f"{name}{' (the default)' if name == DEFAULT else ''}",
            f"  {info.description}",
            f"  {len(info.classes)} classes: {', '.join(info.classes)}",
            f"  {info.parameters / 1e6:.2f} million parameters; {sizes}; {info.license}",
        ]
        if info.image_size is not None and info.scores:
            height, width = info.image_size
            lines += [
                f"  mIoU by multiply-adds of a {height}x{width} image:",
                "    G       mIoU %  iterations  image scale",
            ]
            lines += [
                f"    {(row.multiply_adds or 0) / 1e9:<7.3f} {100 * row.miou:<7.1f} "
                f"{row.iterations:<11} "
                f"{row.scale or 1:g}"
                for row in info.scores
            ]
    return "\n".join(lines)


def _describe(preset: Preset) -> PresetInfo:
    scores = preset.scores()
    files = [preset.folder / name for name in (WEIGHTS, LITERT) if preset.has(name)]
    metadata = preset.metadata
    return PresetInfo(
        name=preset.name,
        description=metadata.description,
        classes=metadata.classes,
        parameters=metadata.parameters,
        megabytes={path.name: path.stat().st_size / 1e6 for path in files},
        data=metadata.data,
        license=metadata.license,
        image_size=None if scores is None else scores.image_size,
        scores=() if scores is None else _frontier(scores.results),
    )


def _frontier(rows: tuple[ScoreRow, ...]) -> tuple[ScoreRow, ...]:
    """Returns the rows of known cost that are better than all cheaper ones, by rising cost."""
    found: list[ScoreRow] = []
    for row in sorted(rows, key=lambda row: (row.multiply_adds or 0, -row.miou)):
        if row.multiply_adds is not None and (not found or row.miou > found[-1].miou):
            found.append(row)
    return tuple(found)
