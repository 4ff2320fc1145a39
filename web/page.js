// The page: takes files, camera and budget, has the worker segment, and draws what comes.

import {Camera, readImage} from './images.js';
import {isModel} from './metadata.js';
import {keep} from './offline.js';

const STAGES = ['scale', 'encode', 'refine', 'read'];
// The budget's range, as factors of the milliseconds that one iteration and all will hardly exceed.
const [LEAST, MOST] = [0.2, 1.25];
const THUMBNAIL = 160; // pixels, its longest side

const at = Object.fromEntries(Array.from(document.querySelectorAll('[id]'), (each) => [each.id, each]));
const camera = new Camera();

/** What is shown, and what the worker is doing. */
const state = {
  model: null, // {name, info, most}
  image: null, // ImageData
  busy: null, // the request that the worker is at: {id, isFrame, image}
  waiting: false, // true if another one is to follow
  opening: false, // true while the worker opens a file
};
let requests = 0;
const worker = new Worker(new URL('worker.js', import.meta.url));

// --- the worker ---

const answers = {
  opened({name, info, most, bytes, bounds, resources}) {
    state.model = {name, info, most};
    state.opening = false;
    const [height, width] = info.size;
    at.model.textContent = `${name}: ${info.classes.length} classes, ${width}×${height} pixels, ` +
      `${info.quantization}, ${(bytes / 1e6).toFixed(1)} MB, ` +
      (info.recurrent ? `up to ${count(most, 'iteration')}` : 'no iterations');
    const [one, all] = bounds;
    at.budget.min = Math.max(1, Math.floor(LEAST * one));
    at.budget.max = Math.ceil(MOST * all);
    at.budget.value = at.budget.max;
    at.budget.disabled = false;
    showBudget();
    at.strip.replaceChildren();
    tell(state.image ? '' : 'Ready: open or drop an image, or start the camera.');
    request();
    keep(resources);
  },

  result(result) {
    if (result.id !== state.busy?.id) return;
    const {image, isFrame} = state.busy;
    draw(image, result, isFrame);
    if (!result.isLast) return;
    state.busy = null;
    if (!isFrame) summarize(result);
    if (isFrame && camera.isOn) requestAnimationFrame(takeFrame);
    else if (state.waiting) request();
  },

  /** Widens the range where the machine has become slower, and all iterations would not fit. */
  paced({bounds: [, all]}) {
    at.budget.max = Math.max(at.budget.max, Math.ceil(MOST * all));
  },

  failed({id, message}) {
    if (id === undefined) state.opening = false;
    else state.busy = null;
    stopCamera();
    complain(message);
  },

  broken({message}) {
    complain(`LiteRT.js cannot be loaded: ${message}`);
  },
};
worker.onmessage = ({data}) => answers[data.kind](data);
worker.onerror = (event) => complain(`The worker cannot be loaded: ${event.message ?? ''}`);

function open(bytes, name) {
  state.opening = true;
  complain('');
  tell(`Opening ${name} …`);
  worker.postMessage({kind: 'open', bytes, name}, [bytes.buffer]);
}

/** Has the present image segmented, now or after what is being done. */
function request(isFrame = false) {
  if (!state.model || !state.image) return;
  state.waiting = Boolean(state.busy);
  if (state.busy) return;
  state.busy = {id: ++requests, isFrame, image: state.image};
  if (!isFrame) at.strip.replaceChildren();
  const {data, width, height} = state.image;
  worker.postMessage({kind: 'segment', id: requests, image: {data, width, height},
    budget: at.budget.valueAsNumber, isFrame});
}

// --- drawing ---

function draw(image, {classes, iterations, milliseconds, settled, isLast}, isFrame) {
  const {info} = state.model;
  const {width, height} = image;
  for (const canvas of [at.photo, at.map]) {
    if (canvas.width !== width || canvas.height !== height) {
      [canvas.width, canvas.height] = [width, height];
    }
  }
  at.photo.getContext('2d').putImageData(image, 0, 0);
  at.map.getContext('2d').putImageData(paint(classes, info.colors, width, height), 0, 0);
  at.figure.hidden = at.opacities.hidden = at.results.hidden = false;
  const spent = STAGES.reduce((sum, stage) => sum + milliseconds[stage], 0);
  at.caption.textContent = describe(iterations, spent, info);
  showStages(iterations, milliseconds, spent, info);
  if (isLast) showLegend(classes, info);
  at.iterations.hidden = isFrame || !info.recurrent;
  if (!isFrame && info.recurrent) addThumbnail(iterations, spent, settled);
}

/** Returns a class map in the colours of its classes, ImageData. */
function paint(classes, colors, width, height) {
  const pixels = new ImageData(width, height);
  const isLittle = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;
  const words = colors.map(([red, green, blue]) => isLittle ?
    ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0 :
    ((red << 24) | (green << 16) | (blue << 8) | 255) >>> 0);
  const all = new Uint32Array(pixels.data.buffer);
  for (let index = 0; index < all.length; index++) all[index] = words[classes[index]];
  return pixels;
}

function showStages(iterations, milliseconds, spent, info) {
  const encoded = 1 + info.early_iterations.filter((_, stage) =>
    info.early_iterations.slice(0, stage + 1).reduce((a, b) => a + b) < iterations).length;
  const calls = {scale: 1, encode: encoded, refine: info.recurrent ? iterations : 0, read: 1};
  at.stages.replaceChildren(...STAGES.filter((stage) => calls[stage]).map((stage) => row(
    stage, calls[stage], milliseconds[stage].toFixed(1))));
  at.total.textContent = spent.toFixed(1);
}

function row(name, ...cells) {
  const head = element('th', name);
  head.scope = 'row';
  return element('tr', head, ...cells.map((cell) => element('td', cell)));
}

/** Lists the classes of a class map, the most frequent first. */
function showLegend(classes, info) {
  const pixels = new Map();
  for (const each of classes) pixels.set(each, (pixels.get(each) ?? 0) + 1);
  const found = [...pixels].sort((one, other) => other[1] - one[1]);
  at.legend.replaceChildren(...found.map(([index, number]) => {
    const swatch = element('span');
    swatch.className = 'swatch';
    swatch.style.backgroundColor = `rgb(${info.colors[index].map(Number).join(' ')})`;
    return element('li', swatch, element('span', info.classes[index]),
      element('span', percent(number / classes.length)));
  }));
}

function addThumbnail(iterations, spent, settled) {
  const canvas = document.createElement('canvas');
  const {width, height} = at.photo;
  const scale = Math.min(1, THUMBNAIL / Math.max(width, height));
  [canvas.width, canvas.height] = [width, height].map((side) => Math.max(1, Math.round(scale * side)));
  canvas.setAttribute('role', 'img');
  canvas.setAttribute('aria-label', `class map after ${count(iterations, 'iteration')}`);
  const context = canvas.getContext('2d');
  context.drawImage(at.photo, 0, 0, canvas.width, canvas.height);
  context.globalAlpha = at.opacity.valueAsNumber;
  context.drawImage(at.map, 0, 0, canvas.width, canvas.height);
  const caption = `${iterations}: ${spent.toFixed(0)} ms` +
    (settled === null ? '' : `, ${percent(settled)} as before`);
  at.strip.append(element('li', canvas, element('span', caption)));
}

function describe(iterations, spent, info) {
  const score = info.miou?.[iterations];
  const within = `${spent.toFixed(0)} ms of ${at.budget.value} ms`;
  return (info.recurrent ? `${count(iterations, 'iteration')} in ${within}` : within) +
    (score === undefined ? '' : `; mIoU ${percent(score)} on ${info.scored_on}`);
}

/** Tells the result in words, once, to screen readers too. */
function summarize({iterations, milliseconds}) {
  const spent = STAGES.reduce((sum, stage) => sum + milliseconds[stage], 0);
  const isLate = spent > at.budget.valueAsNumber;
  const shares = Array.from(at.legend.children, (each) =>
    `${each.children[1].textContent} ${each.children[2].textContent}`).join(', ');
  at.map.setAttribute('aria-label', `the class map: ${shares}`);
  tell(`${describe(iterations, spent, state.model.info)}` +
    (isLate && iterations === 1 ? ': one iteration takes longer than the budget.' : '.'));
}

function showBudget() {
  at.amount.textContent = `${at.budget.value} ms`;
  at.budget.setAttribute('aria-valuetext', `${at.budget.value} milliseconds`);
}

function element(tag, ...children) {
  const made = document.createElement(tag);
  made.append(...children); // texts become text nodes: names of classes are never parsed as HTML
  return made;
}

const count = (number, word) => `${number} ${word}${number === 1 ? '' : 's'}`;
const percent = (share) => `${(100 * share).toFixed(1)} %`;

function tell(text) {
  at.status.textContent = text;
}

function complain(text) {
  at.alert.textContent = text;
  at.alert.hidden = !text;
  if (text) tell('');
}

// --- files, camera, budget ---

/** Takes an image or a model, whatever a file is. */
async function take(file) {
  complain('');
  try {
    const start = new Uint8Array(await file.slice(0, 8).arrayBuffer());
    if (isModel(start) || file.name?.endsWith('.tflite')) {
      open(new Uint8Array(await file.arrayBuffer()), file.name);
      return;
    }
    stopCamera();
    state.image = await readImage(file);
  } catch (error) {
    complain(error.message);
    return;
  }
  if (!state.model && !state.opening) tell('Now open or drop a model, a .tflite file.');
  request();
}

async function startCamera() {
  complain('');
  if (!state.model) {
    complain('First open or drop a model, a .tflite file.');
    return;
  }
  try {
    await camera.start(stopCamera);
  } catch (error) {
    complain(error.message);
    return;
  }
  at.camera.setAttribute('aria-pressed', true);
  tell('The camera is on.');
  worker.postMessage({kind: 'reset'});
  takeFrame();
}

function stopCamera() {
  if (!camera.isOn) return;
  camera.stop();
  at.camera.setAttribute('aria-pressed', false);
  tell('The camera is off.');
}

/** Has the present frame of the camera segmented, when the worker is free. */
function takeFrame() {
  if (!camera.isOn) return;
  if (state.busy || state.opening) {
    requestAnimationFrame(takeFrame);
    return;
  }
  state.image = camera.frame();
  request(true);
}

at.file.onchange = () => {
  if (at.file.files.length) take(at.file.files[0]);
  at.file.value = ''; // so that the same file can be taken again
};
at.camera.onclick = () => (camera.isOn ? stopCamera() : startCamera());
at.budget.oninput = () => {
  showBudget();
  if (!camera.isOn) request();
};
at.opacity.oninput = () => document.documentElement.style.setProperty('--opacity', at.opacity.value);
addEventListener('dragover', (event) => {
  event.preventDefault();
  document.body.classList.add('dropping');
});
addEventListener('dragleave', (event) => {
  if (!event.relatedTarget) document.body.classList.remove('dropping');
});
addEventListener('drop', (event) => {
  event.preventDefault();
  document.body.classList.remove('dropping');
  if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
});
addEventListener('paste', (event) => {
  if (event.clipboardData.files.length) take(event.clipboardData.files[0]);
});

// --- the model that comes with the page ---

async function openOwn() {
  try {
    const page = await (await fetch('page.json')).json();
    const response = await fetch(page.model);
    if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
    open(new Uint8Array(await response.arrayBuffer()), page.name);
  } catch (error) {
    complain(`The model of the page cannot be loaded (${error.message}): open or drop another one.`);
  }
}

openOwn();
