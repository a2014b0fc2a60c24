
// The statistics of harness.statistics, for the two runs that a reader chooses. Shares are 0 to 1.

const Z = 1.959963984540054;  // the normal quantile of a two-sided 95% interval

// Wilson's score interval of a proportion.
function wilson(successes, n) {
  const p = successes / n, scale = 1 + Z * Z / n;
  const centre = (p + Z * Z / (2 * n)) / scale;
  const half = Z * Math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n)) / scale;
  return {
    low: successes === 0 ? 0 : Math.max(0, centre - half),
    high: successes === n ? 1 : Math.min(1, centre + half),
  };
}

// Exact two-sided p of McNemar's test: twice the chance of so few, or fewer, heads in n throws.
function mcnemar(onlyFirst, onlySecond) {
  let k = Math.min(onlyFirst, onlySecond);
  const n = onlyFirst + onlySecond;
  if (2 * k === n) return 1;
  let log = -n * Math.LN2;
  for (let i = 1; i <= k; i += 1) log += Math.log((n - k + i) / i);
  let term = Math.exp(log), total = 0;
  while (term > total * 1e-17) {
    total += term;
    term *= k / (n - k + 1);
    k -= 1;
  }
  return Math.min(1, 2 * total);
}

// Bonett and Price's interval of the difference of two accuracies on the same n questions.
function pairedProportions(onlyFirst, onlySecond, n) {
  const b = (onlySecond + 1) / (n + 2), c = (onlyFirst + 1) / (n + 2);
  const half = Z * Math.sqrt((b + c - (b - c) ** 2) / (n + 2));
  return {
    difference: (onlySecond - onlyFirst) / n,
    low: Math.max(-1, b - c - half),
    high: Math.min(1, b - c + half),
    p: mcnemar(onlyFirst, onlySecond),
  };
}

// The interval where questions that share a picture are not independent; null: none share one.
function clusteredDifference(differences, clusters) {
  const n = differences.length;
  const mean = differences.reduce((sum, d) => sum + d, 0) / n;
  const sums = new Map();
  for (let i = 0; i < n; i += 1) {
    sums.set(clusters[i], (sums.get(clusters[i]) ?? 0) + differences[i] - mean);
  }
  if (sums.size < 2 || sums.size === n) return null;
  let squares = 0;
  for (const sum of sums.values()) squares += sum * sum;
  const half = Z * Math.sqrt(squares) / n;
  return { low: mean - half, high: mean + half };
}

// Two runs by their verdicts, a character a question: those that both answered, right or wrong.
function paired(first, second, clusters) {
  const count = { both: 0, first: 0, second: 0, neither: 0 };
  const differences = [], shared = [];
  for (let i = 0; i < first.length; i += 1) {
    if (UNMARKED.includes(first[i]) || UNMARKED.includes(second[i])) continue;
    const a = first[i] === "r", b = second[i] === "r";
    count[a ? (b ? "both" : "first") : (b ? "second" : "neither")] += 1;
    differences.push(b - a);
    if (clusters) shared.push(clusters[i]);
  }
  const n = differences.length;
  if (!n) return { n, count };
  const found = pairedProportions(count.first, count.second, n);
  const clustered = clusters && clusteredDifference(differences, shared);
  const wider = clustered && clustered.high - clustered.low > found.high - found.low;
  return { n, count, ...found, ...(wider ? clustered : {}), clustered: Boolean(wider) };
}
