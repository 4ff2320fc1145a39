"""The model card of a preset: what it is, what it was trained on, what it is bad at."""

from collections.abc import Sequence

from rnnseg.pretrained.preset import LITERT, Metadata
from rnnseg.score_files import EvaluationContent, ScoreRow


def model_card(name: str, metadata: Metadata, scores: EvaluationContent | None) -> str:
    """Returns the text of `README.md`, with the header that Hugging Face reads.

    Args:
      name: the name of the preset.
      metadata: what the preset says of itself.
      scores: the content of its scores, as `rnnseg evaluate` writes them; None if there are none.
    """
    lines = [
        "---",
        "library_name: keras",
        "pipeline_tag: image-segmentation",
        f"license: {metadata.license.lower() or 'unknown'}",
        "tags: [semantic-segmentation, rnnseg]",
        "---",
        "",
        f"# {name}",
        "",
        metadata.description,
        "",
        f"A model of rnnseg {metadata.rnnseg_version} with {metadata.parameters / 1e6:.2f} million "
        f"parameters and {len(metadata.classes)} classes: {', '.join(metadata.classes)}.",
        "",
        "```python",
        "import rnnseg",
        "",
        f'model = rnnseg.RecurrentSegmenter.from_preset("{name}")',
        "class_map = model.predict_classes(image[None])[0]  # RGB, uint8 (height, width, 3)",
        "```",
        "",
        f"    rnnseg segment {name} photo.jpg --out segmented",
        "",
    ]
    if LITERT in metadata.files:
        lines += [f"`{LITERT}` runs without TensorFlow: `rnnseg.runtime.Segmenter`.", ""]
    for title, text in (
        ("Training data", metadata.data),
        ("How it was trained", metadata.command and f"    {metadata.command}"),
        ("What it is bad at", metadata.weaknesses),
        ("Licence of the weights", metadata.license),
    ):
        if text:
            lines += [f"## {title}", "", text, ""]
    if scores is not None:
        lines += _scores(scores)
    return "\n".join(lines)


def _scores(scores: EvaluationContent) -> list[str]:
    lines = [
        "## Scores",
        "",
        f"On {scores.images} images of {scores.data}, {scores.split}; multiply-adds for "
        f"{scores.image_size[0]}x{scores.image_size[1]} pixels.",
        "",
        "| iterations | image scale | mIoU % | multiply-adds G |",
        "| --- | --- | --- | --- |",
    ]
    for row in scores.results:
        cost = "" if row.multiply_adds is None else f"{row.multiply_adds / 1e9:.3f}"
        scale = row.scale or 1
        lines.append(f"| {row.iterations} | {scale:g} | {100 * row.miou:.1f} | {cost} |")
    lines += ["", *_classes(max(scores.results, key=lambda row: row.miou))]
    return lines


def _classes(best: ScoreRow) -> Sequence[str]:
    """Returns the IoU of single classes at the best point."""
    found = {name: iou for name, iou in best.class_iou.items() if iou is not None}
    if not found:
        return []
    listed = ", ".join(f"{name} {100 * iou:.0f}" for name, iou in found.items())
    return [f"IoU % by class at {best.iterations} iterations: {listed}.", ""]
