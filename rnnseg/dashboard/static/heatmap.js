// The table of the IoU of every class after every number of iterations, with coloured fields.

import {html, radios} from './dom.js';

// Samples of Cividis at equal distances, from dark blue for 0 to yellow for 1, legible with any
// colour vision.
const CIVIDIS = [
  [0, 34, 78], [53, 69, 108], [102, 105, 112], [148, 142, 119], [200, 184, 102], [254, 232, 56],
];
const GAIN = '0 114 178'; // the blue and the vermilion of Okabe and Ito
const LOSS = '213 94 0';
const STRONGEST = 0.7; // opacity of gains and losses, so that the numbers stay legible

/** Makes the panel; returns its element and a function that draws a run on it. */
export function makeHeatMap() {
  const table = html('div', {class: 'scroll'});
  let shown = 'iou';
  let redraw = () => {};
  const node = html('section', {'aria-label': 'IoU of every class'},
    html('h2', {}, 'Classes'),
    radios('Show', {iou: 'IoU (%)', change: 'change since the first column (points)'}, shown,
      (key) => { shown = key; redraw(); }),
    table,
    html('p', {class: 'note'}, '–: the class neither occurs nor is predicted'));
  const draw = ({run, iterations}) => {
    redraw = () => {
      table.replaceChildren(grid(run, iterations, shown === 'change'));
      reveal(table);
    };
    redraw();
  };
  new ResizeObserver(() => reveal(table)).observe(table);
  return {node, draw};
}

/** Scrolls sideways, as little as possible, so that the selected column is visible. */
function reveal(table) {
  const column = table.querySelector('.selected');
  if (!column) return;
  const names = table.querySelector('thead th').offsetWidth;
  const [start, end] = [column.offsetLeft, column.offsetLeft + column.offsetWidth];
  table.scrollLeft = Math.min(start - names, Math.max(table.scrollLeft, end - table.clientWidth));
}

function grid(run, iterations, asChange) {
  const first = run.points[0];
  const value = (point, index) => {
    const [now, then] = index < 0
      ? [point.miou, first.miou] : [point.class_iou[index], first.class_iou[index]];
    if (now == null || (asChange && then == null)) return null;
    return 100 * (asChange ? now - then : now);
  };
  const rows = [...run.class_names.keys(), -1];
  const all = rows.flatMap((index) => run.points.map((point) => value(point, index)));
  const largest = Math.max(...all.map((each) => Math.abs(each ?? 0))) || 1;
  const head = run.points.map((point) => html('th', {
    scope: 'col', class: point.iterations === iterations ? 'selected' : null,
  }, `${point.iterations}`));
  const body = rows.map((index) => html('tr', {class: index < 0 ? 'mean' : null},
    html('th', {scope: 'row', title: run.class_names[index]}, ...label(run, index)),
    ...run.points.map((point) => cell(value(point, index), asChange, largest))));
  const what = asChange ? 'change of IoU in points' : 'IoU in percent';
  return html('table', {class: 'heat', 'aria-label': `${run.name}: ${what} by number of iterations`},
    html('thead', {}, html('tr', {}, html('th', {scope: 'col'}, 'class \\ iterations'), ...head)),
    html('tbody', {}, ...body));
}

function label(run, index) {
  return index < 0 ? ['mean'] : [swatch(run.class_colors[index]), run.class_names[index]];
}

/** Makes a small square in the colour of a class. */
export function swatch(color) {
  return html('span', {class: 'swatch', style: `background: rgb(${color.join(' ')})`});
}

function cell(value, asChange, largest) {
  if (value == null) return html('td', {}, '–');
  const look = asChange ? changeLook(value, largest) : valueLook(value);
  const text = `${asChange && value > 0 ? '+' : ''}${value.toFixed(1)}`;
  return html('td', {style: look}, text);
}

function changeLook(value, largest) {
  const strength = STRONGEST * Math.abs(value) / largest;
  return `background: rgb(${value < 0 ? LOSS : GAIN} / ${strength.toFixed(3)})`;
}

function valueLook(value) {
  const place = Math.min(0.9999, Math.max(0, value / 100)) * (CIVIDIS.length - 1);
  const [low, high] = [CIVIDIS[Math.floor(place)], CIVIDIS[Math.floor(place) + 1]];
  const color = low.map((start, channel) =>
    Math.round(start + (place % 1) * (high[channel] - start)));
  const bright = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] > 115;
  return `background: rgb(${color.join(' ')}); color: ${bright ? '#000' : '#fff'}`;
}
