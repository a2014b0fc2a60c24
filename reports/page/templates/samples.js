
// The samples: how each run stands, two runs against each other, and every answer.

const EXTRACTOR = {
  "ours": ["our extractor", "Conclusions, answer phrases, letters and option texts; never guesses."],
  "paper-base": [
    "the paper’s extractor for its base model",
    "The last capital letter anywhere in the text.",
  ],
  "paper-kd": [
    "the paper’s extractor for its distilled model",
    "A letter, alone, between the two CONCLUSION tags.",
  ],
};
const VERDICT = {
  "r": ["✓", "right"], "w": ["✗", "wrong"], "u": ["∅", "unparsed"], "f": ["!", "failed"],
  "a": ["•", "answered"], "-": ["", "not asked"],
};
const VERDICT_CLASS = { r: "right", w: "wrong", u: "unparsed", f: "failed", a: "answered", "-": "absent" };
// Outcome -> words, and the verdicts that it covers.
const OUTCOMES = {
  "right": ["right", "r"],
  "wrong": ["wrong, including unparsed", "wu"],
  "unparsed": ["unparsed", "u"],
  "failed": ["failed", "f"],
  "answered": ["answered", "a"],
  "better": ["better than the mean of its model", "au"],
  "worse": ["worse than the mean of its model", "au"],
  "misled": ["wrong after correct reasoning", "wu"],
};
// Of two runs -> words: where answers are right or wrong, and where they are graded.
const AGAINST = {
  "differ": "exactly one is right", "first": "only the first is right",
  "second": "only the second is right", "both": "both are right", "neither": "neither is right",
};
const AGAINST_GRADED = {
  "differ": "the scores differ", "first": "the first scores better",
  "second": "the second scores better", "equal": "the scores are equal",
};
const against = (group) => (isGraded(group) ? AGAINST_GRADED : AGAINST);
const SAMPLE = "sample", ROW = 68, CUT = 200;
const MANY = 12;  // runs above which what repeats the tables is closed

const view = {
  group: index.groups[0], sample: -1, topic: "", model: "", outcome: "", text: "", extractor: "ours",
  first: 0, second: 1,
};
let found = [];  // places of the questions that fit, in the order of the data
let unfolded = null;  // keys of the runs whose answers are unfolded; null: the two compared

const at = (id) => document.getElementById(id);

// An element such as "p.small" with these children: elements, and texts that stay texts.
function make(what, ...children) {
  const [tag, ...classes] = what.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function fill(select, options) {
  select.replaceChildren(...options.map((each) => {
    if (Array.isArray(each[1])) {
      const group = make("optgroup");
      group.label = each[0];
      fill(group, each[1]);
      return group;
    }
    const option = make("option", each[1]);
    option.value = each[0];
    return option;
  }));
}

const percent = (share, digits = 1) => (100 * share).toFixed(digits).replace("-", "−");
const count = (number) => number.toLocaleString("en-US");
const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
const letter = (place) => (place < 26 ? String.fromCharCode(65 + place) : String(place + 1));
const verdicts = (run) => run.verdicts[view.extractor] ?? run.verdicts.ours;
const isFixed = (run) => !(view.extractor in run.verdicts);

function extractorWords() {
  const [name, meaning] = EXTRACTOR[view.extractor] ?? [view.extractor, ""];
  return { name, meaning };
}

// How each run stands

function drawStanding() {
  const { group } = view, { name, meaning } = extractorWords();
  const fixed = group.runs.filter(isFixed);
  const graded = isGraded(group);
  at("extractor-meaning").textContent = graded
    ? `Each answer is scored by ${group.metric.title}${group.metric.higher ? "" : "; lower is better"}.`
    : group.choice ? `${meaning}${fixed.length ? ` Unchanged, because our extractor did not make them: ${fixed.map((run) => run.title).join(", ")}.` : ""}`
    : group.metric ? `Each answer is scored by ${group.metric.title}.`
      : "These answers have no scores: the tables have those of whole runs.";
  at("standing-caption").textContent = graded ? group.metric.title
    : isMarked(group) ? `Right answers, ${name}` : "Answers";
  const title = `${group.metric?.title ?? "Accuracy"}${group.metric?.percent ?? true ? ", %" : ""}`;
  const headings = isMarked(group)
    ? ["Model", title, "95% interval", graded ? "Scored" : "Right", "Unparsed", "Failed"]
    : ["Model", "Answered", "Unparsed", "Failed"];
  const cut = group.runs.some((run) => run.cut !== null);
  if (cut) headings.splice(-1, 0, "Cut at the token limit");
  at("standing").tHead.rows[0].replaceChildren(...headings.map((text, column) => {
    const cell = make(column ? "th" : "th.head", text);
    cell.scope = "col";
    return cell;
  }));
  at("standing").tBodies[0].replaceChildren(...group.runs.map((run, place) => {
    const tally = { r: 0, w: 0, u: 0, f: 0, a: 0, "-": 0 };
    for (const verdict of verdicts(run)) tally[verdict] += 1;
    const answered = tally.r + tally.w + tally.u + tally.a;
    const n = isMarked(group) ? answered - tally.a : answered;
    const heading = make("th.head", numbered(run, place));
    heading.scope = "row";
    let cells = [`${count(tally.a)} of ${count(answered)}`];
    const own = view.extractor === "ours" && run.interval ? { low: run.interval[0], high: run.interval[1] } : null;
    const shown = (ends) => (ends ? `${inUnit(group.metric, ends.low)}–${inUnit(group.metric, ends.high)}` : "—");
    if (graded) {
      const found = meanScore(run);
      cells = found.n
        ? [inUnit(group.metric, found.mean, 2), shown(own), `${count(found.n)} of ${count(answered)}`]
        : ["—", "—", `0 of ${count(answered)}`];
    } else if (isMarked(group)) {
      cells = n
        ? [inUnit(group.metric, tally.r / n, 2), shown(own ?? wilson(tally.r, n)), `${count(tally.r)} of ${count(n)}`]
        : ["—", "—", "0 of 0"];
    }
    cells.push(count(tally.u), ...(cut ? [run.cut === null ? "—" : count(run.cut)] : []), count(tally.f));
    return make("tr", heading, ...cells.map((text) => make("td", text)));
  }));
}

const roleClass = (run) =>
  `role-${["teacher", "student", "distilled"].includes(run.role) ? run.role : "baseline"}`;

function named(run) {
  return make(`span.model.${roleClass(run)}`, make("bdi", run.title));
}

function numbered(run, place) {
  return make("span.run-name", make("span.number", String(place + 1)), named(run));
}

// Two runs against each other

function comparison() {
  const { group } = view;
  if (isGraded(group)) return gradedComparison(group, view.first, view.second);
  return paired(verdicts(group.runs[view.first]), verdicts(group.runs[view.second]), group.cluster);
}

function significant(p) {
  return p < 1e-4 || p >= 0.1 ? Number(p.toPrecision(2)).toString() : p.toFixed(p < 0.01 ? 4 : 3);
}

// The table of pairs has the verdict, corrected for all pairs; it is of our extractor.
function testedVerdict(group, first, second) {
  if (view.extractor !== "ours" && !(isFixed(first) && isFixed(second))) return null;
  const keys = [first.key, second.key].sort().join();
  for (const row of document.querySelectorAll('tr[id^="compare="]')) {
    const ids = row.id.slice("compare=".length).split(",").map((id) => id.split(":"));
    if (ids.map((id) => id[2]).sort().join() !== keys) continue;
    if (`${ids[0][1]}.${ids[0][3]}` !== group.key.split("~")[0]) continue;
    return row.cells[2].title && `${row.cells[0].dataset.sort}: ${row.cells[2].title}.`;
  }
  return null;
}

function ownVerdict(result, first, second) {
  const { metric } = view.group;
  const size = `${result.difference > 0 ? "+" : ""}${inUnit(metric, result.difference)}`;
  const unit = isGraded(view.group) && !metric.percent ? ` ${metric.title}` : " points";
  const p = result.p < 1e-4 ? "p <0.0001" : `p = ${significant(result.p)}`;
  return `${second.title} vs. ${first.title}: ${size}${unit} on ${counted(result.n, "shared question")}; ${p} alone, not corrected for other pairs.`;
}

function drawPaired() {
  const { group } = view, box = at("paired-result");
  const first = group.runs[view.first], second = group.runs[view.second];
  const possible = isMarked(group) && group.runs.length > 1;
  at("paired").hidden = at("paired-choice").hidden = box.hidden = !possible;
  if (!possible) return;
  const result = comparison();
  if (!result.n) {
    box.replaceChildren(make("p", "The two share no answered questions."));
    return;
  }
  const cell = (name, verdict) => {
    const number = result.count[name];
    const text = `${count(number)} ${verdict}`;
    if (!group.shown || !number) return make(`td.${name}`, text);
    const button = make("button", text);
    button.type = "button";
    button.addEventListener("click", () => {
      go({ outcome: name, topic: "", text: "", sample: -1 });
      if (found.length) go({ sample: found[0] }, true);
      at("filters").scrollIntoView({ block: "start" });
    });
    return make(`td.${name}`, button);
  };
  const heading = (scope, ...children) => {
    const made = make("th", ...children);
    made.scope = scope;
    return made;
  };
  const table = isGraded(group) ? make("table.two-by-two",
    make("caption.hidden", "Questions by which of the two models scores better"),
    make("thead", make("tr", heading("col", named(first), " better"), heading("col", "Equal"), heading("col", named(second), " better"))),
    make("tbody", make("tr", cell("first", "better"), cell("equal", "equal"), cell("second", "better"))))
  : make("table.two-by-two",
    make("caption.hidden", "Questions by which of the two models was right"),
    make("thead", make("tr", make("td"), heading("col", named(second), " right"), heading("col", named(second), " wrong"))),
    make("tbody",
      make("tr", heading("row", named(first), " right"), cell("both", "both right"), cell("first", "only this one")),
      make("tr", heading("row", named(first), " wrong"), cell("second", "only the other"), cell("neither", "both wrong"))));
  const sides = result.count.first + result.count.second;
  const jump = make("button.primary", `Show the ${counted(sides, "question")} on which they differ`);
  jump.type = "button";
  jump.disabled = !sides;
  jump.addEventListener("click", () => {
    go({ outcome: "differ", topic: "", text: "", sample: -1 });
    if (found.length) go({ sample: found[0] }, true);
    at("filters").scrollIntoView({ block: "start" });
  });
  box.replaceChildren(
    make("p.sentence", make("bdi", testedVerdict(group, first, second) || ownVerdict(result, first, second))),
    make("p.small", `${counted(result.n, "question")} that both answered`
      + (isGraded(group) ? ". Paired bootstrap" : `, ${extractorWords().name}. Exact McNemar`)
      + `; 95% interval of ${second.title} minus ${first.title}: `
      + `${inUnit(group.metric, result.low)} to ${inUnit(group.metric, result.high)}`
      + (isGraded(group) ? "." : result.clustered ? ", clustered by image or group." : " (Bonett–Price).")),
    make("div.two", table), ...(group.shown ? [make("p", jump)] : []));
  box.dataset.result = JSON.stringify(result);
}

// Which questions are listed

function fits() {
  const { group, outcome } = view;
  if (outcome in against(group)) {
    const mark = duel(group, group.runs[view.first], group.runs[view.second]);
    return outcome === "differ"
      ? (i) => ["first", "second"].includes(mark(i)) : (i) => mark(i) === outcome;
  }
  if (/^(fixed|broken)\d*$/.test(outcome)) {
    const pair = group.pairs[Number(outcome.replace(/\D+/, ""))];
    const mark = duel(group, ...pair.map((place) => group.runs[place]));
    const wanted = outcome.startsWith("fixed") ? "second" : "first";
    return (i) => mark(i) === wanted;
  }
  const runs = view.model && view.model !== "every"
    ? group.runs.filter((run) => run.key === view.model) : group.runs;
  if (!(outcome in OUTCOMES)) {
    if (runs.length === group.runs.length) return null;
    const asked = verdicts(runs[0]);
    return (i) => asked[i] !== "-";
  }
  const covered = OUTCOMES[outcome][1];
  const tests = runs.map((run) => {
    const own = verdicts(run);
    if (outcome === "better" || outcome === "worse") {
      const { mean } = meanScore(run), { metric } = group;
      return (i) => run.scores[i] !== null && (outcome === "better"
        ? isBetter(metric, run.scores[i], mean) : isBetter(metric, mean, run.scores[i]));
    }
    if (outcome !== "misled") return (i) => covered.includes(own[i]);
    const misled = new Set(run.misled);
    return (i) => misled.has(i) && covered.includes(own[i]);
  });
  if (tests.length === 1) return tests[0];
  return view.model === "every" ? (i) => tests.every((test) => test(i)) : (i) => tests.some((test) => test(i));
}

function listFitting() {
  const { group } = view, test = fits();
  const topic = view.topic === "" ? -1 : group.topics.indexOf(view.topic);
  const text = view.text.trim().toLowerCase();
  const id = text.startsWith("#") ? text.slice(1) : null;
  if (text) group.lower ??= group.questions.map((question) => question?.toLowerCase() ?? "");
  found = [];
  for (let i = 0; i < group.ids.length; i += 1) {
    if (group.questions[i] === null || (topic >= 0 && group.topic[i] !== topic)) continue;
    if (test && !test(i)) continue;
    if (id !== null ? !group.ids[i].toLowerCase().includes(id) : text && !group.lower[i].includes(text)) continue;
    found.push(i);
  }
}

// The list: only the rows that can be seen are there.

const list = at("list"), space = make("div.space");
// Kept here because asking the page for them makes it lay itself out.
let listTop = 0, listHeight = 600;

function scrollList(top) {
  if (top === listTop) return;
  listTop = top;
  list.scrollTop = top;
}

function drawList() {
  const { group } = view;
  const top = Math.max(0, Math.floor(listTop / ROW) - 4);
  const end = Math.min(found.length, top + Math.ceil(listHeight / ROW) + 8);
  const places = new Set();
  for (let place = top; place < end; place += 1) places.add(place);
  const chosen = found.indexOf(view.sample);
  if (chosen >= 0) places.add(chosen);  // the one that the list points to is always there
  const rows = [...places].sort((a, b) => a - b).map((place) => drawRow(group, place));
  space.replaceChildren(...rows);
  if (chosen >= 0) list.setAttribute("aria-activedescendant", `${SAMPLE}-${chosen}`);
  else list.removeAttribute("aria-activedescendant");
}

function drawRow(group, place) {
  const i = found[place];
  const right = group.runs.filter((run) => verdicts(run)[i] === "r").length;
  const asked = group.runs.filter((run) => verdicts(run)[i] !== "-").length;
  const marks = make("span.marks", ...group.runs.map((run) => mark(run, i)));
  marks.setAttribute("aria-hidden", "true");
  const row = make("div.row",
    thumbnail(group, i),
    make("span.what",
      make("span.asks", make("bdi", group.questions[i] || "(no text)")),
      make("span.about", make("bdi", `#${group.ids[i]}`), " · ", make("bdi", group.topics[group.topic[i]]),
        make("span.hidden", isMarked(group) && !isGraded(group) ? `, ${right} of ${asked} right` : "")),
      marks));
  row.id = `${SAMPLE}-${place}`;
  row.style.transform = `translateY(${place * ROW}px)`;
  row.setAttribute("role", "option");
  row.setAttribute("aria-selected", String(i === view.sample));
  row.setAttribute("aria-setsize", found.length);
  row.setAttribute("aria-posinset", place + 1);
  row.addEventListener("click", () => { go({ sample: i }); showDetail(); });
  return row;
}

function mark(run, i) {
  const verdict = verdicts(run)[i], [glyph, word] = VERDICT[verdict];
  const { metric } = view.group, score = isGraded(view.group) ? run.scores[i] : null;
  if (score !== null) {
    const made = make("span.verdict-mark.graded", grade(score));
    made.style.setProperty("--good", `${Math.round(24 * goodness(metric, score))}%`);
    made.title = `${run.title}: ${metric.title} ${grade(score)}${verdict === "u" ? ", unparsed" : ""}`;
    return made;
  }
  const made = make(`span.verdict-mark.${VERDICT_CLASS[verdict]}`, glyph);
  made.title = `${run.title}: ${word}`;
  return made;
}

function thumbnail(group, i) {
  if (!group.sizes.length) return null;
  const box = make("span.thumbnail");
  if (group.picture[i] >= 0) box.append(image(group, group.picture[i], ""));
  return box;
}

function image(group, number, words) {
  const made = make("img");
  made.alt = words;
  made.decoding = "async";
  made.src = picture(group, number);
  return made;
}

function drawKey() {
  const { group } = view;
  at("marks-key").replaceChildren(...group.runs.map(numbered));
}

function scrollToSample() {
  const place = found.indexOf(view.sample), top = place * ROW;
  if (place < 0) return;
  if (top < listTop) scrollList(top);
  else if (top + ROW > listTop + listHeight) scrollList(top + ROW - listHeight);
}

function drawFound() {
  const { group } = view, n = found.length;
  const left = group.ids.length - group.shown;
  at("found").textContent = `${count(n)} of ${counted(group.shown, "question")}`
    + (view.outcome && group.choice && !isGraded(group) ? `, ${extractorWords().name}` : "")
    + (left ? `; ${count(left)} that every model gets right are not on this page` : "");
}

// One question

async function drawDetail() {
  const detail = at("detail");
  if (!detail) return;
  const { group, sample } = view;
  if (sample < 0) {
    detail.replaceChildren(make("p.small", found.length
      ? "Choose a question: click one or press j." : "No question matches the filters."));
    return;
  }
  let asked;
  try {
    asked = await entry(group, sample);
  } catch (error) {
    detail.replaceChildren(make("p.notice", `This browser cannot unpack the answers (${error.name}).`));
    return;
  }
  if (view.group !== group || view.sample !== sample) return;  // somebody was quicker
  const title = make("h4", make("bdi", asked.question || "(no text)"));
  const shown = asked.pictures.map((number, place) =>
    image(group, number, asked.pictures.length > 1 ? `Image ${place + 1} of this question` : "The image of this question"));
  const nothing = asked.missing
    ? make("p.small", asked.missing === 1 ? "The image is not on this page." : `${asked.missing} images are not on this page.`) : null;
  detail.replaceChildren(
    drawSteps(),
    make("p.small", make("bdi", `#${group.ids[sample]}`), " · ", make("bdi", group.topics[group.topic[sample]])),
    title,
    make("div.task", shown.length ? make("div.shown", ...shown) : null, drawGold(group, asked)),
    ...(nothing ? [nothing] : []),
    ...group.runs.map((run, place) => drawAnswer(run, place, asked)));
}

function drawSteps() {
  const place = found.indexOf(view.sample);
  const step = (words, by) => {
    const button = make("button", words);
    button.type = "button";
    const next = found[place + by];
    button.disabled = next === undefined;
    button.addEventListener("click", () => move(by));
    return button;
  };
  const link = make("button", "Copy link");
  link.type = "button";
  link.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(location.href);
      status.textContent = link.textContent = "Link copied";
    } catch {
      status.textContent = link.textContent = "The address bar has the link";
    }
  });
  const words = place < 0 ? "Not in the list" : `${count(place + 1)} of ${count(found.length)}`;
  return make("div.steps", step("← Previous", -1), make("span", words), step("Next →", 1), link);
}

function drawGold(group, asked) {
  if (!asked.choices.length) {
    if (!asked.target.length) return make("p.small", "The accepted answers are not public.");
    if (asked.target.length === 1) {
      return make("div", make("h5", "Reference"), make("div.passage", make("bdi", asked.target[0][0])));
    }
    const items = asked.target.map(([text, times]) => make("li", make("bdi", text), make("span.small", ` × ${count(times)}`)));
    return make("div", make("h5", "Accepted answers"), make("ul.accepted", ...items));
  }
  const items = asked.choices.map((text, place) => {
    const takers = group.runs
      .map((run, number) => [run, number, asked.answers[number]])
      .filter(([run, , answer]) => answer && extraction(run, answer).answer === place);
    const who = takers.map(([run, number]) => {
      const chip = make(`span.chip.${roleClass(run)}`, String(number + 1));
      chip.title = run.title;
      return chip;
    });
    const gold = place === asked.target;
    return make(gold ? "li.right-choice" : "li",
      make("span.letter", letter(place)), make("bdi", text),
      gold ? make("span.word", "✓ correct answer") : null,
      who.length ? make("span.chips", make("span.hidden", "chosen by "), ...who) : null);
  });
  return make("ol.choices", ...items);
}

function extraction(run, answer) {
  const { read, rule, others } = answer;
  const other = isFixed(run) ? undefined : others[index.extractors.indexOf(view.extractor) - 1];
  return other ? { answer: other[0], rule: other[1] } : { answer: read, rule };
}

function said(answer, asked) {
  if (answer === null) return "none";
  if (typeof answer !== "number") return "the whole text";
  return `${letter(answer)}. ${asked.choices[answer] ?? ""}`;
}

function drawAnswer(run, place, asked) {
  const answer = asked.answers[place];
  const verdict = verdicts(run)[view.sample];
  const [glyph, word] = VERDICT[verdict];
  const score = isGraded(view.group) ? run.scores[view.sample] : null;
  const details = make("details.answer");
  const summary = make("summary", numbered(run, place), " ",
    score === null ? make(`span.verdict-word.${VERDICT_CLASS[verdict]}`, `${glyph} ${word}`)
      : make("span.verdict-word", make("bdi", view.group.metric.title), ` ${grade(score)}`));
  if (score !== null && verdict === "u") summary.append(" ", make("span.flag", "unparsed"));
  details.append(summary);
  if (!answer) {
    details.append(make("p", "This run was not asked this question."));
    return details;
  }
  const it = answer, read = extraction(run, answer);
  if (typeof read.answer === "number") summary.append(" ", make("span.small", "extracted: ", make("bdi", said(read.answer, asked))));
  if (it.cut) summary.append(" ", make("span.flag", "cut at the token limit"));
  if (run.misled.includes(view.sample)) summary.append(" ", make("span.flag", "correct reasoning"));
  if (it.error !== null) details.append(make("p", "No answer: ", make("bdi", it.error)));
  else {
    // The marked words are those of the recorded extraction.
    const span = isFixed(run) || view.extractor === "ours" ? it.span : null;
    details.append(make("h5", "Raw output"), passage(it.raw, span), drawExtraction(run, it, read, asked));
  }
  const facts = [];
  for (const [place, title] of run.listed.entries()) {
    if (typeof it.listed[place] === "number") facts.push([title, grade(it.listed[place])]);
  }
  if (it.seconds !== null) {
    const before = it.preparing === null ? "" : `, of which preprocessing ${it.preparing} s`;
    facts.push(["Time", `${it.seconds} s${before}`]);
  }
  if (it.tokens !== null) facts.push(["Tokens", `${count(it.tokens)} generated${it.tokensIn === null ? "" : `, ${count(it.tokensIn)} in the prompt`}`]);
  if (it.order.length) facts.push(["Options as shuffled", it.order.map((from, to) => `${letter(to)}: ${asked.choices[from]}`).join(", ")]);
  if (it.likelihoods.length) facts.push(["Log-likelihood", it.likelihoods.map((score, option) => `${letter(option)} ${score === null ? "—" : score.toFixed(2)}`).join(", ")]);
  if (it.votes.length) facts.push(["Votes", it.votes.map(([answer, number]) => `${typeof answer === "number" ? letter(answer) : answer || "unparsed"} ${number}`).join(", ")]);
  if (facts.length) {
    details.append(make("dl.entries", ...facts.map(([name, text]) => make("div", make("dt", name), make("dd", make("bdi", text))))));
  }
  if (it.prompt) details.append(make("h5", "Prompt"), passage(it.prompt));
  const usual = () => [view.first, view.second].map((number) => view.group.runs[number].key);
  details.open = (unfolded ?? usual()).includes(run.key);
  summary.addEventListener("click", () => {
    const others = (unfolded ?? usual()).filter((key) => key !== run.key);
    unfolded = details.open ? others : [...others, run.key];
  });
  return details;
}

function drawExtraction(run, it, read, asked) {
  const words = make("p", "Extracted: ", make("strong", make("bdi", said(read.answer, asked))), " · rule “", make("bdi", read.rule), "”");
  if (asked.choices.length) {
    const by = isFixed(run) || view.extractor === "ours" ? "as recorded" : `by ${extractorWords().name}`;
    words.append(`, ${by}`);
    if (!isFixed(run) && view.extractor !== "ours" && it.read !== read.answer) {
      words.append("; our extractor: ", make("bdi", said(it.read, asked)));
    }
  } else if (typeof read.answer === "string" && read.answer !== it.raw) {
    return make("div", words, make("h5", "Extracted text"), passage(read.answer));
  }
  return words;
}

// A text with its line breaks; the four tags of a rationale stand out, and so do the words from
// `span[0]` to `span[1]`.
function passage(text, span) {
  if (!span) return make("pre.passage", ...tagged(text));
  const marked = make("mark", ...tagged(text.slice(...span)));
  marked.title = "The answer was extracted from these words.";
  return make("pre.passage", ...tagged(text.slice(0, span[0])), marked, ...tagged(text.slice(span[1])));
}

function tagged(text) {
  const pieces = text.split(/(<\s{0,3}\/?\s{0,3}(?:SUMMARY|CAPTION|REASONING|CONCLUSION)\s{0,3}>)/i);
  return pieces.map((piece, n) => (n % 2 ? make("span.tag", piece) : piece));
}

// What is chosen

function go(changes, replaced = false) {
  Object.assign(view, changes);
  draw(changes);
  remember(replaced);
}

function draw(changes) {
  const touches = (...names) => names.some((name) => name in changes);
  const only = Object.keys(changes).every((name) => name === SAMPLE);
  if (touches("group", "extractor")) drawStanding();
  if (touches("group")) at("standing-part").open = view.group.runs.length <= MANY;
  if (touches("group", "extractor", "first", "second")) drawPaired();
  if (!only) {
    const old = found;
    drawControls();
    listFitting();
    if (list) {
      space.style.height = `${found.length * ROW}px`;
      if (old.length !== found.length || old.some((i, n) => i !== found[n])) scrollList(0);
      drawFound();
      if (touches("group")) drawKey();
    }
  }
  if (list) {
    scrollToSample();
    drawList();
  }
  drawDetail();
}

function showDetail() {
  // On a narrow screen the question stands below the list.
  if (matchMedia("(max-width: 60rem)").matches) at("detail").scrollIntoView({ block: "start" });
}

function move(by) {
  if (!found.length) return;
  let place = found.indexOf(view.sample);
  if (place < 0) place = by > 0 ? -1 : found.length;
  const next = Math.min(Math.max(place + by, 0), found.length - 1);
  go({ sample: found[next] }, true);
}

function drawControls() {
  const { group } = view;
  at("data-select").value = String(index.groups.indexOf(group));
  at("extractor-select").value = view.extractor;
  at("first-select").value = group.runs[view.first].key;
  at("second-select").value = group.runs[view.second]?.key ?? "";
  if (!list) return;
  at("topic-select").value = view.topic;
  at("outcome-select").value = view.outcome;
  const own = view.outcome === "" || view.outcome in OUTCOMES;
  at("model-select").value = own ? view.model : "";
  at("model-select").disabled = !own;
  if (at("search").value !== view.text) at("search").value = view.text;
}

// Fill the lists of what can be chosen: they depend on the questions.
function offer() {
  const { group } = view;
  const has = (letters) => group.runs.some((run) => Object.values(run.verdicts).some((own) => [...letters].some((each) => own.includes(each))));
  at("extractor-choice").hidden = !group.runs.some((run) => Object.keys(run.verdicts).length > 1);
  const runs = group.runs.map((run) => [run.key, run.title]);
  fill(at("first-select"), runs);
  fill(at("second-select"), runs);
  if (!list) return;
  fill(at("topic-select"), [["", "all"], ...group.topics.map((topic) => [topic, topic])]);
  fill(at("model-select"), [["", "any model"], ...(runs.length > 1 ? [["every", "every model"]] : []), ...runs]);
  const own = Object.entries(OUTCOMES)
    .filter(([name, [, letters]]) => has(letters) && (name !== "misled" || group.runs.some((run) => run.misled.length))
      && (!["better", "worse"].includes(name) || isGraded(group)));
  const outcomes = [["", "any"], ["By model", own.map(([name, [words]]) => [name, words])]];
  if (group.pairs.length) {
    outcomes.push(["By distillation", group.pairs.flatMap(([before, after], n) => {
      const who = `${group.runs[before].title} → ${group.runs[after].title}`;
      const [fixed, broken] = isGraded(group) ? ["better after", "worse after"] : ["fixed by", "broken by"];
      return [[`fixed${n || ""}`, `${fixed} distillation (${who})`], [`broken${n || ""}`, `${broken} distillation (${who})`]];
    })]);
  }
  if (isMarked(group) && group.runs.length > 1) {
    outcomes.push(["Of the two compared", Object.entries(against(group))]);
  }
  fill(at("outcome-select"), outcomes);
}

// Whom a reader most likely wants to compare: before and after, or else the first two.
function preferred(group) {
  const [first, second] = group.pairs[0] ?? [0, Math.min(1, group.runs.length - 1)];
  return { first, second };
}

function fresh(group) {
  return { group, sample: -1, topic: "", model: "", outcome: "", text: "", ...preferred(group) };
}

// What the address says until the questions that it names are unpacked; null: they are shown.
let awaited = null;

// Show the questions of a group; where they are not unpacked yet, what `change` makes of the view
// comes a moment later.
function choose(group, change) {
  if (group.ids) {
    change();
    return;
  }
  opened(group).then(change, () => { at("cannot-unpack").hidden = false; });
}

function show(group, pairs) {
  awaited = null;
  const run = (key, otherwise) => {
    const place = group.runs.findIndex((each) => each.key === key);
    return place < 0 ? otherwise : place;
  };
  const wanted = fresh(group);
  Object.assign(view, wanted);
  at("browser").hidden = false;
  offer();
  const one = (id, name) => ([...(at(id)?.querySelectorAll("option") ?? [])].some((option) => option.value === pairs.get(name)) ? pairs.get(name) : "");
  view.topic = one("topic-select", "topic");
  view.model = one("model-select", "model");
  view.outcome = one("outcome-select", "outcome");
  view.extractor = one("extractor-select", "extractor") || one("extractor-select", "reader") || "ours";  // "reader": as older pages wrote it
  view.text = pairs.get("search") ?? "";
  const [first, second] = (pairs.get("compare") ?? "").split(",");
  view.first = run(first, wanted.first);
  view.second = run(second, wanted.second);
  const place = group.ids.indexOf(pairs.get(SAMPLE));
  view.sample = place >= 0 && group.questions[place] !== null ? place : -1;
  draw({ ...view });
  if (view.sample >= 0) at("detail").scrollIntoView({ block: "nearest" });
}

parts.push({
  read(pairs) {
    if (!index.groups.length) return;
    const group = index.groups.find((each) => each.key === pairs.get("data")) ?? index.groups[0];
    awaited = pairs;
    if (!canUnpack) return;
    choose(group, () => { if (awaited === pairs) show(group, pairs); });
  },
  write(pairs) {
    if (!index.groups.length) return;
    if (awaited) {
      for (const [name, value] of awaited) if (name !== "sort") pairs.append(name, value);
      return;
    }
    if (!view.group.ids) return;
    const { group } = view, usual = preferred(group);
    if (group !== index.groups[0]) pairs.set("data", group.key);
    if (view.extractor !== "ours") pairs.set("extractor", view.extractor);
    if (view.first !== usual.first || view.second !== usual.second) {
      pairs.set("compare", `${group.runs[view.first].key},${group.runs[view.second].key}`);
    }
    for (const name of ["topic", "model", "outcome"]) if (view[name]) pairs.set(name, view[name]);
    if (view.text) pairs.set("search", view.text);
    if (view.sample >= 0) pairs.set(SAMPLE, group.ids[view.sample]);
  },
});

function listen() {
  if (list) {
    space.setAttribute("role", "presentation");
    list.append(space);
  }
  const onChoice = (id, change) => at(id)?.addEventListener("change", (event) => go(change(event.target.value)));
  at("data-select").addEventListener("change", (event) => {
    const group = index.groups[Number(event.target.value)];
    choose(group, () => {
      if (at("data-select").value !== event.target.value) return;  // somebody was quicker
      Object.assign(view, fresh(group));
      offer();
      go({ group });
    });
  });
  onChoice("extractor-select", (extractor) => ({ extractor }));
  for (const side of ["first", "second"]) {
    onChoice(`${side}-select`, (key) => ({ [side]: view.group.runs.findIndex((run) => run.key === key) }));
  }
  for (const name of ["topic", "model", "outcome"]) onChoice(`${name}-select`, (value) => ({ [name]: value, sample: -1 }));
  at("keys-button").addEventListener("click", () => at("keys").showModal());
  if (!list) return;
  at("search").addEventListener("input", () => go({ text: at("search").value, sample: -1 }, true));
  at("filters").addEventListener("submit", (event) => event.preventDefault());
  at("filters").addEventListener("reset", (event) => {
    event.preventDefault();
    go({ topic: "", model: "", outcome: "", text: "", sample: -1 });
  });
  list.addEventListener("scroll", () => {
    if (list.scrollTop === listTop) return;
    listTop = list.scrollTop;
    drawList();
  }, { passive: true });
  new ResizeObserver(() => {
    if (list.clientHeight === listHeight) return;
    listHeight = list.clientHeight;
    drawList();
  }).observe(list);
  list.addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.floor(listHeight / ROW) - 1);
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -found.length, End: found.length }[event.key];
    if (by) move(by);
    else if (event.key === "Enter" && view.sample >= 0) at("detail").focus();
    else return;
    event.preventDefault();
  });
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || at("keys").open) return;
    const typing = event.target.closest?.("input, select, textarea");
    if (event.key === "Escape") {
      if (typing) typing.blur();
      else if (view.sample >= 0) go({ sample: -1 });
      else return;
      list.focus({ preventScroll: true });
    } else if (typing) {
      return;
    } else if (event.key === "j" || event.key === "k") {
      move(event.key === "j" ? 1 : -1);
      list.scrollIntoView({ block: "nearest" });
    } else if (event.key === "/") {
      at("search").focus();
    } else if (event.key === "?") {
      at("keys").showModal();
    } else {
      return;
    }
    event.preventDefault();
  });
}

if (index.groups.length && canUnpack) {
  at("data-choice").hidden = index.groups.length < 2;
  fill(at("data-select"), index.groups.map((group, place) => [String(place), group.title]));
  fill(at("extractor-select"), index.extractors.map((name) => [name, EXTRACTOR[name]?.[0] ?? name]));
  listen();
}
if (index.groups.length) at("cannot-unpack").hidden = canUnpack;
for (const part of parts) part.read(address());
reveal();
