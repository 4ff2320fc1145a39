// Estimates of the latency of the stages, so that a prediction meets its budget; as
// rnnseg.runtime.pacing, where the reasons are.

// The constants of RFC 6298: the weights of a new value in the mean and in the deviation, and the
// number of deviations by which an answer may be late.
const MEAN_GAIN = 1 / 8;
const DEVIATION_GAIN = 1 / 4;
const DEVIATIONS = 4;
// A value above the upper bound counts as at most this many times the bound.
const LARGEST_STEP = 2;

/** Running means and mean deviations of the latency of stages, in milliseconds. */
export class LatencyEstimator {
  #known = new Map();
  #assumed = new Map();

  /** Sets the estimate that holds until the first measured call of a stage. */
  assume(stage, mean, deviation) {
    this.#assumed.set(stage, {mean, deviation});
  }

  /** Brings the bounds of a stage nearer to the mean, since it was not run because of them. */
  narrow(stage) {
    const known = this.#find(stage);
    known.deviation *= 1 - DEVIATION_GAIN;
  }

  /** Adds a measured call; `amount` is what the latency is proportional to, such as pixels. */
  add(stage, amount, milliseconds) {
    const known = this.#known.get(stage);
    let value = milliseconds / amount;
    if (!known) {
      this.#known.set(stage, {mean: value, deviation: value / 2});
      return;
    }
    value = Math.min(value, LARGEST_STEP * this.upperBound(stage, 1));
    known.deviation += DEVIATION_GAIN * (Math.abs(value - known.mean) - known.deviation);
    known.mean += MEAN_GAIN * (value - known.mean);
  }

  /** Returns the milliseconds that a call hardly ever exceeds; undefined before the first call. */
  upperBound(stage, amount) {
    const known = this.#find(stage);
    return known && Math.max(0, known.mean + DEVIATIONS * known.deviation) * amount;
  }

  #find(stage) {
    return this.#known.get(stage) ?? this.#assumed.get(stage);
  }
}
