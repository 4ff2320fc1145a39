"""`rnnseg video`: segments a video."""

import os
from collections.abc import Sequence

import click

from rnnseg.cli.base import Command
from rnnseg.cli.large_images import large_image_options
from rnnseg.cli.models import default_model, names_model
from rnnseg.cli.parameters import MOST_ITERATIONS
from rnnseg.errors import UserError


@click.command(cls=Command)
@click.argument("arguments", metavar="[MODEL_OR_TFLITE] INPUT OUTPUT", nargs=-1, required=True)
@click.option(
    "--iterations",
    type=click.IntRange(1, MOST_ITERATIONS),
    default=2,
    show_default=True,
    help="Number of iterations for a frame that continues from the last one.",
)
@click.option(
    "--first-iterations",
    type=click.IntRange(1, MOST_ITERATIONS),
    help="Number of iterations for the first frame and after a cut.  [default: as in training]",
)
@click.option(
    "--view",
    type=click.Choice(["overlay", "side", "classes"]),
    help="Content of the output.  [default: overlay; classes in a folder]",
)
@click.option(
    "--decay",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Share of the old canvas that is forgotten from frame to frame.",
)
@click.option(
    "--motion/--no-motion",
    default=True,
    show_default=True,
    help="Move the old canvas along by optical flow.",
)
@click.option("--blank", is_flag=True, help="Segment every frame independently.")
@click.option(
    "--cut-threshold",
    type=click.FloatRange(0, 1),
    default=0.3,
    show_default=True,
    help="Share of pixels that change colour where a scene begins.",
)
@click.option(
    "--stream",
    type=click.IntRange(0, 10_000),
    help="Number of the video stream, as ffprobe counts.  [default: the one that players show]",
)
@large_image_options
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace an earlier .mp4 file, or an earlier folder with all its frames.",
)
def video(arguments, iterations, first_iterations, view, decay, motion, blank,
          cut_threshold, stream, tile, max_size, overwrite):  # fmt: skip
    r"""Segment a video, in which each frame continues from the last one.

    MODEL is a run, a .keras or .tflite file, or a preset (rnnseg presets). Where none is named, it
    is the default preset, which knows the classes of PASCAL VOC.

    INPUT is a video file, a folder of images (sorted by name, numbers by value, 25 per second), or
    a webcam's number; OUTPUT is an .mp4 file, or a folder for one PNG per frame. In a folder,
    classes are palette PNGs: the index of a pixel is its class. Ctrl-C or SIGTERM ends it and keeps
    the frames that are done.

    \b
    rnnseg video clip.mp4 segmented.mp4
    rnnseg video runs/camvid drive.mp4 segmented.mp4
    rnnseg video exported/anytime.tflite drive.mp4 segmented.mp4 --view side
    rnnseg video runs/camvid 0 webcam.mp4 --iterations 1
    """
    model, source, out = _split(arguments)
    if blank:
        # Every frame is a first one.
        first_iterations, decay = iterations, 1.0

    from rnnseg import VideoSegmenter
    from rnnseg.video import libraries

    with libraries():
        from rnnseg.video import outputs, segmenting, sources

    with sources.open_frames(source, stream) as frames:
        for note in frames.notes:
            click.echo(note)
        segmenter = VideoSegmenter(
            _open_model(model, tile, max_size),
            iterations,
            first_iterations,
            cut_threshold,
            decay,
            motion,
        )
        with outputs.open_output(out, frames, view, overwrite) as output:
            done = segmenting.segment_video(segmenter, frames, output)
    for problem in frames.problems:
        click.echo(f"warning: {problem}", err=True)
    cuts = f"; cuts at {', '.join(map(str, done.cuts))}" if done.cuts else ""
    click.echo(
        f"wrote {out}: {done.frames} frames, {done.rate:.1f} per second; segmenting took "
        f"{done.milliseconds:.1f} ms per frame{cuts}"
    )
    if done.stopped and not frames.endless:
        raise click.Abort


def _split(arguments: Sequence[str]) -> tuple[str, str, str]:
    """Returns the model, the input and the output that a command line names."""
    if not 2 <= len(arguments) <= 3 or (len(arguments) == 2 and names_model(arguments[0])):
        raise UserError(f"expected [MODEL] INPUT OUTPUT, got {' '.join(arguments)}")
    *model, source, out = arguments
    return model[0] if model else default_model(), source, out


def _open_model(path: str, tile: int | None, max_size: int | None):
    """Returns the engine of a run or a `.keras` file, or a LiteRT file."""
    if path.endswith(".tflite"):
        for option, value in (("--tile", tile), ("--max-size", max_size)):
            if value is not None:
                raise UserError(
                    f"{option} {value}: {path} is a LiteRT file, which segments frames as it was "
                    "exported: leave it out, or export with --size HEIGHTxWIDTH, to which larger "
                    "frames are fitted"
                )
        from rnnseg.runtime.segmenter import Segmenter

        return Segmenter(path, threads=os.cpu_count() or 1)
    from rnnseg.models.loading import load_model
    from rnnseg.video.engines import KerasEngine

    return KerasEngine(load_model(path), tile, max_size)
