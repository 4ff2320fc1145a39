"""What README and guides tell people to type is typed here.

Every command is parsed by the command that it calls. Those that need nothing but images with
masks run, in the order of their page, in a folder that has what the page takes for granted: drawn
images, masks and a film. So does the pages' Python.
"""

import ast
import importlib
import json
import pathlib
import re
import shlex
import shutil
import subprocess
from typing import NamedTuple

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import rnnseg
from rnnseg.cli import main
from rnnseg.training import loop
from tests.support import archives
from tests.support.sources import halves

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = ("README.md", *sorted(f"docs/{path.name}" for path in ROOT.glob("docs/*.md")))
README = "README.md"
# Pages whose commands are parsed and not run.
PARSED = (
    "CONTRIBUTING.md",
    "experiments/README.md",
    *sorted(f"docs/experiments/{path.name}" for path in ROOT.glob("docs/experiments/*.md")),
)

# Pages that run, and what of the README's work they begin with. The Android guide's Python has a
# test of its own, as has the export guide's SavedModel.
RUN = (
    README,
    "docs/quick_start.md",
    "docs/pretrained.md",
    "docs/your_own_data.md",
    "docs/data.md",
    "docs/training.md",
    "docs/budgets.md",
    "docs/comparison.md",
    "docs/tensorboard.md",
    "docs/export.md",
    "docs/video.md",
)
# What does not run anywhere here, and why.
NOT_RUN = {
    r"rnnseg demo": "tests/demos runs it",
    r"make ": "the checks that run these tests are made by it",
    r"pip install|\. \.venv": "they make the environment",
    r"docker ": "no images here; tests/test_container.py reads the Dockerfile",
    r"tensorboard --logdir": "a server; tests/dashboard starts it",
    r"tfds\.load|rnnseg .*(tfds:|pet\.json)": "TFDS downloads a published data set",
    r"--out runs/voc_(gpus|two)": "several GPUs; else as the one with the paper's weights",
    r"DataflowRunner": "a cluster; else as the command above it",
    r"--weights FILE": "a file that one has; else as the recipes of docs/training.md",
    r"rnnseg train --recipe camvid": "as without its recipe, which tests/test_config.py reads",
    r"rnnseg video runs/mine 0 ": "a webcam",
    r"rnnseg evaluate .*--output-stride 8": "not with small_cnn; tests/test_cli.py does it",
    r"--from mobilenet_v2_voc": "its encoder is larger; tests/training/test_start.py does it",
    r"--teacher runs/large": "there is no such run; tests/training/test_loop.py has a teacher",
    r"rnnseg video MODEL": "stands for all of them",
    r"rnnseg export (?!.*(float16,int8|--images|--size any))": "as the README's",
    r"python -m experiments\.(paper_scale|video|device_benchmark)": "tests of their own",
    r"python -m experiments\.(rare_class|voc_distilled)": "tests of their own",
}
# What makes a command small, added at its end, where it counts more than what was there. A run that
# goes on (`train --out … --resume`) has its options from `config.json`.
SMALLER = {
    r"rnnseg train (?!--out)": "--encoder small_cnn --crop 33 --batch 2 --epochs 1 --train-encoder "
    "--train-batch-norm",
    r"rnnseg train (?!--out|.*--model)": "--hidden-channels 6,5 --iterations 2",
    r"rnnseg train (?!--out|.*--weights \w+\.weights\.h5)": "--weights none",
    r"rnnseg .*--milliseconds": "--milliseconds 60000",
    r"rnnseg evaluate (?!runs/deeplabv3)|python -m experiments\.\w+_table": "--iterations 1,2",
    r"python -m experiments\.submissions": "--iterations 1 --scales 0.5",
    r"rnnseg prepare voc .*# downloads": "--download-dir .",
    r"rnnseg prepare coco (?!.*--root)": "--download-dir coco",
    r"rnnseg benchmark": "--size 64x96",
    r"rnnseg export (?!.*--size any)": "--size 33x49 --quantize int8",
    r"rnnseg export": "--limit 2",
}
# The same in Python.
SMALLER_CODE = {
    r"milliseconds=\d+": "milliseconds=60000",
    r'encoder="(mobilenet_v2|resnet101)"': 'encoder="small_cnn", encoder_weights=None',
    r"epochs=20": "epochs=1",
    r"480, 640|360, 480": "64, 96",
}
_PROGRAM = re.compile(
    r"(?:[A-Z_]+=\S+ )*(rnnseg|python -m|make|tensorboard|pip|taskset|docker|echo|\.) "
)


class Step(NamedTuple):
    """A command, or Python, of a page."""

    text: str
    is_code: bool = False


def blocks(text):
    """Every block of code with its language; indented ones have none."""
    fenced = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
    indented = re.compile(r"(?:^ {4,}\S.*\n|(?<=\n)\n(?= {4,}\S))+", re.MULTILINE)
    found = [(match.start(), match[1], match[2]) for match in fenced.finditer(text)]
    blank = fenced.sub(lambda match: re.sub(r"[^\n]", "~", match[0]), text)
    found += [(match.start(), "", match[0].lstrip("\n")) for match in indented.finditer(blank)]
    return [(language, block) for _, language, block in sorted(found)]


def steps(page):
    """A page's commands and Python, in their order."""
    found = []
    for language, block in blocks((ROOT / page).read_text()):
        if language == "python":
            found.append(Step(block, is_code=True))
        elif language in ("", "sh", "bash", "console"):
            lines = re.sub(r"\\\n\s*", "", block).splitlines()
            found += [Step(line.strip()) for line in lines if _PROGRAM.match(line.strip())]
    return found


def commands(page):
    return [step.text for step in steps(page) if not step.is_code]


def command_of(text):
    """The click command that a line calls, None where it is another program's; its arguments."""
    text = re.sub(r"^docker run .* rnnseg(:gpu)? ", "rnnseg ", text)  # the image's entry point
    words = shlex.split(re.sub(r"^([A-Z_]+=\S+ )*(taskset -c \S+ )?", "", text), comments=True)
    if words[0] == "rnnseg":
        return main, words[1:]
    if words[:2] == ["python", "-m"]:
        return importlib.import_module(words[2]).main, words[3:]
    return None, words


def run(text):
    """Calls a command in this process."""
    command, words = command_of(text)
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 0, f"{text}\n{result.output}\n{result.exception!r}"
    return result.stdout


def reason_not_to_run(text):
    return next((why for pattern, why in NOT_RUN.items() if re.search(pattern, text)), None)


def save_recipe(code):
    """Writes Python whose first line is its file's name, `# mine.py`; whether it is such."""
    title = re.match(r"# (\w+\.py)\n", code)
    if title:
        pathlib.Path(title[1]).write_text(code)
    return bool(title)


def run_page(page, names):
    """Runs what a page says, in the present folder; `names` are those that its Python takes."""
    for step in dict.fromkeys(steps(page)):  # once what is shown again
        text = step.text
        if reason_not_to_run(text):
            continue
        if step.is_code:
            if save_recipe(text):
                continue
            for pattern, smaller in SMALLER_CODE.items():
                text = re.sub(pattern, smaller, text)
            exec(compile(text, page, "exec"), names)
        elif text.startswith("echo "):
            subprocess.run(text, shell=True, check=True)
        else:
            words = shlex.split(text, comments=True)
            added = [more for pattern, more in SMALLER.items() if re.search(pattern, text)]
            run(" ".join([shlex.join(words), *added]))


# --- what there is ---


def test_commands_are_found_with_all_their_lines():
    text = "\n".join(commands(README))
    assert "rnnseg prepare folder --images photos/train --masks labels/train --val-images" in text
    assert "--out data/mine" in text and "rnnseg evaluate runs/mine --data data/mine" in text
    found = blocks("a\n\n    one \\\n        two\n\n    three\n\n```python\n    x = 1\n```\n\nb\n")
    assert found == [("", "    one \\\n        two\n\n    three\n"), ("python", "    x = 1\n")]


@pytest.mark.parametrize("page", [*PAGES, *PARSED])
def test_commands_have_these_options_and_values(page, monkeypatch, tmp_path):
    def parsed(self, context):
        called.append(context.command_path)
        if context.info_name == "train":  # up to here its recipe and settings are not looked at
            invoke(self, context)

    called, invoke = [], click.Command.invoke
    monkeypatch.setattr(click.Command, "invoke", parsed)
    monkeypatch.setattr("rnnseg.training.loop.train", _begun)
    monkeypatch.setattr("rnnseg.training.start.options_of", lambda init: {})
    monkeypatch.setattr("rnnseg.training.reporting.write_report", lambda run: run.folder)
    monkeypatch.setattr(click.Group, "invoke", _invoke_subcommand)
    convert = click.Path.convert
    monkeypatch.setattr(click.Path, "convert", lambda self, *args: _unchecked(convert, self, *args))
    monkeypatch.chdir(tmp_path)
    for text, is_code in steps(page):
        if is_code:
            save_recipe(text)
            continue
        command, words = command_of(text)
        if command is None:
            assert words[0] in ("make", "tensorboard", "pip", "docker", "echo", "."), text
            if words[0] == "make":
                targets = re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
                assert words[1] in targets, text
        else:
            called.clear()
            result = CliRunner().invoke(command, words)
            assert result.exit_code == 0 and called, f"{text}\n{result.output}"


def _begun(config, out, resume):
    """The run of a command that a page may go on with."""
    run = loop.Run(out)
    run.folder.mkdir(parents=True, exist_ok=True)
    run.begin(config)
    return run


def _invoke_subcommand(group, context):
    name, command, arguments = group.resolve_command(
        context, [*context._protected_args, *context.args]
    )
    with command.make_context(name, arguments, parent=context) as inner:
        command.invoke(inner)


def _unchecked(convert, path_type, *args):
    # Whether a file is there is for the pages that run.
    exists, path_type.exists = path_type.exists, False
    try:
        return convert(path_type, *args)
    finally:
        path_type.exists = exists


def test_every_command_runs_or_is_listed():
    for page in PAGES:
        for text in commands(page):
            shown = text.startswith("rnnseg cost")
            assert page in RUN or reason_not_to_run(text) or shown, f"{page}: {text}"
    everything = "\n".join(step.text for page in PAGES for step in steps(page))
    for pattern in NOT_RUN:
        assert re.search(pattern, everything), f"nothing is like {pattern}"


@pytest.mark.parametrize("page", [*PAGES, *PARSED])
def test_what_is_named_exists(page):
    text = (ROOT / page).read_text()
    for path in re.findall(
        r"`((?:rnnseg|experiments|data_prep|docs|tests)/[\w/]+(?:\.\w+|/))`", text
    ):
        assert (ROOT / path).exists(), path
    named = re.findall(r"`((?:rnnseg|experiments|data_prep)(?:\.\w+)+)", text)
    for language, block in blocks(text):
        if language == "python":
            named += re.findall(r"(?<![\w./\"'])(?:rnnseg|data_prep)(?:\.\w+)+", block)
    for name in named:
        if not name.endswith(".json"):  # a file
            assert_resolves(name)


def assert_resolves(name):
    """`name` is that of a module, or of something in one."""
    parts, found = name.split("."), None
    for number in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:number]))
        except ImportError:
            continue
        break
    for part in parts[number:]:
        assert hasattr(found, part), name
        found = getattr(found, part)


@pytest.mark.parametrize("page", [*PAGES, *PARSED])
def test_code_is_python_and_json(page):
    for language, block in blocks((ROOT / page).read_text()):
        if language == "python":
            compile(block, page, "exec")
        elif language == "json":
            json.loads(block)


@pytest.mark.parametrize(
    ("page", "text"),
    [(page, text) for page in PAGES for text in commands(page) if text.startswith("rnnseg cost")],
)
def test_costs_in_the_text_are_those_that_are_counted(page, text):
    printed = run(text)
    # Where a page shows what the command prints, it is the block after it, or the same one's rest.
    shown = (ROOT / page).read_text().split(text.split("#")[0].strip())[1].split("\n\n    ", 1)
    lines = shown[1].splitlines() if len(shown) > 1 else []
    if lines and lines[0].strip().startswith("stage "):
        there = [" ".join(line.split()) for line in printed.splitlines()]
        table = "    " + shown[1]
        for line in re.match(r"(?: {4,}.*\n|\n(?= {4}))+", table)[0].splitlines():
            assert " ".join(line.split()) in there, line


def test_every_room_is_in_the_tour():
    text = (ROOT / "docs" / "how_it_works.md").read_text()
    listed = re.findall(r"^\| `rnnseg\.(\w+)` \|", text, re.MULTILINE)
    rooms = [path.parent.name for path in ROOT.glob("rnnseg/*/__init__.py")]
    assert sorted(listed) == sorted([*rooms, "data_prep", "experiments"])


def test_every_experiment_is_in_the_index():
    text = (ROOT / "experiments" / "README.md").read_text()
    modules = {path.stem for path in ROOT.glob("experiments/*.py")} - {"__init__"}
    assert set(re.findall(r"`experiments\.(\w+)`", text)) == modules


def test_messages_in_the_export_guide_are_those_of_the_code():
    texts = "\n".join(
        text for path in ROOT.glob("rnnseg/**/*.py") for text in string_literals(path.read_text())
    )
    section = (ROOT / "docs" / "export.md").read_text().split("\n## Troubleshooting\n")[1]
    messages = re.findall(r"^\| `(?!INFO: )(?:warning: )?(.+?)` \|", section, re.MULTILINE)
    assert len(messages) > 10
    for message in messages:
        for part in message.split("…"):
            assert part.strip() in texts, message


def string_literals(source):
    """The text literals of a module; gaps stand for the values in f-strings."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            yield " ".join(each.value for each in node.values if isinstance(each, ast.Constant))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


# --- and what it does ---


def film(path, frames):
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder with what pages take for granted."""
    folder = tmp_path_factory.mktemp("inputs")
    colors = np.array([(0, 0, 0), (200, 0, 0), (0, 200, 0)], np.uint8)
    for split, count in (("train", 6), ("val", 3)):
        for index, (image, label) in enumerate(halves(count, 64, 96, seed=count)):
            for kind, array in (("photos", image), ("labels", label)):
                path = folder / kind / split / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.where(array == 255, 0, array)).save(path)
    names = ("left", "right", "top")
    lines = [f"{name} {' '.join(map(str, c))}\n" for name, c in zip(names, colors, strict=True)]
    (folder / "classes.txt").write_text("".join(lines))
    rows = [f"{name},{','.join(map(str, c))}\n" for name, c in zip(names, colors, strict=True)]
    (folder / "classes.csv").write_text("name,r,g,b\n" + "".join(rows))
    (folder / "test.txt").write_text("val/0\n")
    frames = [image for image, _ in halves(3, 64, 96, seed=1)]
    for name in ("photo", "street"):
        Image.fromarray(frames[0]).save(folder / f"{name}.jpg")
    (folder / "frames").mkdir()
    for index, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / "frames" / f"{index}.png")
    film(folder / "drive.mp4", frames)
    archives.write_voc(folder)
    archives.write_cityscapes(folder / "downloads")
    archives.write_coco(folder / "coco")
    return folder


def names_of(folder):
    """What the pages' Python takes for granted."""
    import tensorflow as tf

    image = np.asarray(Image.open(folder / "photo.jpg"))
    images = image[np.newaxis]
    labels = np.zeros(images.shape[:3], np.uint8)
    return {
        "image": image,
        "images": images,
        "frames": [image, image[::-1]],
        "batches": tf.data.Dataset.from_tensors((images, labels)),
    }


@pytest.fixture(scope="module")
def readme(inputs, tmp_path_factory):
    """The folder of somebody who has done all that the README says."""
    pytest.importorskip("cv2")
    folder = tmp_path_factory.mktemp("readme") / "work"
    shutil.copytree(inputs, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_page(README, names_of(folder))
    return folder


def test_the_readme_does_what_it_says(readme):
    for path in (
        "data/mine",
        "runs/mine/best.keras",
        "runs/mine/report.html",
        "runs/mine/report_val.html",
        "runs/mine/profile.json",
        "segmented/photo_classes.png",
        "exported/mine/anytime_int8.tflite",
        "exported/mine/parity.json",
        "segmented.mp4",
    ):
        assert (readme / path).exists(), path


@pytest.mark.parametrize("page", RUN[1:])
def test_guides_do_what_they_say(page, readme, inputs, tmp_path, monkeypatch):
    folder = tmp_path / "work"
    shutil.copytree(inputs, folder)
    monkeypatch.chdir(folder)
    begins = page in ("docs/your_own_data.md", "docs/data.md", "docs/training.md")
    for name in ("data", "runs") if not begins else ():
        shutil.copytree(readme / name, folder / name)
        if (other := folder / name / "mine").exists():
            shutil.copytree(other, folder / name / "camvid")
    if page in ("docs/data.md", "docs/training.md"):
        shutil.copytree(readme / "data" / "mine", folder / "data" / "mine")
    if page == "docs/budgets.md":
        scores = pathlib.Path("runs/mine/scores_val.json").read_text().replace("mine", "camvid")
        pathlib.Path("runs/camvid/scores_val_stride8.json").write_text(scores)
    for name in ("mine", "shapes"):
        shutil.copytree(readme / "exported" / "mine", folder / "exported" / name)
    if page == "docs/training.md":
        shutil.copy("downloads/leftImg8bit_trainvaltest.zip", ".")
    if page == "docs/data.md":
        run("rnnseg prepare to_model_garden --data data/mine --out FOLDER")
    if "runs/deeplabv3" in (ROOT / page).read_text() and page != "docs/comparison.md":
        shutil.copytree(folder / "runs" / "mine", folder / "runs" / "deeplabv3")
    if page == "docs/quick_start.md":
        trained = "--encoder small_cnn --weights none --output-stride 8 --train-batch-norm"
        size = "--crop 33 --batch 100 --epochs 1 --iterations 2"
        run(f"rnnseg train --data shapes {trained} {size} --out runs/shapes/run")
        shutil.copy("photo.jpg", "runs/shapes/image.png")
    names = names_of(folder)
    if page == "docs/tensorboard.md":
        model = rnnseg.load_model("runs/mine")
        model.compile(optimizer="sgd", loss=rnnseg.SegmentationLoss())
        names["model"], names["rnnseg"] = model, rnnseg
    run_page(page, names)
