
// The answers that the page carries: a list of groups that is there at once, and the index of each
// group, blocks of questions and of pictures, which are unpacked when somebody looks at them.

const data = document.getElementById("answers");
const index = data ? JSON.parse(data.textContent) : { groups: [], extractors: [], block: 1 };
for (const [place, group] of index.groups.entries()) group.place = place;

const canUnpack = typeof DecompressionStream === "function";
const unpacked = new Map();

function bytes(id) {
  const text = atob(document.getElementById(id).textContent);
  const found = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i += 1) found[i] = text.charCodeAt(i);
  return found;
}

function unzipped(packed) {
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip")));
}

const unzip = (packed) => unzipped(packed).json();

// At most so many blocks stay unpacked: the one used longest ago goes.
function once(id, unpack) {
  const found = unpacked.get(id) ?? unpack(bytes(id));
  unpacked.delete(id);
  unpacked.set(id, found);
  if (unpacked.size > 64) unpacked.delete(unpacked.keys().next().value);
  return found;
}

// Unpack the questions of a group, and what each run made of them.
function opened(group) {
  group.opening ??= unzip(bytes(`index-${group.place}`)).then((body) => {
    for (const [place, run] of body.runs.entries()) Object.assign(group.runs[place], run);
    Object.assign(group, { ...body, runs: group.runs });
    group.rank = new Int32Array(group.ids.length);  // among those that can be looked at
    group.shown = 0;
    for (let i = 0; i < group.ids.length; i += 1) {
      group.rank[i] = group.shown;
      if (group.questions[i] !== null) group.shown += 1;
    }
    return group;
  });
  return group.opening;
}

// A question with every run's answer to it: see reports/page/samples/blocks.py.
async function entry(group, i) {
  const rank = group.rank[i], place = rank % index.block;
  const block = await once(`answers-${group.place}-${Math.floor(rank / index.block)}`, unzip);
  const { texts } = block;
  const [question, choices, target, pictures, missing] = block.asked[place];
  return {
    question: question < 0 ? group.questions[i] : texts[question],
    choices: choices.map((text) => texts[text]),
    target: Array.isArray(target) ? target.map(([text, times]) => [texts[text], times]) : target,
    pictures,
    missing,
    answers: group.runs.map((run, number) => answerOf(block, number, place)),
  };
}

// What a run's answer says; null: it was not asked.
function answerOf(block, run, place) {
  const number = block.given[run][place], { texts } = block;
  if (number < 0) return null;
  const [raw, read, rule, prompt, error, order, others, span, cut] = block.answers[block.first[place] + number];
  const cost = (name) => block.costs[run][name]?.[place] ?? null;
  return {
    raw: texts[raw],
    read: Array.isArray(read) ? texts[read[0]] : read,
    rule: texts[rule],
    prompt: texts[prompt],
    error: error === null ? null : texts[error],
    order,
    others: others.map(([answer, by]) => [answer, texts[by]]),
    span,
    cut: Boolean(cut),
    seconds: cost("seconds"),
    preparing: cost("preparing"),
    tokens: cost("tokens"),
    tokensIn: cost("tokensIn"),
    likelihoods: cost("likelihoods") ?? [],
    votes: cost("votes") ?? [],
    listed: cost("listed") ?? [],
  };
}

// The address of a picture, made of the page's own bytes.
const pictures = new Map();

function picture(group, number) {
  const key = `${group.place}-${number}`;
  if (!pictures.has(key)) {
    const start = Math.floor(number / index.block) * index.block;
    const packed = once(`pictures-${group.place}-${start / index.block}`, (all) => all);
    let at = 0;
    for (let i = start; i < number; i += 1) at += group.sizes[i];
    const blob = new Blob([packed.subarray(at, at + group.sizes[number])], { type: "image/webp" });
    pictures.set(key, URL.createObjectURL(blob));
  }
  return pictures.get(key);
}
