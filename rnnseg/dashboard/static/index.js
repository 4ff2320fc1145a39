// The tab: fetches the evaluations, keeps the selection, and makes the panels draw it.

import {legend, makeChart} from './chart.js';
import {choice, html, radios} from './dom.js';
import {makeHeatMap} from './heatmap.js';
import {followTheme, onReload} from './tensorboard.js';
import {makeViewer} from './viewer.js';
import {COSTS, cost, verdict} from './words.js';

/** Builds the tab; TensorBoard calls it once, in a page of its own. */
export async function render() {
  document.title = 'Speed-accuracy';
  document.head.append(html('link',
    {rel: 'stylesheet', href: new URL('style.css', import.meta.url).href}));
  followTheme();
  const tab = new Tab();
  document.body.append(tab.node);
  onReload(() => tab.load());
  await tab.load();
}

class Tab {
  constructor() {
    this.hidden = new Set();
    this.shown = 0; // the index of the comparison
    this.kind = 'gmacs';
    this.budgets = {}; // by kind of cost, for the comparison shown
    this.selected = null; // {run, iterations}
    this.chart = makeChart((run, iterations) => this.select(run, iterations));
    this.heatMap = makeHeatMap();
    this.viewer = makeViewer((iterations) => this.select(this.selected.run, iterations));
    this.message = html('p', {class: 'note', role: 'status'}, 'Loading …');
    this.data = html('div', {class: 'controls'});
    this.legend = html('div');
    this.note = html('p', {class: 'note'});
    this.slider = html('input', {
      type: 'range', id: 'budget', step: 'any', 'aria-label': 'budget per image',
      oninput: () => this.setBudget(+this.slider.value),
      onkeydown: (event) => this.moveBudget(event),
    });
    this.amount = html('output', {for: 'budget', class: 'wide'});
    this.verdict = html('div', {class: 'verdict', role: 'status', id: 'verdict'});
    this.budget = html('div', {},
      html('div', {class: 'controls'},
        html('label', {for: 'budget'}, 'Budget per image'), this.slider, this.amount),
      this.verdict);
    this.runs = html('div', {class: 'controls runs'});
    this.panels = html('div', {},
      html('section', {'aria-label': 'Speed and accuracy'}, this.data, this.chart.node, this.legend,
        this.note, this.budget),
      this.runs, html('div', {class: 'columns'}, this.heatMap.node, this.viewer.node));
    this.panels.hidden = true;
    this.node = html('main', {}, this.message, this.panels);
  }

  /** Fetches all evaluations; the selection stays if it still exists. */
  async load() {
    const url = new URL('data', import.meta.url);
    for (const run of this.hidden) url.searchParams.append('hide', run);
    const wanted = (this.request = (this.request ?? 0) + 1);
    let comparisons;
    try {
      const response = await fetch(url);
      if (!response.ok) throw new Error(`TensorBoard answers ${response.status}`);
      comparisons = await response.json();
    } catch (error) {
      this.tell(`The evaluations could not be loaded: ${error.message}`);
      return;
    }
    if (wanted !== this.request) return; // there is a newer request
    if (!comparisons.length) {
      this.tell('No evaluations yet: write some by rnnseg evaluate --tensorboard, or by the ' +
        'callback rnnseg.dashboard.SpeedAccuracy.');
      return;
    }
    const text = JSON.stringify(comparisons);
    if (text === this.text) return;
    this.text = text;
    this.comparisons = comparisons;
    this.message.hidden = true;
    this.panels.hidden = false;
    this.draw();
  }

  tell(message) {
    this.message.textContent = message;
    this.message.hidden = false;
  }

  /** Draws everything, after any change except for the budget. */
  draw() {
    this.shown = Math.min(this.shown, this.comparisons.length - 1);
    const {runs} = this.comparison;
    this.data.replaceChildren();
    if (this.comparisons.length > 1) {
      this.data.append(html('label', {}, 'Data ', choice(this.comparisons.map(nameOf), this.shown,
        {}, (index) => {
          this.shown = index;
          this.budgets = {};
          this.draw();
        })));
    } else {
      this.data.append(html('span', {}, nameOf(this.comparison)));
    }
    const costs = Object.fromEntries(Object.entries(COSTS).map(([key, each]) => [key, each.switch]));
    this.data.append(radios('Cost', costs, this.kind, (kind) => {
      this.kind = kind;
      this.drawChart();
    }));
    this.legend.replaceChildren(legend(runs, (name, hidden) => {
      this.hidden[hidden ? 'add' : 'delete'](name);
      this.load();
    }));
    if (!runs.some((run) => run.name === this.selected?.run)) this.selected = best(runs);
    this.drawChart();
    this.drawRun();
  }

  get comparison() {
    return this.comparisons[this.shown];
  }

  /** The points of the frontier as {run, point}; null if there is none. */
  get frontier() {
    const {runs, frontier} = this.comparison;
    return frontier[this.kind]?.length ? frontier[this.kind].map(([name, iterations]) => {
      const run = runs.find((each) => each.name === name);
      return {run, point: run.points.find((each) => each.iterations === iterations)};
    }) : null;
  }

  drawChart() {
    const {comparison, frontier, kind} = this;
    this.budget.hidden = !frontier;
    this.note.hidden = comparison.machines.length < 2 || kind === 'gmacs';
    this.note.textContent = 'Times of different machines have no common frontier: compare ' +
      `multiply-adds, or evaluate on one machine. Machines: ${comparison.machines.join('; ')}.`;
    let [budget, best] = [null, null];
    if (frontier) {
      budget = this.setSlider(frontier);
      best = frontier.findLast(({point}) => point[kind] <= budget) ?? null;
      this.amount.textContent = cost(budget, kind);
      this.slider.setAttribute('aria-valuetext', cost(budget, kind));
      this.verdict.replaceChildren(...verdict(frontier, best, budget, kind).map((line) =>
        html('p', {}, line)));
    }
    this.chart.draw({comparison, kind, frontier, budget, best, selected: this.selected});
  }

  /** Fits the slider to the visible costs; returns the budget. */
  setSlider(frontier) {
    const {kind, slider} = this;
    const costs = this.comparison.runs.filter((run) => !run.hidden)
      .flatMap((run) => run.points.map((point) => point[kind]));
    const [low, high] = [Math.min(...costs), Math.max(...costs)];
    const margin = 0.02 * (high - low || high);
    slider.min = low - margin;
    slider.max = high + margin;
    // The first budget is in the middle of the frontier.
    slider.value = this.budgets[kind] ?? frontier[Math.floor(frontier.length / 2)].point[kind];
    return +slider.value;
  }

  setBudget(budget) {
    this.budgets[this.kind] = budget;
    this.drawChart();
  }

  /** Moves the budget by arrow keys, from one point of the frontier to the next. */
  moveBudget(event) {
    const up = event.key === 'ArrowRight' || event.key === 'ArrowUp';
    if (!up && event.key !== 'ArrowLeft' && event.key !== 'ArrowDown') return;
    event.preventDefault();
    const costs = this.frontier.map(({point}) => point[this.kind]);
    const budget = +this.slider.value;
    const next = up ? costs.find((each) => each > budget) : costs.findLast((each) => each < budget);
    if (next !== undefined) this.setBudget(next);
  }

  select(run, iterations) {
    this.selected = {run, iterations};
    this.drawChart();
    this.drawRun();
  }

  drawRun() {
    const {runs} = this.comparison;
    const index = runs.findIndex((run) => run.name === this.selected.run);
    this.runs.replaceChildren(html('label', {}, 'Run ', choice(runs.map((run) => run.name), index,
      {id: 'run'}, (each) => this.select(runs[each].name, this.selected.iterations))));
    const state = {run: runs[index], iterations: this.selected.iterations};
    this.heatMap.draw(state);
    this.viewer.draw(state);
  }
}

/** Returns the point of the highest mIoU; of several, that of the fewest multiply-adds. */
function best(runs) {
  const shown = runs.filter((run) => !run.hidden);
  const points = (shown.length ? shown : runs).flatMap((run) =>
    run.points.map(({iterations, miou, gmacs}) => ({run: run.name, iterations, miou, gmacs})));
  points.sort((one, other) => other.miou - one.miou || one.gmacs - other.gmacs);
  const [{run, iterations}] = points;
  return {run, iterations};
}

function nameOf({data, split, images, image_size: [height, width]}) {
  return `${data}, ${split}: ${images} image${images === 1 ? '' : 's'}, most often ` +
    `${height}×${width}`;
}
