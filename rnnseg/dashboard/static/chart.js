// The chart of mIoU against a cost: a line per run, a dot per number of iterations, the frontier,
// the budget and the best point within it.

import {html, svg} from './dom.js';
import {COSTS, lines, percent} from './words.js';

// The colours of Okabe and Ito, distinguishable with any colour vision. The first is their blue or,
// on dark ground, their yellow; the last is the colour of the text.
const COLORS = [
  'var(--first)', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', 'currentColor',
];
// The styles that distinguish runs of the same colour.
const LOOKS = [
  {dash: null, hollow: false, square: false},
  {dash: '6 4', hollow: true, square: false},
  {dash: '14 4', hollow: false, square: true},
  {dash: '8 3 2 3', hollow: true, square: true},
];
const MARGIN = {top: 16, right: 24, bottom: 52, left: 64};
const HEIGHT = 420;
const [LEAST_TICKS, WANTED_TICKS] = [4, 5]; // per axis; more if they stay TICK_DISTANCE apart
const TICK_DISTANCE = 100; // pixels
const TIP_DISTANCE = 14; // pixels from its dot, whose hit area has a radius of 11

/** Returns the style of a run: a colour, and after seven runs other lines and dots. */
export function style(runs, run) {
  const index = runs.indexOf(run);
  const look = LOOKS[Math.floor(index / COLORS.length) % LOOKS.length];
  return {color: COLORS[index % COLORS.length], ...look};
}

/** Makes a dot of a run, or a diamond if it has no iterations, slim in place of a square. */
export function mark(run, {color, hollow, square}, x, y) {
  const shape = {fill: hollow ? 'var(--paper)' : color, stroke: color, 'stroke-width': 1.5};
  if (run.points.length === 1) {
    const half = square ? 3.5 : 7;
    return svg('path', {...shape, d: `M${x} ${y - 7}l${half} 7-${half} 7-${half}-7z`});
  }
  return square
    ? svg('rect', {...shape, x: x - 4, y: y - 4, width: 8, height: 8})
    : svg('circle', {...shape, cx: x, cy: y, r: 4.5});
}

/**
 * Makes the chart.
 * @param onselect called with a run and a number of iterations when a dot is clicked.
 * @return the element, and a function that draws a state on it.
 */
export function makeChart(onselect) {
  const tip = html('div', {class: 'tip', role: 'tooltip', hidden: true});
  const node = html('div', {class: 'chart'}, tip);
  let current = null;
  const draw = (state) => {
    current = state;
    const focused = document.activeElement?.dataset?.key;
    tip.hidden = true;
    node.querySelector('svg')?.remove();
    node.prepend(image(state, node.clientWidth || 800, {tip, onselect}));
    if (focused) node.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  };
  new ResizeObserver(() => current && draw(current)).observe(node);
  return {node, draw};
}

function image(state, width, handlers) {
  const {comparison, kind, frontier, budget, best} = state;
  const runs = comparison.runs.filter((run) => !run.hidden);
  const points = runs.flatMap((run) => run.points);
  const root = svg('svg', {
    width, height: HEIGHT, role: 'group',
    'aria-label': `mIoU in percent against ${COSTS[kind].axis}; arrow keys go from point to point`,
  });
  if (!points.length) {
    root.append(svg('text', {x: width / 2, y: HEIGHT / 2, 'text-anchor': 'middle'},
      'All runs are hidden: select some in the legend.'));
    return root;
  }
  const costs = points.map((point) => point[kind]);
  const x = scale(costs, MARGIN.left, width - MARGIN.right, 0.04);
  const y = scale(points.map((point) => 100 * point.miou), HEIGHT - MARGIN.bottom, MARGIN.top, 0.12);
  root.append(axes(x, y, width, kind));
  if (frontier) root.append(staircase(frontier, kind, x, y), ...limit(x, y, budget));
  for (const run of runs) {
    if (run.points.length < 2) continue;
    const {color, dash} = style(comparison.runs, run);
    root.append(svg('polyline', {
      points: run.points.map((point) => `${x(point[kind])},${y(100 * point.miou)}`).join(' '),
      fill: 'none', stroke: color, 'stroke-width': 2, 'stroke-dasharray': dash,
    }));
  }
  for (const run of runs) root.append(...dots(run, state, x, y, handlers));
  if (best) root.append(ring(best, kind, x, y));
  root.addEventListener('keydown', (event) => moveFocus(event, root));
  const stops = root.querySelectorAll('.dot');
  (root.querySelector('.dot.selected') ?? stops[0]).setAttribute('tabindex', 0);
  return root;
}

function dots(run, {comparison, kind, selected}, x, y, {tip, onselect}) {
  const last = run.points.length - 1;
  const places = run.points.map((point) => [x(point[kind]), y(100 * point.miou)]);
  return run.points.map((point, index) => {
    const [left, top] = places[index];
    const text = lines(run, point);
    const chosen = selected?.run === run.name && selected.iterations === point.iterations;
    const show = () => {
      tip.replaceChildren(...text.map((line) => html('div', {}, line)));
      tip.hidden = false;
      place(tip, places[index], places);
    };
    const hide = () => { tip.hidden = true; };
    const select = () => onselect(run.name, point.iterations);
    const dot = svg('g', {
      class: `dot${chosen ? ' selected' : ''}`, role: 'button', tabindex: -1,
      'aria-label': text.join(', '), 'aria-pressed': String(chosen),
      'data-key': `${run.name}/${point.iterations}`, 'data-run': run.name,
      onmouseenter: show, onmouseleave: hide, onfocus: show, onblur: hide, onclick: select,
      onkeydown: (event) => {
        if (event.key !== 'Enter' && event.key !== ' ') return;
        event.preventDefault();
        select();
      },
    }, svg('circle', {cx: left, cy: top, r: 11, fill: 'transparent'}),
    mark(run, style(comparison.runs, run), left, top));
    // The first and the last number: the others can be counted, and the two do not overlap.
    if (last && (index === 0 || index === last)) {
      dot.append(svg('text', {x: left, y: top + 20, 'text-anchor': 'middle', class: 'number'},
        `${point.iterations}`));
    }
    return dot;
  });
}

/** Puts the tip beside a dot, on the side where it covers the fewest dots of the run. */
function place(tip, [x, y], dots) {
  const [width, height] = [tip.offsetWidth, tip.offsetHeight];
  const [right, bottom] = [tip.parentNode.clientWidth - width - 4, HEIGHT - height];
  const highest = Math.min(0, -tip.parentNode.getBoundingClientRect().top); // in the window
  const [before, behind] = [x - width - TIP_DISTANCE, x + TIP_DISTANCE];
  const [above, below] = [y - height - TIP_DISTANCE, y + TIP_DISTANCE];
  // Curves mostly rise, so that there is room above on the left and below on the right.
  const places = [[before, above], [behind, below], [behind, above], [before, below]]
    .map(([left, top]) =>
      [Math.max(0, Math.min(left, right)), Math.max(highest, Math.min(top, bottom))]);
  const covered = ([left, top]) => dots.filter(([dotX, dotY]) =>
    dotX > left - 5 && dotX < left + width + 5 && dotY > top - 5 && dotY < top + height + 5).length;
  const [left, top] = places.reduce((one, other) => (covered(other) < covered(one) ? other : one));
  tip.style.left = `${left}px`;
  tip.style.top = `${top}px`;
}

/** Moves the focus by arrow keys: left and right along a run, up and down to the next run. */
function moveFocus(event, root) {
  const steps = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1};
  const from = event.target.closest('.dot');
  if (!from || !(event.key in steps)) return;
  event.preventDefault();
  const all = [...root.querySelectorAll('.dot')];
  const along = event.key === 'ArrowLeft' || event.key === 'ArrowRight';
  const stops = along
    ? all.filter((dot) => dot.dataset.run === from.dataset.run)
    : all.filter((dot, index) =>
      dot === from || (dot.dataset.run !== from.dataset.run &&
        all[index - 1]?.dataset.run !== dot.dataset.run));
  const to = stops[stops.indexOf(from) + steps[event.key]];
  if (!to) return;
  from.setAttribute('tabindex', -1);
  to.setAttribute('tabindex', 0);
  to.focus();
}

/** Draws the best mIoU within every budget, which rises at the points of the frontier. */
function staircase(frontier, kind, x, y) {
  let path = '';
  for (const {point} of frontier) {
    const [left, top] = [x(point[kind]), y(100 * point.miou)];
    path += path ? `H${left}V${top}` : `M${left} ${y.range[0]}V${top}`;
  }
  return svg('path', {class: 'frontier', d: `${path}H${x.range[1]}`});
}

/** Draws the budget and the area beyond it. */
function limit(x, y, budget) {
  const left = Math.min(Math.max(x(budget), x.range[0]), x.range[1]);
  const [bottom, top] = y.range;
  return [
    svg('rect', {class: 'beyond', x: left, y: top, width: x.range[1] - left, height: bottom - top}),
    svg('line', {class: 'budget', x1: left, x2: left, y1: top, y2: bottom}),
  ];
}

/** Marks the best point within the budget. */
function ring({run, point}, kind, x, y) {
  return svg('circle', {
    class: 'best', cx: x(point[kind]), cy: y(100 * point.miou), r: 10,
    'data-key': `best:${run.name}/${point.iterations}`,
  });
}

function axes(x, y, width, kind) {
  const [left, right] = x.range;
  const [bottom, top] = y.range;
  const group = svg('g', {class: 'axes', 'aria-hidden': 'true'});
  for (const value of x.ticks) {
    group.append(
      svg('line', {class: 'grid', x1: x(+value), x2: x(+value), y1: bottom, y2: top}),
      svg('text', {class: 'x tick', x: x(+value), y: bottom + 20, 'text-anchor': 'middle'}, value));
  }
  for (const value of y.ticks) {
    group.append(
      svg('line', {class: 'grid', x1: left, x2: right, y1: y(+value), y2: y(+value)}),
      svg('text', {class: 'y tick', x: left - 8, y: y(+value) + 4, 'text-anchor': 'end'}, value));
  }
  group.append(
    svg('text', {class: 'title', x: (left + right) / 2, y: bottom + 42, 'text-anchor': 'middle'},
      COSTS[kind].axis),
    svg('text', {
      class: 'title', 'text-anchor': 'middle',
      transform: `translate(16 ${(bottom + top) / 2}) rotate(-90)`,
    }, 'mIoU (%)'));
  return group;
}

/** Returns a linear scale from values, with a margin, to pixels, and its round ticks as texts. */
function scale(values, from, to, margin) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const span = high - low || Math.abs(high) || 1;
  const [start, end] = [low - margin * span, high + margin * span];
  const wanted = Math.max(WANTED_TICKS, Math.abs(to - from) / TICK_DISTANCE);
  const ticks = roundTicks(start, end, wanted);
  const result = (value) => from + ((value - start) / (end - start)) * (to - from);
  return Object.assign(result, {ticks, range: [from, to]});
}

/** Returns ticks at the round step that gives enough of them, about as many as wanted. */
function roundTicks(start, end, wanted) {
  const power = Math.floor(Math.log10((end - start) / wanted));
  let best = null;
  for (const [factor, places] of [[10, -1], [5, 0], [2.5, 1], [2, 0], [1, 0]]) {
    const step = factor * 10 ** power;
    const [first, last] = [Math.ceil(start / step), Math.floor(end / step)];
    const ticks = Array.from({length: last - first + 1}, (_, index) =>
      ((first + index) * step).toFixed(Math.max(0, places - power)));
    const off = (each) => Math.abs(Math.log(each.length / wanted));
    if (ticks.length >= LEAST_TICKS && (!best || off(ticks) < off(best))) best = ticks;
  }
  return best;
}

/** Makes the legend, whose boxes show and hide runs; calls `onchange(name, hidden)`. */
export function legend(runs, onchange) {
  const entries = runs.map((run) => {
    const sample = svg('svg', {width: 30, height: 16, 'aria-hidden': 'true'});
    const look = style(runs, run);
    if (run.points.length > 1) {
      sample.append(svg('line', {
        x1: 0, x2: 30, y1: 8, y2: 8, stroke: look.color, 'stroke-width': 2,
        'stroke-dasharray': look.dash,
      }));
    }
    sample.append(mark(run, look, 15, 8));
    return html('label', {title: describe(run)},
      html('input', {
        type: 'checkbox', checked: !run.hidden, 'data-run': run.name,
        onchange: (event) => onchange(run.name, !event.target.checked),
      }), sample, run.name);
  });
  const marks = [
    [svg('path', {class: 'frontier', d: 'M0 14V8H15V3H30'}),
      'frontier: the best mIoU within every budget'],
    [svg('circle', {class: 'best', cx: 15, cy: 12, r: 10}), 'best point within the budget'],
    [svg('circle', {class: 'chosen', cx: 15, cy: 12, r: 11}), 'selected: shown below'],
  ].map(([shape, text]) => html('span', {},
    svg('svg', {width: 30, height: 24, 'aria-hidden': 'true'}, shape), text));
  return html('div', {class: 'legend'}, ...entries, ...marks);
}

function describe(run) {
  const views = run.scales.length > 1 || run.flip
    ? `; averaged over ${run.scales.length} scales${run.flip ? ', also mirrored' : ''}` : '';
  const best = Math.max(...run.points.map((point) => point.miou));
  return `step ${run.step}, best mIoU ${percent(best)}; timed on ${run.machine}${views}`;
}
