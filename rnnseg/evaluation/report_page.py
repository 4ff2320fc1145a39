"""A page to look at after an evaluation: scores, curves, confusion matrix, best and worst images.

The page is one HTML file with all images in it, which any browser shows without a network, in light
and dark. The same images lie in a folder beside it as PNGs.
"""

import base64
import html
import os
import pathlib
import string
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from rnnseg import visualize
from rnnseg.budgets.profiles import Machine
from rnnseg.data.source import Source
from rnnseg.evaluation import examples, figures, report
from rnnseg.evaluation.evaluator import Evaluation, Evaluator
from rnnseg.files import atomic_path

_PAGE = string.Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color-scheme: light dark; --text: #1b1f24; --back: #fff; --line: #d0d7de; --mark: #ddf4ff }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6edf3; --back: #15191f; --line: #3d444d; --mark: #12304d }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back);
  max-width: 1150px; margin: 0 auto; padding: 1.5rem }
h1 { margin: 0 0 .2rem } h2 { margin: 2.5rem 0 .5rem } p { max-width: 75ch }
figure { margin: 1rem 0; background: #fff; border: 1px solid var(--line); border-radius: 6px;
  padding: 10px; overflow-x: auto }
figure img { display: block; max-width: 100%; height: auto; margin: 0 auto }
.scroll { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .9rem; text-align: right; border-bottom: 1px solid var(--line) }
th:first-child, td:first-child { text-align: left }
tr.shown { background: var(--mark); font-weight: 600 }
</style>
</head>
<body>
<h1>$title</h1>
<p>$summary</p>
$sections
</body>
</html>
""")

_ABOUT = {
    "training": (
        "Training",
        "The loss of every epoch, and the mIoU of the validation split. The marked epoch is the "
        "model of best.keras.",
    ),
    "curve": (
        "Speed and accuracy",
        "One dot per number of iterations. The dot with a ring has as many as in training.",
    ),
    "class_iou": ("IoU by class", "The intersection over union: TP / (TP + FP + FN), in pixels."),
    "confusion": (
        "Confusion matrix",
        "Row by row, where the pixels of a true class went, in % of its pixels. The diagonal is "
        "the share that was found. Of more than 40 classes, those with the fewest pixels are one "
        "row together; the scores beside the model have all of them.",
    ),
}
_PIXELS_PER_INCH = 96  # of CSS
_KINDS = (*_ABOUT, "best", "median", "worst")


def shown_point(results: Sequence[Evaluation], trained: int) -> tuple[int, int]:
    """Chooses the operating point that a page shows in detail.

    It is what `rnnseg segment` uses by default, as many iterations as in training and images of
    their own size. If that was not scored, it is the point with the highest mIoU.

    Args:
      results: the evaluation of a model, or one for each scale of the images.
      trained: the number of iterations in training.

    Returns:
      The numbers, from 0, of the evaluation and of its number of iterations.
    """
    for number, result in enumerate(results):
        if result.scale in (1, None) and trained in result.iterations:
            return number, result.iterations.index(trained)
    best = max(range(len(results)), key=lambda number: results[number].miou.max())
    return best, int(results[best].miou.argmax())


def save_page(
    path: str | os.PathLike,
    name: str,
    results: Sequence[Evaluation],
    evaluators: Sequence[Evaluator],
    source: Source,
    history: Sequence[Mapping[str, str]] = (),
) -> pathlib.Path:
    """Writes the page of an evaluation, and its images to a folder of the same name.

    The best, median and worst images are read and segmented once more; nothing else is.

    Args:
      path: the HTML file to write, such as `report_val.html`; images go to `report_val/`. Images of
        an earlier page are replaced.
      name: the name of the model.
      results: the evaluation of the model, or one for each scale of the images.
      evaluators: the evaluators that made them.
      source: the data.
      history: the history of the model's run, as `rnnseg.training.runs.Run` reads it; none to leave
        out the training.

    Returns:
      The folder with the images.
    """
    path = pathlib.Path(path)
    folder = path.with_suffix("")
    trained = evaluators[0].model.iterations
    which, index = shown_point(results, trained)
    result = results[which]
    written = _save_figures(folder, name, results, result, index, trained, history)
    sections = [_table(results, result, index)]
    sections += [
        f"<h2>{_ABOUT[kind][0]}</h2>\n<p>{_ABOUT[kind][1]}</p>\n{_figure(file, _ABOUT[kind][0])}"
        for kind, file in written.items()
    ]
    chosen = _save_examples(folder, evaluators[which], result, index, source)
    sections += _example_sections(chosen, result, index)
    for kind in set(_KINDS) - {*written, *chosen}:
        (folder / f"{kind}.png").unlink(missing_ok=True)  # of an earlier page
    page = _PAGE.substitute(
        title=html.escape(f"{name}, {result.split}"),
        summary=_summary(result, index),
        sections="\n".join(sections),
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return folder


def _save_figures(folder, name, results, result, index, trained, history) -> dict:
    """Writes the figures and returns their files by kind."""
    files = {kind: folder / f"{kind}.png" for kind in _ABOUT if history or kind != "training"}
    if history:
        figures.save_training(files["training"], history)
    report.save_curve(files["curve"], name, results, trained)
    earlier = (result.iterations[0], result.class_iou[0]) if index else None
    figures.save_class_iou(
        files["class_iou"],
        result.class_names,
        result.class_iou[index],
        result.iterations[index],
        earlier,
    )
    figures.save_confusion(files["confusion"], result.confusion[index], result.class_names)
    return files


def _save_examples(folder, evaluator, result, index, source) -> dict:
    """Writes the best, median and worst image; returns file, name and mIoU by kind."""
    miou = result.image_miou[index]
    chosen = examples.choose_examples(miou)
    found = examples.read_examples(source, result.split, chosen.values())
    saved = {}
    for kind, number in chosen.items():
        example, file = found[number], folder / f"{kind}.png"
        prediction = evaluator.unroll.predict(example.image, result.iterations[index])
        visualize.save_comparison(
            file,
            example.image,
            prediction,
            example.label,
            source.class_colors,
            source.class_names,
        )
        saved[kind] = file, example.name, float(miou[number])
    return saved


def _example_sections(chosen, result, index) -> list[str]:
    miou = result.image_miou[index]
    parts = [
        "<h2>Images</h2>",
        "<p>Ranked by the mIoU of each image over the classes that occur in its label; the "
        f"median is {100 * float(np.nanmedian(miou)):.1f} %.</p>"
        if chosen
        else "",
    ]
    for kind, (file, name, score) in chosen.items():
        title = f"{kind.capitalize()}: {name}, mIoU {100 * score:.1f} %"
        parts.append(f"<h3>{html.escape(title)}</h3>\n{_figure(file, title)}")
    return parts


def _summary(result: Evaluation, index: int) -> str:
    """Returns what the page shows, as HTML."""
    number = result.iterations[index]
    point = f"{number} iteration{'s' * (number > 1)}"
    if result.scale is None:
        point += f", logits averaged over scales {', '.join(f'{each:g}' for each in result.scales)}"
        point += ", each also mirrored" if result.flip else ""
    elif result.scale == 1:
        point += " on images of their own size"
    else:
        point += f" on images scaled by {result.scale:g}"
    height, width = result.image_size
    text = (
        f"{result.images} image{'s' * (result.images > 1)} of {result.data}, split {result.split}. "
        f"The marked row of the table, the IoU by class, the confusion matrix and the images are "
        f"for {point}: mIoU {100 * result.miou[index]:.2f}\u00a0%, "
        f"{100 * result.pixel_accuracy[index]:.2f}\u00a0% of the pixels right. Multiply-adds and "
        f"milliseconds are of one image of {height}x{width}, on {Machine.this()}."
    )
    return html.escape(text)


def _table(results: Sequence[Evaluation], shown: Evaluation, index: int) -> str:
    """Returns all operating points as an HTML table, in which one is marked."""
    scaled = not {each.scale for each in results} <= {1, None}
    headers = ["iterations", "mIoU %", "accuracy %", "multiply-adds G", "milliseconds"]
    lines = ['<div class="scroll"><table>', _row(["scale"] * scaled + headers, "th")]
    for result in results:
        for place, number in enumerate(result.iterations):
            cells = [f"{result.scale:g}"] if scaled else []
            cells += [
                f"{number}",
                f"{100 * result.miou[place]:.2f}",
                f"{100 * result.pixel_accuracy[place]:.2f}",
                _giga(result.multiply_adds[place]),
                f"{result.milliseconds[place]:.1f}",
            ]
            lines.append(_row(cells, "td", marked=result is shown and place == index))
    return "\n".join([*lines, "</table></div>"])


def _giga(count: int | None) -> str:
    return "-" if count is None else f"{count / 1e9:.3f}"


def _row(cells: Sequence[str], tag: str, marked: bool = False) -> str:
    inside = "".join(f"<{tag}>{cell}</{tag}>" for cell in cells)
    return f"<tr{' class=shown' * marked}>{inside}</tr>"


def _figure(file: pathlib.Path, text: str) -> str:
    """Returns an image as part of the page."""
    data = base64.b64encode(file.read_bytes()).decode()
    with Image.open(file) as image:
        # As large as Matplotlib means it to be, so that text has one size.
        width = round(image.width * _PIXELS_PER_INCH / visualize.DOTS_PER_INCH)
    return (
        f'<figure><img alt="{html.escape(text)}" width="{width}" '
        f'src="data:image/png;base64,{data}"></figure>'
    )
