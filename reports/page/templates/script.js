"use strict";
// Everything is readable without this script: it sorts tables, switches the theme and opens what a
// link points into. Text reaches the page by textContent and append only.

const status = document.getElementById("status");

function compare(a, b, kind, sign) {
  // Missing figures stay at the end, in whichever direction.
  const x = a.dataset.sort, y = b.dataset.sort;
  if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
  return sign * (kind === "text" ? x.localeCompare(y, "en", { numeric: true }) : x - y);
}

function nextOrder(heading) {
  const old = heading.getAttribute("aria-sort");
  return old === null ? heading.dataset.best : old === "ascending" ? "descending" : "ascending";
}

function sort(heading, order) {
  const table = heading.closest("table");
  keepOrder(table);
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", order);
  const column = heading.cellIndex, sign = order === "ascending" ? 1 : -1;
  // Rows stay in their group: they answered the same questions.
  for (const body of table.tBodies) {
    const rows = [...body.rows].filter((row) => !row.classList.contains("group"));
    rows.sort((a, b) => compare(a.cells[column], b.cells[column], heading.dataset.kind, sign));
    body.append(...rows);
  }
  sorted.set(table.id, [column, order]);
  const name = heading.querySelector("bdi, abbr") ?? heading;
  status.textContent = `Sorted by ${name.textContent.trim()}, ${order}`;
}

for (const heading of document.querySelectorAll("th[data-best]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...heading.childNodes);
  button.addEventListener("click", () => { sort(heading, nextOrder(heading)); remember(); });
  heading.append(button);
}

// Theme: automatic unless chosen. Storage may be refused to pages opened from disk.
const stored = {
  get() { try { return localStorage.getItem("theme"); } catch { return null; } },
  set(value) { try { localStorage.setItem("theme", value); } catch { /* kept for this visit */ } },
};

function useTheme(theme) {
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

const label = document.createElement("label"), select = document.createElement("select");
for (const theme of ["auto", "light", "dark"]) {
  const option = document.createElement("option");
  option.value = option.textContent = theme;
  select.append(option);
}
label.append("Theme ", select);
document.getElementById("controls").prepend(label);
select.value = ["light", "dark"].includes(stored.get()) ? stored.get() : "auto";
useTheme(select.value);
select.addEventListener("change", () => { useTheme(select.value); stored.set(select.value); });

// A link into a closed part opens it.
function reveal() {
  let id = location.hash.slice(1);
  try { id = decodeURIComponent(id); } catch { /* used as it stands */ }
  const target = id && document.getElementById(id);
  if (!target) return;
  for (let part = target; part; part = part.parentElement) {
    if (part.tagName === "DETAILS") part.open = true;
  }
  target.scrollIntoView();
}
addEventListener("hashchange", reveal);
reveal();
