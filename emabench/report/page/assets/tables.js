"use strict";
/* Tables: a button in every header sorts, a field above filters. */
const tableStates = {};

function compareCells(a, b) {
  const one = a.dataset.sort ?? a.textContent, two = b.dataset.sort ?? b.textContent;
  if (one === "" || two === "") return one === two ? 0 : one === "" ? Infinity : -Infinity;
  const numbers = a.classList.contains("n") && b.classList.contains("n");
  return numbers ? Number(one) - Number(two) : one.localeCompare(two, "en", { numeric: true });
}

/* The rows of a table without what some of them have opened below them. */
function runRows(body) {
  return [...body.rows].filter((row) => row.className !== "opened");
}

function sortTable(table, column, direction) {
  const body = table.tBodies[0], sign = direction === "ascending" ? 1 : -1;
  const rows = runRows(body).map((row, place) => ({ row, place }));
  rows.sort((a, b) => {
    const order = compareCells(a.row.cells[column], b.row.cells[column]);
    if (!Number.isFinite(order)) return order > 0 ? 1 : -1; // what is unknown stays last
    return sign * order || a.place - b.place;
  });
  for (const { row } of rows) {
    const opened = row.nextElementSibling;
    body.append(row, ...(opened?.className === "opened" ? [opened] : []));
  }
  [...table.tHead.rows[0].cells].forEach((cell, place) =>
    cell.setAttribute("aria-sort", place === column ? direction : "none"));
}

function filterTable(table, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of runRows(table.tBodies[0])) {
    const content = [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase();
    row.hidden = !words.every((word) => content.includes(word));
    if (row.nextElementSibling?.className === "opened") row.nextElementSibling.hidden = row.hidden;
    if (!row.hidden) shown += 1;
  }
  const count = document.querySelector(`[data-counts="${table.id}"]`);
  if (count) count.textContent = `${shown} of ${runRows(table.tBodies[0]).length}`;
}

function clearFilter(name) {
  const field = document.querySelector(`input[data-filters="${name}"]`);
  field.value = "";
  field.dispatchEvent(new Event("input"));
}

function headersOf(table) {
  return [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
}

/* The reader chooses columns; a later version of the page may have others beside them. */
function startColumns(choice, table, state) {
  const [all, ...boxes] = choice.querySelectorAll("input"), headers = headersOf(table);
  const chosen = (state.chosen ??= {}), rows = [table.tHead.rows[0], ...runRows(table.tBodies[0])];
  const show = () => {
    for (const box of boxes) for (const row of rows) row.cells[box.value].hidden = !box.checked;
    all.checked = boxes.every((box) => box.checked);
  };
  for (const box of boxes) {
    box.checked = chosen[headers[box.value]] ?? box.checked;
    box.addEventListener("change", () => { chosen[headers[box.value]] = box.checked; show(); });
  }
  all.addEventListener("change", () => {
    for (const box of boxes) box.checked = chosen[headers[box.value]] = all.checked;
    show();
  });
  choice.hidden = false;
  show();
}

function startTables(root) {
  for (const table of root.querySelectorAll("table.sortable")) {
    const state = (tableStates[table.id] ??= { header: null, direction: null, text: "" }), headers = headersOf(table);
    const choice = root.querySelector(`[data-columns="${table.id}"]`);
    if (choice) startColumns(choice, table, state);
    [...table.tHead.rows[0].cells].forEach((cell, column) => {
      cell.querySelector("button").addEventListener("click", () => {
        const up = cell.getAttribute("aria-sort") === "ascending";
        Object.assign(state, { header: headers[column], direction: up ? "descending" : "ascending" });
        sortTable(table, column, state.direction);
      });
    });
    const field = root.querySelector(`input[data-filters="${table.id}"]`);
    field.value = state.text;
    field.addEventListener("input", () => filterTable(table, (state.text = field.value)));
    if (headers.includes(state.header)) sortTable(table, headers.indexOf(state.header), state.direction);
    if (state.text) filterTable(table, state.text);
    for (const cell of table.querySelectorAll("td[data-full]")) {
      const known = Object.entries(JSON.parse(cell.dataset.full)).filter(([, value]) => value !== null);
      if (known.length) cell.title = known.map(([name, value]) => `${name}: ${value}`).join("\n");
    }
  }
}
