// Numbers and points in words, the same everywhere.

/** The two costs: what an axis, a budget and a point call them. */
export const COSTS = {
  gmacs: {switch: 'multiply-adds', axis: 'multiply-adds per image (G)', unit: 'G'},
  milliseconds: {switch: 'milliseconds', axis: 'time per image (ms)', unit: 'ms'},
};

/** mIoU or IoU of 0-1 in percent. */
export const percent = (value) => `${(100 * value).toFixed(2)} %`;

/** A cost with its unit, to four digits. */
export const cost = (value, kind) => `${Number(value.toPrecision(4))} ${COSTS[kind].unit}`;

/** "1 iteration", "6 iterations". */
export const iterations = (count) => `${count} iteration${count === 1 ? '' : 's'}`;

/** Everything that is known of a point, as lines. */
export function lines(run, point) {
  return [
    run.name,
    `n = ${point.iterations}`,
    `mIoU ${percent(point.miou)}`,
    `${cost(point.gmacs, 'gmacs')} multiply-adds`,
    `${cost(point.milliseconds, 'milliseconds')}`,
  ];
}

/** What a budget buys: the sentences below the slider. */
export function verdict(points, best, budget, kind) {
  const name = ({run, point}) => `${run.name}, ${iterations(point.iterations)}`;
  const other = kind === 'gmacs' ? 'milliseconds' : 'gmacs';
  const limit = `${cost(budget, kind)}${kind === 'gmacs' ? ' multiply-adds' : ''}`;
  if (!best) {
    const least = points[0];
    return [`Nothing fits into ${limit}: the least is ${cost(least.point[kind], kind)}, for ` +
      `${name(least)}.`];
  }
  const spent = `${cost(best.point[kind], kind)} (${cost(best.point[other], other)})`;
  const beyond = points.slice(points.indexOf(best) + 1);
  // The next step, and all that there is to gain.
  const more = [...new Set([beyond[0], beyond.at(-1)])].filter(Boolean).map((each) =>
    `+${(100 * (each.point.miou - best.point.miou)).toFixed(2)} points for ` +
    `${cost(each.point[kind], kind)}: ${name(each)}.`);
  return [
    `Within ${limit}: ${name(best)}: mIoU ${percent(best.point.miou)} for ${spent}.`,
    ...(more.length ? more : ['More would buy nothing.']),
  ];
}
