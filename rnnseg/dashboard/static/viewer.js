// Some images of the data with their class maps after a number of iterations.

import {choice, html} from './dom.js';
import {swatch} from './heatmap.js';
import {cost, percent} from './words.js';

const source = (key) => new URL(`blob?key=${encodeURIComponent(key)}`, import.meta.url).href;

/**
 * Makes the panel.
 * @param oniterations called with the number of iterations when the slider moves.
 * @return the element, and a function that draws a run on it.
 */
export function makeViewer(oniterations) {
  let [current, chosen] = [null, 0];
  const prediction = layers('class map');
  const truth = layers('label');
  const names = html('span');
  const classes = html('div', {class: 'classes'});
  const text = html('output', {class: 'wide'});
  const slider = html('input', {
    type: 'range', min: 0, step: 1, 'aria-label': 'number of iterations', id: 'image-iterations',
    oninput: () => oniterations(current.run.points[+slider.value].iterations),
  });
  const opacity = html('input', {
    type: 'range', min: 0, max: 1, step: 0.05, value: 0.6, 'aria-label': 'opacity of the classes',
    oninput: () => node.style.setProperty('--opacity', opacity.value),
  });
  const content = html('div', {},
    html('div', {class: 'controls'}, html('label', {}, 'Image ', names),
      html('label', {}, 'Iterations ', slider), text,
      html('label', {}, 'Opacity ', opacity)),
    html('div', {class: 'images'}, prediction.node, truth.node), classes);
  const none = html('p', {class: 'note'}, 'This run has no images.');
  const node = html('section', {'aria-label': 'Images'}, html('h2', {}, 'Images'), none, content);

  const show = () => {
    const {run, iterations} = current;
    const found = run.points.findIndex((point) => point.iterations === iterations);
    const index = found < 0 ? run.points.length - 1 : found;
    const [point, image] = [run.points[index], run.images[chosen]];
    slider.value = index;
    const words = `n = ${point.iterations}: ${cost(point.gmacs, 'gmacs')}, ` +
      `${cost(point.milliseconds, 'milliseconds')}, mIoU ${percent(point.miou)}`;
    slider.setAttribute('aria-valuetext', words);
    text.textContent = words;
    prediction.show(image, image.maps[index], `after n = ${point.iterations}`);
    truth.show(image, image.label, 'label');
  };
  const draw = (state) => {
    const {run} = state;
    const another = current?.run !== run;
    current = state;
    const empty = !run.images.length;
    node.classList.toggle('empty', empty);
    none.hidden = !empty;
    content.hidden = empty;
    if (empty) return;
    if (another) {
      chosen = Math.min(chosen, run.images.length - 1);
      slider.max = run.points.length - 1;
      slider.disabled = run.points.length === 1;
      names.replaceChildren(choice(run.images.map((each) => each.name), chosen, {},
        (index) => { chosen = index; show(); }));
      classes.replaceChildren(...run.class_names.map((name, index) =>
        html('span', {}, swatch(run.class_colors[index]), name)));
      // Loaded in advance, so that the slider does not flicker.
      for (const image of run.images) image.maps.forEach((key) => { new Image().src = source(key); });
    }
    show();
  };
  return {node, draw};
}

/** Makes an image with a class map over it and a caption below. */
function layers(what) {
  const below = html('img', {alt: ''});
  const above = html('img', {class: 'map'});
  const caption = html('figcaption');
  const node = html('figure', {}, html('div', {class: 'layers'}, below, above), caption);
  const show = (image, map, text) => {
    for (const [layer, key] of [[below, image.image], [above, map]]) {
      if (layer.src !== source(key)) layer.src = source(key);
    }
    above.alt = `${what} of ${image.name}, ${text}`;
    caption.textContent = text;
  };
  return {node, show};
}
