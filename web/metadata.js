// The metadata of an exported file: rnnseg.json in a zip archive behind the model's flat buffer.

const END_OF_ARCHIVE = 0x06054b50;
const DIRECTORY_ENTRY = 0x02014b50;
const NAME = 'rnnseg.json';
const WAY_OUT = 'export the model again';
const MOST_COMMENT = 65535; // bytes that may follow the record at the end of an archive

// The keys that the page reads, with the types that they have.
const KEYS = {
  kind: 'string', recurrent: 'boolean', quantization: 'string', classes: 'array', colors: 'array',
  output_stride: 'number', canvas_stride: 'number', early_iterations: 'array',
  encoder_outputs: 'array', padding: 'array', iterations: 'number', state: 'object',
  initial_state: 'object',
};

/** Returns true if a file begins like a LiteRT file. */
export function isModel(bytes) {
  return String.fromCharCode(...bytes.subarray(4, 8)) === 'TFL3';
}

/**
 * Reads an `anytime` file of `rnnseg export`.
 * @param bytes the file, Uint8Array.
 * @param name its name, for messages.
 * @return {info, model}: the metadata, as `rnnseg.runtime.ModelInfo`, and the flat buffer.
 * @throws an Error for a file that the page cannot run, or one that was damaged.
 */
export async function readFile(bytes, name) {
  const found = member(bytes);
  if (!found) {
    throw new Error(`${name} has no metadata: expected a .tflite file that rnnseg export wrote`);
  }
  let info;
  try {
    info = JSON.parse(new TextDecoder('utf-8', {fatal: true}).decode(found.data));
  } catch (error) {
    throw new Error(`${name}, ${NAME}: ${error.message}; ${WAY_OUT}`);
  }
  check(info, name);
  const model = bytes.subarray(0, found.start);
  // Browsers compute checksums only for pages from https or the same machine.
  if (info.sha256 && globalThis.crypto?.subtle) {
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', model));
    const text = Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
    if (text !== info.sha256) {
      throw new Error(`${name} is damaged: its contents differ from the checksum (SHA-256) in ` +
        `its metadata; copy it again, or ${WAY_OUT}`);
    }
  }
  return {info, model};
}

/** Finds the metadata; returns {data, start}, where the archive starts, or null. */
function member(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const least = Math.max(0, bytes.length - 22 - MOST_COMMENT);
  let end = bytes.length - 22;
  while (end >= least && view.getUint32(end, true) !== END_OF_ARCHIVE) end--;
  if (end < least) return null;
  try {
    let [entry, start, data] = [view.getUint32(end + 16, true), bytes.length, null];
    for (let count = view.getUint16(end + 10, true); count > 0; count--) {
      if (view.getUint32(entry, true) !== DIRECTORY_ENTRY) return null;
      const [length, extra, comment] = [28, 30, 32].map((at) => view.getUint16(entry + at, true));
      const local = view.getUint32(entry + 42, true);
      start = Math.min(start, local);
      const name = new TextDecoder().decode(bytes.subarray(entry + 46, entry + 46 + length));
      const isStored = view.getUint16(entry + 10, true) === 0; // as export writes
      if (name === NAME && isStored) {
        const from = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
        data = bytes.subarray(from, from + view.getUint32(entry + 24, true));
      }
      entry += 46 + length + extra + comment;
    }
    return data && {data, start};
  } catch (error) {
    if (error instanceof RangeError) return null; // an offset that leads out of the file
    throw error;
  }
}

function check(info, name) {
  const type = (value) => Array.isArray(value) ? 'array' : value === null ? 'null' : typeof value;
  for (const [key, expected] of Object.entries(KEYS)) {
    if (type(info?.[key]) !== expected) {
      throw new Error(`${name}, ${NAME}: ${key} is ${type(info?.[key])}, expected ${expected}; ` +
        WAY_OUT);
    }
  }
  if (info.kind !== 'anytime') {
    throw new Error(`${name} runs all iterations in one call: expected anytime.tflite, which ` +
      'rnnseg export writes beside it');
  }
  if (!info.size) {
    throw new Error(`${name} takes images of any size, which LiteRT.js does not: export one ` +
      'size, such as --size 360x480');
  }
  if (info.colors.length !== info.classes.length ||
      info.encoder_outputs.length !== info.early_iterations.length + 1) {
    throw new Error(`${name}, ${NAME}: its lists do not belong together; ${WAY_OUT}`);
  }
}

/** Returns the name of the signature of a stage of the encoder. */
export const encodeSignature = (number) => (number ? `encode_${number}` : 'encode');

/** Returns the number of iterations before each stage of the encoder. */
export function firstIterations(info) {
  let sum = 0;
  return [0, ...info.early_iterations.map((iterations) => (sum += iterations))];
}

/** Returns the largest number of iterations that a budget is spent on. */
export function mostIterations(info) {
  if (!info.recurrent) return 1;
  const scored = Object.entries(info.miou ?? {}).map(([number, score]) => [+number, score]);
  if (!scored.length) return info.iterations;
  const best = scored.reduce((one, other) => (other[1] > one[1] ? other : one))[0];
  const last = Math.max(...scored.map(([number]) => number));
  return best === last ? Math.max(best, info.iterations) : best;
}
