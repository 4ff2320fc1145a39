// The worker's side of the page: it answers messages in their order, one at a time.

import {loadLiteRt} from './litert/core.js';
import {Segmenter} from './segmenter.js';

// Predictions before the first image, after one that packs weights and is slow.
const WARMING_UP = 3;

const home = new URL('litert/', import.meta.url).href;
// In a worker, LiteRT.js looks for its wasm beside the worker's own script unless it is told.
self.Module = {locateFile: (name) => home + name};

let segmenter = null;
let last = loadLiteRt(home);
last.catch((error) => postMessage({kind: 'broken', message: error.message}));

const actions = {
  /** Opens a file in the place of the one before, which stays if the new one cannot be run. */
  async open({bytes, name}) {
    const opened = await Segmenter.open(bytes, name);
    const image = noise(...opened.info.size);
    try {
      for (let time = 0; time <= WARMING_UP; time++) {
        if (time === 1) opened.forgetLatency();
        await opened.segment(image, Infinity, () => {}, true); // reads the last iteration alone
      }
    } catch (error) {
      opened.close();
      throw new Error(`${name} cannot be run by LiteRT.js: ${error.message}`);
    }
    opened.reset();
    segmenter?.close();
    segmenter = opened;
    postMessage({kind: 'opened', name, info: opened.info, bytes: bytes.length, most: opened.most,
      bounds: bounds(image),
      resources: performance.getEntriesByType('resource').map((entry) => entry.name)});
  },

  async segment({id, image, budget, isFrame}) {
    await segmenter.segment(image, budget, (result) =>
      postMessage({kind: 'result', id, ...result}, [result.classes.buffer]), isFrame);
    postMessage({kind: 'paced', bounds: bounds(image)});
  },

  async reset() {
    segmenter?.reset();
  },
};

/** Returns the milliseconds that one iteration and all will hardly exceed. */
function bounds({height, width}) {
  return [1, segmenter.most].map((number) => segmenter.upperBound(number, height * width));
}

/** Makes an image that has to be scaled down, and has borders between classes. */
function noise(height, width) {
  const image = {height: height + 1, width: width + 1};
  image.data = new Uint8ClampedArray(4 * image.height * image.width);
  let value = 1;
  for (let index = 0; index < image.data.length; index++) {
    value = (1103515245 * (value % 2 ** 21) + 12345) % 2 ** 31;
    image.data[index] = value >> 16;
  }
  return image;
}

/** Does what a message asks for, after what those before it asked for. */
export function handle(message) {
  last = last.then(() => actions[message.kind](message)).catch((error) =>
    postMessage({kind: 'failed', id: message.id, message: error.message}));
}
