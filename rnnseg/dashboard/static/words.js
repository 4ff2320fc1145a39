// Texts for numbers and points, the same everywhere.

/** The names of the two costs, for the switch, the axis and numbers. */
export const COSTS = {
  gmacs: {switch: 'multiply-adds', axis: 'multiply-adds per image (G)', unit: 'G'},
  milliseconds: {switch: 'milliseconds', axis: 'time per image (ms)', unit: 'ms'},
};

/** Returns mIoU or IoU of 0-1 in percent. */
export const percent = (value) => `${(100 * value).toFixed(2)} %`;

/** Returns a cost with its unit, to four digits. */
export const cost = (value, kind) => `${Number(value.toPrecision(4))} ${COSTS[kind].unit}`;

/** Returns "1 iteration", "6 iterations". */
export const iterations = (count) => `${count} iteration${count === 1 ? '' : 's'}`;

/** Returns the description of a point, as lines. */
export function lines(run, point) {
  return [
    run.name,
    `n = ${point.iterations}`,
    `mIoU ${percent(point.miou)}`,
    `${cost(point.gmacs, 'gmacs')} multiply-adds`,
    `${cost(point.milliseconds, 'milliseconds')}`,
  ];
}

/** Returns the sentences below the slider: the best point within a budget, and the next ones. */
export function verdict(points, best, budget, kind) {
  const name = ({run, point}) => `${run.name}, ${iterations(point.iterations)}`;
  const other = kind === 'gmacs' ? 'milliseconds' : 'gmacs';
  const limit = `${cost(budget, kind)}${kind === 'gmacs' ? ' multiply-adds' : ''}`;
  if (!best) {
    const least = points[0];
    return [`No point within ${limit}: the cheapest costs ${cost(least.point[kind], kind)}, ` +
      `${name(least)}.`];
  }
  const spent = `${cost(best.point[kind], kind)} (${cost(best.point[other], other)})`;
  const beyond = points.slice(points.indexOf(best) + 1);
  // The next point, and the best one.
  const more = [...new Set([beyond[0], beyond.at(-1)])].filter(Boolean).map((each) =>
    `+${(100 * (each.point.miou - best.point.miou)).toFixed(2)} points for ` +
    `${cost(each.point[kind], kind)}: ${name(each)}.`);
  return [
    `Within ${limit}: ${name(best)}: mIoU ${percent(best.point.miou)} for ${spent}.`,
    ...(more.length ? more : ['A larger budget gains nothing.']),
  ];
}
