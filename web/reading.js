// Reading a class map from a canvas, interpolating only at borders between classes; as
// rnnseg.runtime.reading, where the reasons are.

const {fround} = Math;

// The lead that a class needs, relative to the largest logit, so that rounding cannot overturn it.
const MARGIN = 2 ** -18;

/**
 * Returns the best class at every intersection of some rows and columns.
 * @param canvas {values, height, width}: logits, Float32Array, pixel by pixel.
 * @param classes the number of classes.
 * @param rows their positions, in canvas pixels, rising from 0 to at most height - 1.
 * @param columns likewise.
 * @return the class map, row by row, Uint8Array, or Uint16Array for more than 256 classes.
 * @throws an Error if logits are no finite numbers, or the canvas does not cover the positions.
 */
export function readAt(canvas, classes, rows, columns) {
  const {values, height, width} = canvas;
  if (rows.at(-1) > height - 1 || columns.at(-1) > width - 1) {
    throw new Error(`a canvas of ${height}x${width} does not cover the image: the strides in the ` +
      'metadata of the file are not those of its model; export it again');
  }
  const best = leaders(values, classes);
  const [down, right] = [places(rows), places(columns)];
  const map = new (classes > 256 ? Uint16Array : Uint8Array)(rows.length * columns.length);
  const patch = new Patch(values, classes, best.margin);
  for (let top = 0; top < down.starts.length - 1; top++) {
    const [y0, y1] = [down.starts[top], down.starts[top + 1]];
    const below = Math.min(top + 1, height - 1);
    for (let left = 0; left < right.starts.length - 1; left++) {
      const [x0, x1] = [right.starts[left], right.starts[left + 1]];
      const beside = Math.min(left + 1, width - 1);
      const corners = [top * width + left, top * width + beside, below * width + left,
        below * width + beside];
      const first = best.safe[corners[0]];
      if (first >= 0 && corners.every((corner) => best.safe[corner] === first)) {
        for (let y = y0; y < y1; y++) map.fill(first, y * columns.length + x0, y * columns.length + x1);
        continue;
      }
      patch.moveTo(corners);
      patch.fill(map, columns.length, [y0, y1], [x0, x1], down.weights, right.weights);
    }
  }
  return map;
}

/** Returns the index of the largest of some logits, the first one in a tie. */
function argmax(values, start, count) {
  let best = 0;
  for (let index = 1; index < count; index++) {
    if (values[start + index] > values[start + best]) best = index;
  }
  return best;
}

/** Returns the best class of every canvas pixel, -1 if another one comes too close. */
function leaders(values, classes) {
  let largest = 0;
  for (const value of values) {
    if (!Number.isFinite(value)) {
      throw new Error("the canvas has logits that are not finite numbers: the model's weights " +
        'are damaged, or its training has diverged');
    }
    largest = Math.max(largest, Math.abs(value));
  }
  const margin = fround(MARGIN * largest);
  const safe = new Int32Array(values.length / classes);
  for (let pixel = 0; pixel < safe.length; pixel++) {
    const start = pixel * classes;
    const best = argmax(values, start, classes);
    safe[pixel] = best;
    for (let index = 0; index < classes; index++) {
      if (index !== best && fround(values[start + best] - values[start + index]) <= margin) {
        safe[pixel] = -1;
        break;
      }
    }
  }
  return {safe, margin};
}

/** Sorts positions into the squares between canvas pixels: the first of each, and weights. */
function places(positions) {
  const weights = new Float32Array(positions.length);
  const starts = [];
  positions.forEach((position, index) => {
    const square = Math.floor(position);
    weights[index] = position - square;
    while (starts.length <= square) starts.push(index);
  });
  return {weights, starts: [...starts, positions.length]};
}

/** The square between four canvas pixels, and the classes that may be best in it. */
class Patch {
  constructor(values, classes, margin) {
    Object.assign(this, {values, classes, margin, count: 0});
    this.possible = new Int32Array(classes);
    // For one column of pixels: the logits at its top, and how they change down to its bottom.
    this.tops = new Float32Array(classes);
    this.changes = new Float32Array(classes);
  }

  /** Moves to four canvas pixels: upper left and right, lower left and right. */
  moveTo(corners) {
    const {values, classes, margin} = this;
    this.starts = corners.map((corner) => corner * classes);
    const first = this.starts.map((start) => argmax(values, start, classes));
    this.count = 0;
    for (let index = 0; index < classes; index++) {
      // A class that another one beats at all four corners is best nowhere between them.
      const isBeaten = first.some((leader) => this.starts.every(
        (start) => fround(values[start + leader] - values[start + index]) > margin));
      if (!isBeaten) this.possible[this.count++] = index;
    }
  }

  /** Fills in the best classes of its pixels, by bilinear interpolation in 32 bits. */
  fill(map, width, [y0, y1], [x0, x1], downs, rights) {
    const {values, possible, tops, changes, count} = this;
    const [upperLeft, upperRight, lowerLeft, lowerRight] = this.starts;
    for (let x = x0; x < x1; x++) {
      const right = rights[x];
      for (let rank = 0; rank < count; rank++) {
        const index = possible[rank];
        const upper = values[upperLeft + index];
        const lower = values[lowerLeft + index];
        const top = fround(upper + fround(fround(values[upperRight + index] - upper) * right));
        const bottom = fround(lower + fround(fround(values[lowerRight + index] - lower) * right));
        tops[rank] = top;
        changes[rank] = bottom - top;
      }
      for (let y = y0; y < y1; y++) {
        let best = 0;
        let most = -Infinity;
        for (let rank = 0; rank < count; rank++) {
          const logit = fround(tops[rank] + fround(changes[rank] * downs[y]));
          if (logit > most) {
            best = rank;
            most = logit;
          }
        }
        map[y * width + x] = possible[best];
      }
    }
  }
}
