// Numbers as NumPy makes them, so that the page computes what rnnseg.runtime does.

/** Rounds to the nearest whole number, halves to the even one. */
export function rint(value) {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 ? floor + 1 : floor;
}

/** Returns `count` numbers from 0 to `last` at equal distances. */
export function spread(last, count) {
  const numbers = new Float64Array(count);
  const step = last / (count - 1);
  for (let index = 1; index < count; index++) numbers[index] = index * step;
  if (count > 1) numbers[count - 1] = last;
  return numbers;
}
