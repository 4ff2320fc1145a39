// Segmentation of images and video by LiteRT.js within a budget; as rnnseg.runtime.Segmenter.

import {loadAndCompile, Tensor} from './litert/core.js';
import {letterbox} from './letterbox.js';
import {encodeSignature, firstIterations, mostIterations, readFile} from './metadata.js';
import {LatencyEstimator} from './pacing.js';
import {readAt} from './reading.js';

// What is assumed of a further stage of the encoder before its first run, as shares of the time
// that the stages before it took: its mean, and its deviation.
const UNKNOWN_STAGE = [1 / 2, 1 / 8];
// The share of the last frame's canvas that a frame starts from, as in Segmenter.track.
const KEEP = 0.2;

/** One file, which segments one image at a time. */
export class Segmenter {
  #latency = null;
  #frame = null; // the last frame: {height, width, canvas}

  /**
   * Opens a file.
   * @param bytes the file, Uint8Array.
   * @param name its name, for messages.
   */
  static async open(bytes, name) {
    const {info, model} = await readFile(bytes, name);
    let compiled;
    try {
      compiled = await loadAndCompile(model, {accelerator: 'wasm'});
    } catch (error) {
      throw new Error(`${name} cannot be run by LiteRT.js: ${error.message}`);
    }
    return new Segmenter(compiled, info, name);
  }

  constructor(compiled, info, name) {
    Object.assign(this, {compiled, info, firstIterations: firstIterations(info)});
    this.most = mostIterations(info);
    this.#check(name);
    this.forgetLatency();
  }

  /** Forgets what the stages took, such as in the first call, which packs weights. */
  forgetLatency() {
    this.#latency = new LatencyEstimator();
    for (let number = 1; number < this.firstIterations.length; number++) {
      this.#latency.assume(encodeSignature(number), ...UNKNOWN_STAGE);
    }
  }

  /** Frees the memory of the file. */
  close() {
    this.compiled.delete();
  }

  /** Forgets the video: the next frame is a first one. */
  reset() {
    this.#frame = null;
  }

  /**
   * Segments an image, with as many iterations as there is time for: at least one.
   * @param image {data, width, height}: RGBA without transparency, as ImageData.
   * @param budget milliseconds. What class maps of iterations before the last cost is not counted.
   * @param onresult called with the result of an iteration: {classes, iterations, milliseconds,
   *   settled, isLast}. `milliseconds` has those of scale, encode, refine and read.
   * @param isFrame true for a frame of a video, which starts from a part of the last one's canvas,
   *   and whose last iteration alone has a result.
   */
  async segment(image, budget, onresult, isFrame = false) {
    const start = performance.now();
    const box = letterbox(image, this.info);
    const call = {
      budget, box, milliseconds: {scale: performance.now() - start, encode: 0, refine: 0, read: 0},
      pixels: this.info.size[0] * this.info.size[1], imagePixels: image.height * image.width,
    };
    const seed = isFrame ? this.#seed(image) : null;
    let tensors = {};
    let features = {};
    let before = seed;
    let canvas = null;
    try {
      for (let iterations = 1; ; iterations++) {
        const stage = this.firstIterations.indexOf(iterations - 1);
        if (stage >= 0) {
          const inputs = stage ? features : {image: this.#tensor('encode', 'image', box.pixels)};
          const outputs = await this.#run(call, encodeSignature(stage), inputs);
          free(inputs);
          features = outputs;
        }
        if (this.info.recurrent) {
          if (iterations === 1) tensors = this.#initial(seed);
          const outputs = await this.#run(call, 'refine', {...tensors, prepared: features.prepared});
          free(tensors);
          tensors = outputs;
        }
        before = canvas ?? seed;
        canvas = (this.info.recurrent ? tensors : features).canvas.toTypedArray();
        const isLast = iterations >= this.most || !this.#hasTime(call, iterations);
        if (isLast || !isFrame) {
          const classes = this.#read(call, canvas);
          onresult({
            classes, iterations, isLast, milliseconds: {...call.milliseconds},
            settled: before && this.#settled(box, canvas, before),
          });
        }
        if (isLast) break;
      }
    } finally {
      free(tensors);
      free(features);
    }
    this.#frame = isFrame ? {height: image.height, width: image.width, canvas} : null;
  }

  /** Returns the milliseconds that `iterations` on an image of `pixels` will hardly exceed. */
  upperBound(iterations, pixels) {
    const [height, width] = this.info.size;
    const bound = (stage, amount) => this.#latency.upperBound(stage, amount) ?? 0;
    const first = bound('encode', height * width);
    const others = this.firstIterations.slice(1).filter((each) => each < iterations);
    return others.reduce((sum, _, stage) => sum + bound(encodeSignature(stage + 1), sum), first) +
      iterations * bound('refine', height * width) + bound('read', pixels);
  }

  /** Throws an Error unless the model has the signatures that the metadata tell. */
  #check(name) {
    const needed = [...this.firstIterations.map((_, stage) => encodeSignature(stage)),
      ...(this.info.recurrent ? ['refine'] : [])];
    const {signatures} = this.compiled;
    const missing = needed.find((each) => !Object.hasOwn(signatures, each));
    const image = signatures.encode?.getInputDetails().find((each) => each.name === 'image');
    const fits = image && String(image.shape) === String([1, ...this.info.size, 3]);
    if (missing || !fits) {
      this.close();
      throw new Error(`${name}: its metadata do not fit its model` +
        `${missing ? `, which has no signature ${missing}` : ''}; export the model again`);
    }
  }

  async #run(call, signature, inputs) {
    const start = performance.now();
    const outputs = await this.compiled.run(signature, inputs);
    const milliseconds = performance.now() - start;
    const amount = this.#amount(call, signature);
    call.milliseconds[signature === 'refine' ? 'refine' : 'encode'] += milliseconds;
    this.#latency.add(signature, amount, milliseconds);
    return outputs;
  }

  #read(call, values) {
    const start = performance.now();
    const {rows, columns} = call.box;
    const classes = readAt(this.#grid(values), this.info.classes.length, rows, columns);
    call.milliseconds.read = performance.now() - start;
    this.#latency.add('read', call.imagePixels, call.milliseconds.read);
    return classes;
  }

  /** Returns what the latency of a stage is proportional to. */
  #amount(call, stage) {
    if (stage === 'read') return call.imagePixels;
    return stage === 'encode' || stage === 'refine' ? call.pixels : call.milliseconds.encode;
  }

  /** Returns true if another iteration and reading will hardly exceed the budget. */
  #hasTime(call, iterations) {
    const next = this.firstIterations.indexOf(iterations);
    const stages = next > 0 ? [encodeSignature(next), 'refine', 'read'] : ['refine', 'read'];
    // Before the first reading: it takes less time than encoding.
    const ahead = stages.map((stage) =>
      this.#latency.upperBound(stage, this.#amount(call, stage)) ?? call.milliseconds.encode);
    const {scale, encode, refine} = call.milliseconds;
    const total = [scale, encode, refine, ...ahead].reduce((sum, each) => sum + each);
    if (total <= call.budget) return true;
    if (next > 0) this.#latency.narrow(encodeSignature(next));
    return false;
  }

  #grid(values) {
    const [height, width] = this.info.size.map((side) =>
      Math.floor((side + this.info.output_stride - 2) / this.info.output_stride) *
        (this.info.output_stride / this.info.canvas_stride) + 1);
    return {values, height, width};
  }

  /** Returns the share of canvas pixels on the image whose best class is as before. */
  #settled({rows, columns}, canvas, before) {
    const {width} = this.#grid(canvas);
    const count = this.info.classes.length;
    const best = (values, pixel) => {
      let index = 0;
      for (let other = 1; other < count; other++) {
        if (values[pixel * count + other] > values[pixel * count + index]) index = other;
      }
      return index;
    };
    const [tall, wide] = [rows, columns].map((each) => Math.ceil(each.at(-1)) + 1);
    let equal = 0;
    for (let y = 0; y < tall; y++) {
      for (let x = 0; x < wide; x++) {
        equal += best(canvas, y * width + x) === best(before, y * width + x);
      }
    }
    return equal / (tall * wide);
  }

  /** Returns the canvas that a frame starts from; null for the initial one. */
  #seed({height, width}) {
    const last = this.#frame;
    if (!this.info.recurrent || last?.height !== height || last?.width !== width) return null;
    const initial = this.info.initial_state.canvas ?? [0];
    return last.canvas.map((value, index) => {
      const start = initial[index % initial.length];
      return start + KEEP * (value - start);
    });
  }

  /** Returns the tensors that iterations start from. */
  #initial(seed) {
    const details = this.compiled.signatures.refine.getInputDetails();
    return Object.fromEntries(details.filter(({name}) => name !== 'prepared').map(
      ({name, shape}) => {
        if (name === 'canvas' && seed) return [name, new Tensor(seed, shape)];
        const initial = this.info.initial_state[name] ?? [0];
        const values = new Float32Array(shape.reduce((product, side) => product * side));
        if (initial.length > 1) {
          for (let index = 0; index < values.length; index++) {
            values[index] = initial[index % initial.length];
          }
        } else {
          values.fill(initial[0]);
        }
        return [name, new Tensor(values, shape)];
      }));
  }

  #tensor(signature, input, values) {
    const details = this.compiled.signatures[signature].getInputDetails();
    return new Tensor(values, details.find(({name}) => name === input).shape);
  }
}

/** Frees tensors, which LiteRT.js does not do by itself; twice is no error. */
function free(tensors) {
  for (const tensor of Object.values(tensors)) tensor.delete();
}
