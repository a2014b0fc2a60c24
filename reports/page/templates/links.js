
// What leads to two runs, or to an example, leads into the samples where they are on the page.
// Without a script the former leads to the row of the table of pairs, and the latter is hidden.

function groupWith(ids, sample) {
  const [, task, , split] = ids[0].split(":"), keys = ids.map((id) => id.split(":")[2]);
  const group = index.groups.find((each) => each.key.split("~")[0] === `${task}.${split}`
    && keys.every((key) => each.runs.some((run) => run.key === key))
    && (sample === undefined || each.questions[each.ids.indexOf(sample)] != null));
  return group && { group, keys };
}

function leadTo(link, pairs) {
  link.href = `#?${new URLSearchParams(pairs)}`;
  link.hidden = false;
  link.addEventListener("click", () => document.getElementById("samples").scrollIntoView());
}

for (const link of document.querySelectorAll('a[href^="#compare="]')) {
  const found = groupWith(link.getAttribute("href").slice("#compare=".length).split(","));
  if (found) leadTo(link, { data: found.group.key, compare: found.keys.join(","), outcome: "differ" });
}
for (const link of document.querySelectorAll("a[data-sample]")) {
  const { sample, run } = link.dataset, found = groupWith([run], sample);
  if (found) leadTo(link, { data: found.group.key, [SAMPLE]: sample });
}
