
// What leads to two runs, or to an example, leads into the samples where they are on the page.
// Without a script the former leads to the row of the table of pairs, and the latter is hidden.

function groupsWith(ids) {
  const [, task, , split] = ids[0].split(":"), keys = ids.map((id) => id.split(":")[2]);
  const groups = index.groups.filter((each) => each.key.split("~")[0] === `${task}.${split}`
    && keys.every((key) => each.runs.some((run) => run.key === key)));
  return canUnpack ? groups.map((group) => ({ group, keys })) : [];
}

function leadTo(link, pairs) {
  link.href = `#?${new URLSearchParams(pairs)}`;
  link.hidden = false;
  link.addEventListener("click", () => document.getElementById("samples").scrollIntoView());
}

for (const link of document.querySelectorAll('a[href^="#compare="]')) {
  const [found] = groupsWith(link.getAttribute("href").slice("#compare=".length).split(","));
  if (found) leadTo(link, { data: found.group.key, compare: found.keys.join(","), outcome: "differ" });
}
for (const link of document.querySelectorAll("a[data-sample]")) {
  const { sample, run } = link.dataset;
  for (const { group } of groupsWith([run])) {
    opened(group).then(() => {
      const isShown = group.questions[group.ids.indexOf(sample)] != null;
      if (isShown && link.hidden) leadTo(link, { data: group.key, [SAMPLE]: sample });
    });
  }
}

// Large files of tables are packed: they are unpacked when they are saved.
for (const link of canUnpack ? document.querySelectorAll("a[data-packed]") : []) {
  link.closest(".files").hidden = false;
  link.addEventListener("click", async (event) => {
    event.preventDefault();
    const file = await unzipped(bytes(link.dataset.packed)).arrayBuffer();
    const saved = make("a"), url = URL.createObjectURL(new Blob([file], { type: link.dataset.mime }));
    saved.download = link.download;
    saved.href = url;
    saved.click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  });
}
