"""The page of a finished run: `report.html`, with its curves, scores and images."""

import pathlib

from rnnseg.data import open_source
from rnnseg.evaluation.evaluator import Evaluator
from rnnseg.evaluation.report_page import save_page
from rnnseg.models.loading import load_model
from rnnseg.training.runs import Run


def write_report(run: Run) -> pathlib.Path:
    """Evaluates the best model of a run on its validation split, and writes `report.html`.

    Args:
      run: the folder of the run, with at least one epoch done.

    Returns:
      The HTML file; its images are in the folder `report` beside it.

    Raises:
      UserError: the run has no model, or its data are gone.
    """
    config = run.read_config()
    source, model = open_source(config.data), load_model(run.folder)
    evaluator = Evaluator(model, range(1, model.iterations + 1))
    result = evaluator(source, config.val_split)
    page = run.folder / "report.html"
    name = run.folder.resolve().name
    save_page(page, name, [result], [evaluator], source, run.read_history())
    return page
