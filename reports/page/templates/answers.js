
// The answers that the page carries: an index that is there at once, and blocks of questions and of
// pictures that are unpacked when one of them is looked at.

const data = document.getElementById("answers");
const index = data ? JSON.parse(data.textContent) : { groups: [], extractors: [], block: 1 };
for (const [place, group] of index.groups.entries()) {
  group.place = place;
  group.rank = new Int32Array(group.ids.length);  // among those that can be looked at
  group.shown = 0;
  for (let i = 0; i < group.ids.length; i += 1) {
    group.rank[i] = group.shown;
    if (group.questions[i] !== null) group.shown += 1;
  }
}

const unpacked = new Map();

function bytes(id) {
  const text = atob(JSON.parse(document.getElementById(id).textContent));
  const found = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i += 1) found[i] = text.charCodeAt(i);
  return found;
}

// At most so many blocks stay unpacked: the one used longest ago goes.
function once(id, unpack) {
  const found = unpacked.get(id) ?? unpack(bytes(id));
  unpacked.delete(id);
  unpacked.set(id, found);
  if (unpacked.size > 64) unpacked.delete(unpacked.keys().next().value);
  return found;
}

// A question with every run's answer to it: see reports/page/samples/blocks.py.
async function entry(group, i) {
  const rank = group.rank[i];
  const rows = await once(`answers-${group.place}-${Math.floor(rank / index.block)}`, (packed) => {
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).json();
  });
  return rows[rank % index.block];
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
