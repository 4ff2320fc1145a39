import dataclasses
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from rnnseg import Budget, data, load_model
from rnnseg.budgets import costs
from rnnseg.cli import main, parameters
from rnnseg.runtime.pacing import most_iterations
from rnnseg.training.config import TrainingConfig
from tests.support.models import make_model
from tests.support.sources import halves, make_source, tiny_source


def run(*arguments, status=0):
    result = CliRunner().invoke(main, [str(each) for each in arguments])
    assert result.exit_code == status, result.output + repr(result.exception)
    return result.output


@pytest.fixture(autouse=True)
def reports(monkeypatch, request):
    """Trainings are stood in for by functions that train nothing, so that there is no report."""
    from rnnseg.training import reporting

    if request.node.name != "test_train_evaluate_segment":
        monkeypatch.setattr(reporting, "write_report", lambda run: run.folder / "report.html")


@pytest.fixture
def source(monkeypatch):
    source = tiny_source()
    monkeypatch.setattr(data, "open_source", lambda name: source)
    return source


@pytest.fixture
def model_file(tmp_path, source):
    model = make_model(
        num_classes=3, class_names=source.class_names, class_colors=source.class_colors
    )
    model.save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


def write_images(folder, count=2):
    folder.mkdir()
    for index, (image, _) in enumerate(halves(count)):
        Image.fromarray(image).save(folder / f"photo_{index}.png")
    return folder


def test_a_mistake_ends_with_one_line_and_status_2(tmp_path):
    arguments = ["evaluate", "nowhere.keras", "--data", str(tmp_path / "nothing")]
    done = subprocess.run(
        [sys.executable, "-m", "rnnseg.cli", *arguments], capture_output=True, text=True
    )
    assert done.returncode == 2 and done.stdout == ""
    (line,) = [line for line in done.stderr.splitlines() if "error" in line]
    assert line.startswith("error: ") and "no such folder" in line
    assert "Traceback" not in done.stderr


def test_help_shows_examples_one_a_line():
    lines = run("segment", "--help").splitlines()
    examples = [line.strip() for line in lines if line.strip().startswith("rnnseg segment")]
    assert len(examples) >= 2 and not any("\\b" in line or "\b" in line for line in lines)


def test_train_evaluate_segment(tmp_path, monkeypatch):
    """The way of a user, on the embedded data made small."""
    from rnnseg.training import loop, reporting

    source = tiny_source()
    for module in (data, loop, reporting):
        monkeypatch.setattr(module, "open_source", lambda name: source)
    out = tmp_path / "run"
    options = ["--data", "shapes", "--encoder", "small_cnn", "--weights", "none", "--output-stride",
               8, "--hidden-channels", "8,6", "--train-batch-norm", "--crop", "32x40", "--batch", 2,
               "--iterations", 2, "--learning-rate", 0.05, "--scale", "0.8-1.2"]  # fmt: skip
    printed = run("train", *options, "--epochs", 2, "--out", out)
    assert "8 images to train on" in printed
    assert f"next: rnnseg evaluate {out} --data shapes --split val" in printed
    assert f"wrote {out / 'report.html'}" in printed
    of_training = {path.name for path in (out / "report").iterdir()}
    assert {"training.png", "worst.png"} < of_training
    config = json.loads((out / "config.json").read_text())
    assert config["crop"] == [32, 40] and config["encoder_weights"] is None
    before = (out / "last.keras").read_bytes()
    assert "holds a run already" in run("train", *options, "--epochs", 2, "--out", out, status=2)
    assert (out / "last.keras").read_bytes() == before

    printed = run("evaluate", out, "--data", "shapes", "--iterations", "1-3", "--json",
                  tmp_path / "scores.json")  # fmt: skip
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert [row["iterations"] for row in scores["results"]] == [1, 2, 3]
    for row in scores["results"]:
        assert f"{100 * row['miou']:.2f}" in printed
        assert np.sum(row["confusion"]) == sum(
            (label != 255).sum() for _, label in halves(3, 43, 51)
        )
    assert (out / "curve_val.png").is_file()
    assert f"wrote {out / 'report_val.html'}, and its images to {out / 'report_val'}" in printed
    assert {path.name for path in (out / "report_val").iterdir()} == of_training

    images = write_images(tmp_path / "photos")
    printed = run("segment", out, images, "--every-iteration", "--out", tmp_path / "segmented")
    assert "wrote 6 files" in printed
    names = {path.name for path in (tmp_path / "segmented").iterdir()}
    assert names == {
        f"photo_{index}_{kind}.png"
        for index in (0, 1)
        for kind in ("classes", "overlay", "iterations")
    }


def test_segment_writes_what_the_model_says(tmp_path, model_file):
    images = write_images(tmp_path / "photos")
    pattern = f"{images}/*_1.png"
    printed = run("segment", model_file, pattern, "--iterations", 3, "--out", tmp_path / "out")
    image = np.asarray(Image.open(images / "photo_1.png"))
    expected = np.argmax(load_model(model_file)(image[None], iterations=3)[0], -1)
    found = Image.open(tmp_path / "out" / "photo_1_classes.png")
    np.testing.assert_array_equal(np.asarray(found), expected)
    # Each class with its share of the image, and the time.
    (line,) = [line for line in printed.splitlines() if line.startswith("photo_1.png: ")]
    for label, name in enumerate(tiny_source().class_names):
        share = 100 * np.mean(expected == label)
        assert (f"{name} {share:.0f} %" in line) == (share >= 0.5)
    assert line.endswith(" ms")
    assert found.getpalette()[:9] == [
        value for color in tiny_source().class_colors for value in color
    ]
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_segment_stops_when_settled(tmp_path, model_file):
    images = write_images(tmp_path / "photos")
    options = ("--iterations", 12, "--stop-when-settled", "--out", tmp_path / "out")
    assert "iterations: at most 12" in run("segment", model_file, images, *options)
    image = np.asarray(Image.open(images / "photo_1.png"))
    model = load_model(model_file)
    expected = model.predict_classes(image, Budget(iterations=12), stop_when_settled=True)
    found = Image.open(tmp_path / "out" / "photo_1_classes.png")
    np.testing.assert_array_equal(np.asarray(found), expected)
    printed = run("segment", model_file, images, *options, "--every-iteration", status=2)
    assert "--every-iteration" in printed and "give one of them" in printed


def test_segment_refuses(tmp_path, model_file):
    images = write_images(tmp_path / "photos")
    out = tmp_path / "out"
    run("segment", model_file, images, "--out", out)
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    printed = run("segment", model_file, images, "--out", out, status=2)
    assert "exists already: choose another --out" in printed
    assert before == {path: path.stat().st_mtime_ns for path in out.iterdir()}
    strip, other = out / "photo_0_iterations.png", out / "other_iterations.png"
    for path in (strip, other):
        path.write_text("of an earlier call")
    run("segment", model_file, images, "--out", out, "--overwrite")
    assert not strip.exists() and other.exists()
    other = write_images(tmp_path / "more")
    printed = run("segment", model_file, images, other, "--out", tmp_path / "new", status=2)
    assert "have the same name" in printed and not (tmp_path / "new").exists()
    Image.new("RGB", (5, 50)).save(tmp_path / "thin.png")
    printed = run("segment", model_file, tmp_path / "thin.png", "--out", tmp_path / "new", status=2)
    assert "thin.png: an image of 50x5 pixels is smaller than one output stride (8)" in printed
    written = write_images(tmp_path / "good")
    (written / "broken.png").write_text("no image")
    printed = run("segment", model_file, written, "--out", tmp_path / "new", status=2)
    assert "1 of 3 images were not segmented; the others are in" in printed
    assert printed.count("others") == 1
    assert "broken.png" in printed
    assert len(list((tmp_path / "new").iterdir())) == 4
    (written / "worse.png").symlink_to("worse.png")  # a link to itself
    printed = run("segment", model_file, written, "--out", tmp_path / "newer", status=2)
    assert "2 of 4 images were not segmented" in printed and printed.count("cannot be read") == 1
    assert printed.strip().endswith("not segmented either: worse.png")
    Image.new("RGB", (50, 50)).save(tmp_path / "a_classes.png")
    Image.new("RGB", (50, 50)).save(tmp_path / "a.png")
    files = [tmp_path / "a.png", tmp_path / "a_classes.png"]
    printed = run("segment", model_file, *files, "--out", tmp_path, "--overwrite", status=2)
    assert "a_classes.png is one of the images" in printed
    assert "0 is not in the range" in run(
        "segment", model_file, images, "--iterations", 0, "--out", out, status=2
    )


def test_from_evaluation_to_a_plan(tmp_path, model_file):
    """Scores, times, the choice, and a prediction within the budget."""
    run("evaluate", model_file, "--data", "tiny", "--iterations", "1-3")
    assert (tmp_path / "model.curve_val.png").is_file()
    scores = json.loads((tmp_path / "model.scores_val.json").read_text())
    run("evaluate", model_file, "--data", "tiny", "--iterations", 2, "--output-stride", 8)
    assert json.loads((tmp_path / "model.scores_val.json").read_text()) == scores
    printed = run("benchmark", model_file, "--size", "43x51,24", "--repeats", 2, "--save")
    assert f"wrote {tmp_path / 'model.profile.json'}" in printed
    assert [line.split()[0] for line in printed.splitlines() if "multiply-adds" in line] == [
        "24x24",
        "43x51",
    ]
    gmacs = [row["multiply_adds"] / 1e9 for row in scores["results"]]
    assert f"{gmacs[0]:15.3f}" in printed
    stages = costs.stages(load_model(model_file), 43, 51)
    assert f"{stages['encode'].memory / 1e6:9.1f}" in printed and "memory MB" in printed
    files = [model_file, tmp_path / "model.scores_val_stride8.json"]
    printed = run("plan", *files, "--milliseconds", 1e9)
    assert f"{model_file}: from its profile" in printed
    assert f"{files[1]}: from its evaluation" in printed
    assert "within" in run("plan", model_file, "--gmacs", gmacs[1])
    images = write_images(tmp_path / "photos")
    segment = ["segment", model_file, images, "--out", tmp_path / "out", "--overwrite"]
    most = most_iterations(6, {row["iterations"]: row["miou"] for row in scores["results"]})
    assert f"iterations: {most}" in run(*segment, "--milliseconds", 1e9)
    assert "iterations: 7" in run(*segment, "--iterations", 7)
    cost = ["cost", "--encoder", "small_cnn", "--size", "40x48", "--classes", 3]
    cost += ["--output-stride", 8, "--hidden-channels", "6,5", "--json", tmp_path / "cost.json"]
    run(*cost, "--iterations", 3)
    total = json.loads((tmp_path / "cost.json").read_text())["total_multiply_adds"]["3"]
    assert f"iterations: {min(3, most)}" in run(*segment, "--gmacs", total / 1e9)


def test_budgets_that_cannot_be(tmp_path, model_file):
    images = write_images(tmp_path / "photos")
    segment = ["segment", model_file, images, "--out", tmp_path / "out"]
    for arguments, message in (
        (
            [*segment, "--gmacs", 1, "--iterations", 2],
            "gmacs=1.0 and iterations=2: expected exactly",
        ),
        ([*segment, "--gmacs", 0], "0.0 is not in the range 0<x"),
        ([*segment, "--milliseconds", 5], f"rnnseg benchmark {model_file} --size"),
        ([*segment, "--gmacs", 1e-9], "budget of 1e-09 G: one iteration"),
        (["plan", model_file], "give --gmacs or --milliseconds"),
        (["plan", model_file, "--gmacs", 1], "model.scores_val.json: no such scores"),
        (["benchmark", model_file], "Missing option '--size'"),
        (["benchmark", model_file, "--size", "40x"], "'40x': expected HEIGHTxWIDTH"),
    ):
        assert message in run(*arguments, status=2)
    assert not (tmp_path / "out").exists()


def test_evaluate_at_several_scales(tmp_path, model_file):
    """It has files of its own, so that the model's scores stay those of a single scale."""
    evaluate = ["evaluate", model_file, "--data", "tiny", "--iterations", 2]
    printed = run(*evaluate, "--scales", "0.5,1", "--flip")
    assert "averaged over scales 0.5, 1, each also mirrored" in printed
    scores = json.loads((tmp_path / "model.scores_val_scales0.5-1_flip.json").read_text())
    assert scores["scales"] == [0.5, 1] and scores["flip"]
    assert f"{100 * scores['results'][0]['miou']:.2f}" in printed
    assert (tmp_path / "model.curve_val_scales0.5-1_flip.png").is_file()
    assert not (tmp_path / "model.scores_val.json").exists()
    assert "0.0 is not in the range 0.01<=x<=10" in run(*evaluate, "--scales", "0,1", status=2)


def test_evaluate_at_each_of_several_image_scales(tmp_path, model_file):
    """They are points of one curve, from which budgets choose."""
    evaluate = ["evaluate", model_file, "--data", "tiny", "--iterations", "1-2"]
    printed = run(*evaluate, "--image-scales", "1,0.5", "--tensorboard", tmp_path / "logs")
    scores = json.loads((tmp_path / "model.scores_val.json").read_text())
    assert scores["scales"] == [1.0]
    rows = scores["results"]
    assert [(row["scale"], row["iterations"]) for row in rows] == [
        (0.5, 1), (0.5, 2), (1.0, 1), (1.0, 2)
    ]  # fmt: skip
    for row in rows:
        assert f"{row['scale']:5g}  {row['iterations']:10d}  {100 * row['miou']:6.2f}" in printed
    (logs,) = (tmp_path / "logs").iterdir()
    folders = {path.name for path in logs.iterdir()}
    assert folders == {"val", "val_image_scale0.5"}
    assert (tmp_path / "model.curve_val.png").is_file()
    assert "scale" in run("plan", model_file, "--gmacs", 1e9)
    # The cheapest point is of the scaled images, and of all that cost so much the best.
    gmacs = rows[0]["multiply_adds"] / 1e9
    photos = write_images(tmp_path / "photos")
    for image in photos.iterdir():
        Image.open(image).resize((51, 43)).save(image)
    segment = ["segment", model_file, photos, "--overwrite", "--out", tmp_path / "out"]
    assert "iterations: 1; images scaled by 0.5" in run(*segment, "--gmacs", gmacs)
    assert "scaled" not in run(*segment, "--iterations", 2)
    assert "scaled by 0.5" in run(*segment, "--gmacs", gmacs, "--every-iteration")
    message = run(*evaluate, "--image-scales", "0.5", "--flip", status=2)
    assert "--image-scales scores each scale by itself" in message


def test_evaluate_refuses_other_classes(tmp_path, model_file, monkeypatch):
    other = make_source({"val": halves(1)}, ("left", "right", "bottom"), name="other")
    monkeypatch.setattr(data, "open_source", lambda name: other)
    printed = run("evaluate", model_file, "--data", "other", status=2)
    assert "class 2 is 'top' in the model but 'bottom' in other" in printed
    assert list(pathlib.Path(tmp_path).iterdir()) == [model_file]


def test_what_cannot_be_written_is_said_before_the_work(tmp_path, model_file, source):
    evaluate = ["evaluate", model_file, "--data", "tiny"]
    assert "ends in .json" in run(*evaluate, "--json", tmp_path / "scores.txt", status=2)
    (tmp_path / "folder.json").mkdir()
    folder = tmp_path / "folder.json"
    assert "is a folder; expected a file" in run(*evaluate, "--json", folder, status=2)
    assert "ends in .html" in run(*evaluate, "--report", tmp_path / "page.htm", status=2)
    below_file = model_file / "x.json"
    assert "cannot be written" in run(*evaluate, "--json", below_file, status=2)
    assert "ends in .png" in run(*evaluate, "--curve", tmp_path / "curve.pdf", status=2)
    images = write_images(tmp_path / "photos")
    printed = run("segment", model_file, images, "--out", model_file / "x", status=2)
    assert printed.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize("arguments", [["nothing"], ["segment"], ["train", "--epochs", "many"]])
def test_click_s_own_errors_are_one_line_too(arguments):
    printed = run(*arguments, status=2)
    assert printed.startswith("error: ") and len(printed.splitlines()) == 1


@pytest.mark.parametrize("value", ["0", "3-1", "a", "1-"])
def test_wrong_iteration_numbers(value, model_file):
    assert "expected numbers" in run(
        "evaluate", model_file, "--data", "x", "--iterations", value, status=2
    )


def test_iteration_numbers():
    convert = parameters.IterationNumbers().convert
    assert convert("1-3,6,2", None, None) == (1, 2, 3, 6)


def test_inspect_prints_and_draws(tmp_path, source):
    printed = run("inspect", "tiny", "--sheet", tmp_path / "sheet.png")
    assert "train: 8 images, 40x48" in printed and "left" in printed
    assert Image.open(tmp_path / "sheet.png").width > 1000


def test_inspect_finds_wrong_labels(tmp_path, monkeypatch):
    train = halves(2)
    train[1][1][0, 0] = 9
    source = make_source({"train": train}, ("left", "right", "top", "never"))
    monkeypatch.setattr(data, "open_source", lambda name: source)
    printed = run("inspect", "tiny", "--sheet", tmp_path / "sheet.png", status=2)
    assert "train_1: label 9; expected 0-3 or 255" in printed
    assert "look: split 'train' has no pixel of never" in printed


def test_every_option_of_training_is_a_field_and_every_field_an_option():
    fields = {field.name for field in dataclasses.fields(TrainingConfig)}
    params = {param.name for param in main.commands["train"].params}
    assert params == fields | {"out", "recipe", "resume"}


def test_resume_alone_goes_on_with_the_options_of_the_run(tmp_path, monkeypatch):
    from rnnseg.training import loop

    configs = []

    def train(config, out, resume):
        loop.Run(out).check(config, resume)
        configs.append(config)
        return loop.Run(out)

    monkeypatch.setattr(loop, "train", train)
    config = TrainingConfig(data="shapes", hidden_channels=(8, 6), skip_layers=(), epochs=3)
    loop.Run(tmp_path / "run").begin(config)
    resume = ["train", "--out", tmp_path / "run", "--resume"]
    run(*resume)
    run(*resume, "--data", "shapes", "--epochs", 3)
    assert configs == [config, config]
    printed = run(*resume, "--epochs", 5, status=2)
    assert printed.endswith("run holds another run: epochs is 3 there, not 5\n")
    printed = run("train", "--out", tmp_path / "none", "--resume", status=2)
    assert printed.startswith("error: --data is missing")


def test_init_brings_the_form_of_the_model(tmp_path, monkeypatch, model_file):
    """Options and recipes come before it."""
    from rnnseg.training import loop

    configs = []

    def train(config, out, resume):
        configs.append(config)
        return loop.Run(out)

    monkeypatch.setattr(loop, "train", train)
    arguments = ["train", "--data", "shapes", "--out", tmp_path / "run", "--init", model_file]
    run(*arguments)
    run(*arguments, "--hidden-channels", "3")
    old = load_model(model_file)
    assert configs[0].hidden_channels == old.options.hidden_channels
    assert configs[0].encoder == old.options.encoder and configs[0].encoder_weights is None
    assert configs[1].hidden_channels == (3,) and configs[1].encoder == old.options.encoder
    printed = run("train", "--data", "x", "--out", tmp_path, "--init", tmp_path / "none", status=2)
    assert printed.startswith(f"error: {tmp_path / 'none'}: no such model")


def test_weights_of_a_recipe_can_be_left_out(tmp_path, monkeypatch):
    from rnnseg.training import loop

    configs = []

    def train(config, out, resume):
        configs.append(config)
        return loop.Run(out)

    monkeypatch.setattr(loop, "train", train)
    arguments = ["train", "--recipe", "camvid", "--data", "shapes", "--out", tmp_path]
    run(*arguments)
    without = ["--weights", "none", "--class-weights", "none", "--train-batch-norm"]
    run(*arguments, *without)
    chosen = [(config.encoder_weights, config.class_weights) for config in configs]
    assert chosen == [("imagenet", "auto"), (None, None)]


def test_old_names_of_training_work_and_print_a_line(tmp_path, monkeypatch):
    from rnnseg.training import loop

    configs = []

    def train(config, out, resume):
        configs.append(config)
        return loop.Run(out)

    monkeypatch.setattr(loop, "train", train)
    train = ["train", "--data", "x", "--freeze-encoder", "--out", tmp_path]
    printed = run(*train, "--hidden", "3,2", "--sample-cells", 9)
    assert "warning: --hidden is now called --hidden-channels\n" in printed
    assert "warning: --sample-cells is now called --sample-patches\n" in printed
    assert "warning" not in run(*train, "--hidden-channels", "3,2", "--sample-patches", 9)
    (tmp_path / "mine.py").write_text("RECIPE = dict(sampled_cells=9, hidden_channels=(3, 2))")
    printed = run(*train, "--recipe", tmp_path / "mine.py")
    assert "mine.py: sampled_cells is now called sampled_patches\n" in printed
    assert configs[0] == configs[1] == configs[2]
    assert configs[0].sampled_patches == 9 and configs[0].hidden_channels == (3, 2)


def test_export_takes_pictures_as_images(tmp_path, model_file):
    out = tmp_path / "out"
    printed = run("export", model_file, "--pictures", tmp_path / "none", "--out", out, status=2)
    warning, error = printed.splitlines()
    assert warning == "warning: --pictures is now called --images"
    assert error.startswith("error: ") and str(tmp_path / "none") in error


def test_cost_has_the_options_that_change_it():
    names = {param.name for param in main.commands["cost"].params}
    assert names > {"encoder", "output_stride", "hidden_channels", "kernel_size", "dilation_rate"}
    assert names.isdisjoint({"encoder_weights", "train_encoder", "l2", "recompute"})


def test_cost_refuses_options_of_another_model():
    printed = run("cost", "--model", "pspnet", "--hidden-channels", "8,4", status=2)
    assert printed == "error: --hidden-channels: pspnet has no such option; omit it\n"
    printed = run("cost", "--model", "deeplabv3", "--iterations", 2, "--learned-start", status=2)
    assert "--learned-start/--zero-start, --iterations: deeplabv3 has no such option" in printed


def test_train_refuses_options_of_another_model(tmp_path, monkeypatch):
    from rnnseg.training import loop

    configs = []

    def train(config, out, resume):
        configs.append(config)
        return loop.Run(out)

    monkeypatch.setattr(loop, "train", train)
    # A recipe may be for several models.
    (tmp_path / "mine.py").write_text("RECIPE = dict(hidden_channels=(3, 2), model='pspnet')")
    arguments = ["train", "--recipe", tmp_path / "mine.py", "--data", "shapes", "--out", tmp_path]
    printed = run(*arguments, "--hidden-channels", "8,4", "--iterations", 3, status=2)
    assert printed == "error: --hidden-channels, --iterations: pspnet has no such option; omit it\n"
    printed = run(*arguments, "--model", "recurrent", "--head-channels", 9, status=2)
    assert printed == "error: --head-channels: recurrent has no such option; omit it\n"
    printed = run(*arguments, "--low-level-layer", "block_2_add", status=2)
    assert printed == "error: --low-level-layer: pspnet has no such option; omit it\n"
    assert not configs
    run(*arguments, "--model", "deeplabv3", "--head-channels", 9)
    assert configs[0].model == "deeplabv3" and configs[0].model_options["head_channels"] == 9


def test_cost_by_stage_and_iterations(tmp_path):
    file = tmp_path / "cost.json"
    arguments = ["--encoder", "small_cnn", "--size", "65x97", "--classes", 3]
    arguments += ["--hidden-channels", "8,4", "--iterations", "1,4", "--canvas-stride", 16]
    output = run("cost", *arguments, "--json", file)
    content = json.loads(file.read_text())
    counts, stages = content["multiply_adds"], content["stages"]
    assert counts["read"] == 3 * 65 * 97 * 3
    # 5 x 7 cells; gates of 8, 4 and 3 channels of all that a layer sees but the features.
    assert counts["refine"] == 5 * 7 * 4 * (8 * (3 + 8) + 4 * (8 + 4) + 3 * (4 + 3))
    once = counts["encode"] + counts["prepare"] + counts["read"]
    assert content["total_multiply_adds"] == {str(n): once + n * counts["refine"] for n in (1, 4)}
    assert all(stage["memory"] > 0 for stage in stages.values())
    for line in ("encode", "prepare", "refine", "read", f"{4:10d}"):
        assert any(each.startswith(line) for each in output.splitlines())

    for order in ((*arguments, "--json"), ("--json", *arguments)):
        assert json.loads(run("cost", *order)) == content

    output = run("cost", *arguments, "--as-published", "--scales", "1", "--flip", "--json", file)
    published = json.loads(file.read_text())
    assert published["multiply_adds"]["refine"] == 2 * (counts["prepare"] + counts["refine"])
    assert published["stages"] == {} and "memory" not in output
    assert counts["early"] == published["multiply_adds"]["early"] == []


def test_cost_of_early_iterations():
    arguments = ["cost", "--encoder", "small_cnn", "--size", "65x97", "--classes", 3]
    arguments += ["--canvas-stride", 4, "--skip-layers", "stride4_conv2_relu,stride8_conv2_relu"]
    arguments += ["--early-iterations", "1,2", "--iterations", "1-5"]
    content = json.loads(run(*arguments, "--json"))
    counts = content["multiply_adds"]
    assert [each["iterations"] for each in counts["early"]] == [1, 3]
    for number, total in content["total_multiply_adds"].items():
        seen = [each for each in counts["early"] if int(number) <= each["iterations"]]
        encoder = (seen or [counts])[0]
        assert total == (
            encoder["encode"] + encoder["prepare"] + int(number) * counts["refine"] + counts["read"]
        )
    lines = run(*arguments).splitlines()
    (header,) = [index for index, line in enumerate(lines) if "encode G" in line]
    assert [line[:7].strip() for line in lines[header + 1 : header + 4]] == [
        "up to 1", "up to 3", "from 4"
    ]  # fmt: skip
    assert lines[header + 3].endswith("100.0")


def test_only_the_paper_s_model_is_counted_as_published():
    arguments = ["cost", "--encoder", "small_cnn", "--size", "65x97", "--as-published"]
    coarse = ["--canvas-stride", 16]
    for options in ([], ["--canvas-stride", 4, "--skip-layers", "stride8_conv2_relu"]):
        printed = run(*arguments, *options, status=2)
        assert "--as-published: the paper's iterations see features of one depth" in printed
    assert "0.000" in run(*arguments, *coarse)
    assert "0.000" in run(*arguments, "--model", "deeplabv3")


def test_cost_of_the_paper_s_table(tmp_path):
    """Table 3, single-scale: 53.9 G, and 6.638 G per iteration."""
    options = ["--canvas-stride", 16, "--hidden-channels", "512,256", "--encoder", "resnet101"]
    content = json.loads(run("cost", *options, "--as-published", "--json"))
    for number, total in content["total_multiply_adds"].items():
        assert total / 1e9 == pytest.approx(53.9 + 6.638 * int(number), rel=0.01)


def test_cost_of_what_cannot_be():
    for arguments, message in (
        (["--encoder", "none"], "unknown encoder 'none'"),
        (["--encoder", "small_cnn", "--output-stride", 7], "7: expected one of 8, 16, 32"),
        (["--encoder", "small_cnn", "--size", "8"], "smaller than one output stride"),
        (["--encoder", "small_cnn", "--size", "-5"], "-5.0 is not in the range"),
        (["--encoder", "small_cnn", "--size", "513x99999999999"], "is not in the range"),
        (["--encoder", "small_cnn", "--scales", "0,1"], "0.0 is not in the range 0.01<=x<=10"),
        (["--encoder", "small_cnn", "--scales", "nan"], "'nan': expected numbers up to"),
        (["--encoder", "small_cnn", "--scales", "1e308"], "1e+308 is not in the range 0.01<=x<=10"),
    ):
        result = CliRunner().invoke(main, ["cost", *map(str, arguments)])
        assert result.exit_code == 2 and message in result.stderr
