// Letterboxing: images of any size for files of one size; as rnnseg.runtime.letterbox.

import {rint, spread} from './numbers.js';

const {fround} = Math;

/**
 * Letterboxes an image: a larger one is scaled down, the rest of the file's size is padded.
 * @param image {data, width, height}: RGBA without transparency, as ImageData.
 * @param info the metadata of the file.
 * @return {pixels, rows, columns}: RGB, Uint8Array of the file's size; and the position of each
 *   row and column of the image on the canvas, in canvas pixels.
 */
export function letterbox(image, info) {
  const [height, width] = info.size;
  const [tall, wide] = contentSize([image.height, image.width], info.size);
  const content = shrink(image, tall, wide);
  const pixels = new Uint8Array(3 * height * width);
  for (let index = 0; index < pixels.length; index++) pixels[index] = info.padding[index % 3];
  for (let row = 0; row < tall; row++) {
    pixels.set(content.subarray(3 * wide * row, 3 * wide * (row + 1)), 3 * width * row);
  }
  return {
    pixels,
    rows: spread((tall - 1) / info.canvas_stride, image.height),
    columns: spread((wide - 1) / info.canvas_stride, image.width),
  };
}

/** Returns the [height, width] of an image once it is letterboxed, without the padding. */
export function contentSize(sides, size) {
  const ratios = sides.map((side, axis) => (side > 1 ? (size[axis] - 1) / (side - 1) : 1));
  const scale = Math.min(1, ...ratios);
  return sides.map((side) => rint((side - 1) * scale) + 1);
}

/** Scales an image down; the result is RGB, `height` rows of `width` pixels. */
function shrink({data, height, width}, tall, wide) {
  const result = new Uint8Array(3 * tall * wide);
  if (tall === height && wide === width) {
    for (let from = 0, to = 0; to < result.length; from += 4, to += 3) {
      result[to] = data[from];
      result[to + 1] = data[from + 1];
      result[to + 2] = data[from + 2];
    }
    return result;
  }
  const [down, right] = [shrinking(height, tall), shrinking(width, wide)];
  const row = new Float32Array(3 * width); // one row of the result, not yet scaled along x
  const means = new Float32Array(3 * right.number);
  for (let y = 0; y < tall; y++) {
    scaleRows(data, width, down, y, row);
    for (let group = 0; group < right.number; group++) {
      for (let channel = 0; channel < 3; channel++) {
        const at = 3 * group * right.step + channel;
        let sum = row[at];
        for (let next = 1; next < right.step; next++) sum = fround(sum + row[at + 3 * next]);
        means[3 * group + channel] = sum;
      }
    }
    for (let x = 0; x < wide; x++) {
      const [first, second] = [3 * right.first[x], 3 * right.second[x]];
      const [before, after] = [right.before[x], right.after[x]];
      for (let channel = 0; channel < 3; channel++) {
        result[3 * (y * wide + x) + channel] =
          rint(fround(fround(before * means[first + channel]) +
                      fround(after * means[second + channel])));
      }
    }
  }
  return result;
}

/** Fills in one row of the result by rows of the image. */
function scaleRows(data, width, down, y, row) {
  const [first, second] = [down.first[y] * down.step, down.second[y] * down.step];
  const [before, after] = [down.before[y], down.after[y]];
  for (let x = 0; x < width; x++) {
    for (let channel = 0; channel < 3; channel++) {
      let [upper, lower] = [0, 0];
      for (let next = 0; next < down.step; next++) {
        upper += data[4 * ((first + next) * width + x) + channel];
        lower += data[4 * ((second + next) * width + x) + channel];
      }
      row[3 * x + channel] = fround(fround(before * upper) + fround(after * lower));
    }
  }
}

/**
 * The scaling of one side: it is divided by a whole number first, by averaging neighbours, so that
 * every pixel counts; linear interpolation between two averages does the rest.
 */
function shrinking(length, wanted) {
  const step = Math.floor(length / wanted);
  const number = Math.floor(length / step);
  const [first, second] = [new Int32Array(wanted), new Int32Array(wanted)];
  const [before, after] = [new Float32Array(wanted), new Float32Array(wanted)];
  spread(length - 1, wanted).forEach((position, index) => {
    // The average of pixels 0 to step - 1 lies in their middle.
    const place = Math.min(Math.max((position - (step - 1) / 2) / step, 0), number - 1);
    first[index] = Math.floor(place);
    second[index] = Math.min(first[index] + 1, number - 1);
    const weight = place - first[index];
    before[index] = (1 - weight) / step;
    after[index] = weight / step;
  });
  return {step, number, first, second, before, after};
}
