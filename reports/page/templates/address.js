
// What is looked at stands in the address, "#?" and then names with values, so that it can be sent
// to somebody and found again with the back button. Each part of the page reads and writes its own.

const parts = [];

function address() {
  const { hash } = location;
  return new URLSearchParams(hash.startsWith("#?") ? hash.slice(2) : "");
}

// `replace`: no new step for the back button, as while somebody types.
function remember(replace = false) {
  const pairs = new URLSearchParams();
  for (const part of parts) part.write(pairs);
  const hash = pairs.size ? `#?${pairs}` : "";
  if (hash === location.hash) return;
  const url = location.href.split("#")[0] + hash;
  try {
    if (replace) history.replaceState(null, "", url);
    else history.pushState(null, "", url);
  } catch { /* a frame without an address of its own */ }
}

function restore() {
  // A plain anchor leads somewhere on the page and leaves everything as it is.
  if (location.hash && !location.hash.startsWith("#?")) return;
  const pairs = address();
  for (const part of parts) part.read(pairs);
}
addEventListener("hashchange", restore);

// How tables are sorted. The rows' first order comes back with the address that had it.
const sorted = new Map(), unsorted = new Map();

function keepOrder(table) {
  if (unsorted.has(table)) return;
  const rows = [...table.tBodies].map((body) => [body, [...body.rows]]);
  const headings = [...table.tHead.rows[0].cells].map((cell) => cell.getAttribute("aria-sort"));
  unsorted.set(table, { rows, headings });
}

function unsort(table) {
  const { rows, headings } = unsorted.get(table);
  for (const [body, order] of rows) body.append(...order);
  for (const [place, order] of headings.entries()) {
    const cell = table.tHead.rows[0].cells[place];
    if (order === null) cell.removeAttribute("aria-sort");
    else cell.setAttribute("aria-sort", order);
  }
  sorted.delete(table.id);
}

parts.push({
  read(pairs) {
    for (const id of [...sorted.keys()]) unsort(document.getElementById(id));
    for (const wanted of pairs.getAll("sort")) {
      const [id, column, order] = wanted.split("~");
      // A collection has names too, such as "item" and "length".
      const place = /^\d{1,4}$/.test(column) ? Number(column) : -1;
      const heading = document.getElementById(id)?.tHead?.rows[0].cells[place];
      if (heading?.dataset.best && ["ascending", "descending"].includes(order)) sort(heading, order);
    }
  },
  write(pairs) {
    for (const [id, [column, order]] of sorted) pairs.append("sort", `${id}~${column}~${order}`);
  },
});
