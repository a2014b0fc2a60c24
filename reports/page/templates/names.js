
// Which models, tasks and columns are shown, by their names, and how much of each row: kept in the
// address.

const byName = {
  models: document.getElementById("models-filter"),
  tasks: document.getElementById("tasks-filter"),
  columns: document.getElementById("columns-filter"),
};
const fullView = document.getElementById("full-view");

const terms = (input) => (input?.value ?? "").toLowerCase().split(",").map((term) => term.trim()).filter(Boolean);
const fitsName = (wanted, name) => !wanted.length || wanted.some((term) => name.toLowerCase().includes(term));

// Of a table; the first column has the rows' names. Returns how many are left, and of how many.
function showColumns(table, wanted, nameOf) {
  const rows = [...table.rows].filter((row) => !row.classList.contains("group"));
  const headings = [...table.tHead.rows[0].cells].slice(1);
  for (const [place, heading] of headings.entries()) {
    const hidden = !fitsName(wanted, nameOf(heading));
    if (heading.hidden === hidden) continue;
    for (const row of rows) row.cells[place + 1].hidden = hidden;
  }
  return [headings.filter((heading) => !heading.hidden).length, headings.length];
}

// "GEO geography"
function columnName(heading) {
  const name = heading.querySelector("abbr, bdi, .hidden");
  return `${name.textContent} ${name.title}`;
}

function showNames() {
  const models = terms(byName.models), tasks = terms(byName.tasks), columns = terms(byName.columns);
  for (const row of document.querySelectorAll("tr[data-model]")) {
    row.hidden = !fitsName(models, row.dataset.model);
  }
  for (const part of document.querySelectorAll("[data-task]:not(th)")) {
    part.hidden = !fitsName(tasks, part.dataset.task);
  }
  const table = document.getElementById("models-by-tasks");
  if (!table) return;
  const rows = [...table.tBodies].flatMap((body) => [...body.rows]);
  const left = [rows.filter((row) => !row.hidden).length, rows.length];
  const ofTasks = showColumns(table, tasks, (heading) => heading.dataset.task);
  const ofColumns = [0, 0];
  for (const each of document.querySelectorAll(".dense table")) {
    const found = showColumns(each, columns, columnName);
    for (const place of [0, 1]) ofColumns[place] += found[place];
  }
  const told = [
    ...(models.length || tasks.length ? [[left, "models"], [ofTasks, "tasks"]] : []),
    ...(columns.length ? [[ofColumns, "columns of the tasks’ tables"]] : []),
  ];
  document.getElementById("filtered").textContent = told
    .map(([[shown, all], what]) => `${shown} of ${all} ${what}`).join(", ");
}

parts.push({
  read(pairs) {
    fullView.checked = pairs.get("view") === "full";
    if (!byName.models) return;
    for (const [name, input] of Object.entries(byName)) input.value = pairs.get(name) ?? "";
    showNames();
  },
  write(pairs) {
    for (const [name, input] of Object.entries(byName)) {
      if (input?.value.trim()) pairs.set(name, input.value.trim());
    }
    if (fullView.checked) pairs.set("view", "full");
  },
});

fullView.addEventListener("change", () => remember());
for (const input of Object.values(byName)) {
  input?.addEventListener("input", () => { showNames(); remember(true); });
}
const namesForm = document.getElementById("filters-of-names");
if (namesForm) {
  namesForm.hidden = false;
  namesForm.addEventListener("submit", (event) => event.preventDefault());
}

// A cell says more of itself in the line below its table, wherever the pointer or the focus is. One
// cell of a table is reached by Tab, the others by the arrow keys.

for (const table of document.querySelectorAll("table[data-cells]")) {
  const line = document.getElementById(`${table.id}-cell`);
  const tell = (cell) => {
    const heading = table.tHead.rows[0].cells[cell.cellIndex];
    line.textContent = heading.dataset.name ? cell.title : `${cell.parentElement.dataset.model} · ${heading.dataset.task}: ${cell.title}`;
  };
  let current = table.querySelector("td[title]");
  if (!current) continue;
  line.hidden = false;
  current.tabIndex = 0;
  const cellOf = (event) => event.target.closest("td[title]");
  table.addEventListener("pointerover", (event) => { if (cellOf(event)) tell(cellOf(event)); });
  table.addEventListener("focusin", (event) => { if (cellOf(event)) tell(cellOf(event)); });
  table.addEventListener("click", (event) => { if (cellOf(event)) moveTo(cellOf(event)); });
  const moveTo = (cell) => {
    current.tabIndex = -1;
    current = cell;
    current.tabIndex = 0;
    current.focus();
  };
  table.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!step || event.target !== current) return;
    event.preventDefault();
    const rows = [...table.tBodies].flatMap((body) => [...body.rows]).filter((row) => !row.hidden);
    const cells = (row) => [...row.cells].filter((cell) => cell.tagName === "TD" && !cell.hidden);
    const row = rows[rows.indexOf(current.parentElement) + step[0]];
    const next = row && cells(row)[cells(current.parentElement).indexOf(current) + step[1]];
    if (next) moveTo(next);
  });
}
