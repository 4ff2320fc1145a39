import contextlib
import itertools
import signal

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from rnnseg import VideoSegmenter, load_model
from rnnseg.cli import main
from rnnseg.video import sources
from rnnseg.video.outputs import open_output
from rnnseg.video.segmenting import segment_video
from rnnseg.video.sources import open_frames
from tests.support.litert import write_anytime
from tests.support.models import make_model
from tests.support.without_tensorflow import run_without_tensorflow
from tests.video import clips


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.keras"
    make_model().save(path)
    return path


def run(*arguments, status=0):
    result = CliRunner().invoke(main, ["video", *map(str, arguments)])
    assert result.exit_code == status, result.output + repr(result.exception)
    return result.output


def test_writes_what_the_segmenter_gives(tmp_path, model_file):
    path = clips.write(tmp_path / "in.mp4", clips.scene(4, seed=1) + clips.scene(4, seed=2))
    printed = run(model_file, path, tmp_path / "out", "--iterations", 1, "--decay", 0.2)
    assert f"wrote {tmp_path / 'out'}: 8 frames" in printed and "cuts at 4" in printed
    video = VideoSegmenter(load_model(model_file), iterations=1, decay=0.2)
    images, _ = clips.read(path)
    for number, image in enumerate(images):
        classes = np.asarray(Image.open(tmp_path / "out" / f"{number:06d}.png"))
        np.testing.assert_array_equal(classes, video(image).classes)


def test_blank_segments_every_frame_by_itself(tmp_path, model_file):
    path = clips.write(tmp_path / "in.mp4", clips.scene(3))
    run(model_file, path, tmp_path / "out", "--iterations", 3, "--blank")
    model = load_model(model_file)
    for number, image in enumerate(clips.read(path)[0]):
        classes = np.asarray(Image.open(tmp_path / "out" / f"{number:06d}.png"))
        canvas = model.unroll(image[np.newaxis], 3)[-1]
        np.testing.assert_array_equal(classes, model.read(canvas, image.shape[:2])[0])


def test_a_file_on_a_folder_needs_no_tensorflow(tmp_path):
    """Images are read and a video is written; the file is one of rnnseg export."""
    file = write_anytime(make_model(), (49, 65), tmp_path)
    (tmp_path / "frames").mkdir()
    for number, image in enumerate(clips.scene(3, size=(49, 65))):
        Image.fromarray(image).save(tmp_path / "frames" / f"{number}.png")
    arguments = ["video", str(file), str(tmp_path / "frames"), str(tmp_path / "out.mp4")]
    printed = run_without_tensorflow(
        f"from rnnseg.cli import main; main({arguments}, standalone_mode=False)"
    )
    assert f"wrote {tmp_path / 'out.mp4'}: 3 frames" in printed
    assert len(clips.read(tmp_path / "out.mp4")[0]) == 3


def test_a_truncated_video_is_written_as_far_as_it_goes(tmp_path, model_file):
    noise = np.random.default_rng(0).integers(0, 256, (50, 48, 64, 3)).astype(np.uint8)
    path = clips.write(tmp_path / "in.mp4", noise, options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    printed = run(model_file, path, tmp_path / "out.mp4").splitlines()
    (warning,) = [line for line in printed if "warning: " in line]
    assert "damaged or cut off" in warning
    assert 10 < len(clips.read(tmp_path / "out.mp4")[0]) < 40


def test_mistakes_end_with_one_line_and_leave_nothing(tmp_path, model_file):
    path = clips.write(tmp_path / "in.mp4", clips.scene(2, size=(16, 6)))
    for arguments, message in (
        ((tmp_path / "no.keras", path, tmp_path / "out.mp4"), "no such model"),
        ((model_file, path, tmp_path / "out.mp4"), "smaller than one output stride"),
        ((model_file, tmp_path / "no.mp4", tmp_path / "out.mp4"), "no such file"),
        ((model_file, path, path), "is the input"),
        ((path,), "expected [MODEL] INPUT OUTPUT, got"),
        ((model_file, path), "expected [MODEL] INPUT OUTPUT, got"),
    ):
        (line,) = run(*arguments, status=2).strip().splitlines()
        assert line.startswith("error: ") and message in line
    assert [file.name for file in tmp_path.iterdir()] == ["in.mp4"]


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_keeps_what_is_done(tmp_path, ending):
    path = clips.write(tmp_path / "in.mp4", clips.scene(8), sound=True)
    before = signal.getsignal(ending)
    with open_frames(path) as source, open_output(tmp_path / "out.mp4", source) as output:

        def interrupted(frames):
            yield from itertools.islice(frames, 3)
            signal.raise_signal(ending)
            yield from frames

        source.frames = interrupted(source.frames)
        done = segment_video(VideoSegmenter(make_model()), source, output)
    assert done.stopped and done.frames == 4
    assert len(clips.read(tmp_path / "out.mp4")[0]) == 4
    assert signal.getsignal(ending) is before


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_a_second_interruption_ends_at_once_and_leaves_nothing(tmp_path, ending):
    path = clips.write(tmp_path / "in.mp4", clips.scene(8))
    with pytest.raises(KeyboardInterrupt):
        with open_frames(path) as source, open_output(tmp_path / "out.mp4", source) as output:

            def interrupted(frames):
                yield next(frames)
                signal.raise_signal(ending)
                signal.raise_signal(ending)

            source.frames = interrupted(source.frames)
            segment_video(VideoSegmenter(make_model()), source, output)
    assert [file.name for file in tmp_path.iterdir()] == ["in.mp4"]


def test_prints_what_was_chosen_and_converted(tmp_path, model_file, monkeypatch):
    path = clips.write(tmp_path / "in.mp4", clips.scene(2))
    opened = []

    @contextlib.contextmanager
    def with_note(name, stream):
        opened.append(stream)
        with open_frames(name) as source:
            source.notes.append("a note")
            yield source

    monkeypatch.setattr(sources, "open_frames", with_note)
    printed = run(model_file, path, tmp_path / "out", "--stream", 3)
    assert opened == [3] and printed.splitlines()[0] == "a note"
