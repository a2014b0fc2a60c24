
// What answers are marked by: right or wrong or, where they are graded, the score of a metric.

const isGraded = (group) => Boolean(group.metric?.graded);
const isMarked = (group) => group.choice || group.metric !== null;
const UNMARKED = "f-a";  // verdicts that are neither right nor wrong

// A score of one answer, as metrics give it.
const grade = (score) => score.toFixed(2).replace("-", "−");

// A figure over many answers, in the unit of its metric, and differences of such figures.
function inUnit(metric, value, digits) {
  const { percent: isPercent } = metric ?? { percent: true };
  return isPercent ? percent(value, digits ?? 1) : value.toFixed(4).replace("-", "−");
}

function meanScore(run) {
  const scored = run.scores.filter((score) => score !== null);
  return { n: scored.length, mean: scored.reduce((sum, score) => sum + score, 0) / scored.length };
}

// From 0, the worst score of these questions, to 1, the best.
function goodness(metric, score) {
  const [worst, best] = metric.ends;
  return best === worst ? 1 : Math.min(1, Math.max(0, (score - worst) / (best - worst)));
}

const isBetter = (metric, score, other) => (metric.higher ? score > other : score < other);

// How two runs fare on a question: (i) => "first" or "second", the one that is right or scores
// better; "both", "neither" or "equal"; null where one of them has no mark.
function duel(group, first, second) {
  if (isGraded(group)) {
    const x = first.scores, y = second.scores;
    return (i) => {
      if (x[i] === null || y[i] === null) return null;
      return x[i] === y[i] ? "equal" : isBetter(group.metric, x[i], y[i]) ? "first" : "second";
    };
  }
  const x = verdicts(first), y = verdicts(second);
  return (i) => {
    if (UNMARKED.includes(x[i]) || UNMARKED.includes(y[i])) return null;
    const a = x[i] === "r", b = y[i] === "r";
    return a ? (b ? "both" : "first") : (b ? "second" : "neither");
  };
}

// The paired test of two runs with graded answers, which the page brings along: a bootstrap is
// drawn as `harness compare` draws it.
function gradedComparison(group, first, second) {
  const count = { first: 0, second: 0, equal: 0 };
  const mark = duel(group, group.runs[first], group.runs[second]);
  for (let i = 0; i < group.ids.length; i += 1) {
    const name = mark(i);
    if (name) count[name] += 1;
  }
  const found = group.tests.find(([a, b]) => (a === first && b === second) || (a === second && b === first));
  if (!found) return { n: first === second ? count.equal : 0, count, difference: 0, low: 0, high: 0, p: 1 };
  const [a, , n, difference, low, high, p] = found;
  return a === first
    ? { n, count, difference, low, high, p }
    : { n, count, difference: -difference, low: -high, high: -low, p };
}
