"use strict";
/* Tables: a button in every header sorts, a field above filters. */
const tableStates = {};

function compareCells(a, b) {
  const one = a.dataset.sort ?? a.textContent, two = b.dataset.sort ?? b.textContent;
  if (one === "" || two === "") return one === two ? 0 : one === "" ? Infinity : -Infinity;
  const numbers = a.classList.contains("n") && b.classList.contains("n");
  return numbers ? Number(one) - Number(two) : one.localeCompare(two, "en", { numeric: true });
}

function sortTable(table, column, direction) {
  const body = table.tBodies[0], sign = direction === "ascending" ? 1 : -1;
  const rows = [...body.rows].map((row, place) => ({ row, place }));
  rows.sort((a, b) => {
    const order = compareCells(a.row.cells[column], b.row.cells[column]);
    if (!Number.isFinite(order)) return order > 0 ? 1 : -1; // what is unknown stays last
    return sign * order || a.place - b.place;
  });
  body.append(...rows.map((each) => each.row));
  [...table.tHead.rows[0].cells].forEach((cell, place) =>
    cell.setAttribute("aria-sort", place === column ? direction : "none"));
}

function filterTable(table, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of table.tBodies[0].rows) {
    const content = [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase();
    row.hidden = !words.every((word) => content.includes(word));
    if (!row.hidden) shown += 1;
  }
  const count = document.querySelector(`[data-counts="${table.id}"]`);
  if (count) count.textContent = `${shown} of ${table.tBodies[0].rows.length}`;
}

function startTables(root) {
  for (const table of root.querySelectorAll("table.sortable")) {
    const state = (tableStates[table.id] ??= { column: null, direction: null, text: "" });
    [...table.tHead.rows[0].cells].forEach((cell, column) => {
      cell.querySelector("button").addEventListener("click", () => {
        const up = cell.getAttribute("aria-sort") === "ascending";
        Object.assign(state, { column, direction: up ? "descending" : "ascending" });
        sortTable(table, column, state.direction);
      });
    });
    const field = root.querySelector(`input[data-filters="${table.id}"]`);
    field.value = state.text;
    field.addEventListener("input", () => filterTable(table, (state.text = field.value)));
    if (state.column !== null && state.column < table.tHead.rows[0].cells.length)
      sortTable(table, state.column, state.direction);
    if (state.text) filterTable(table, state.text);
    for (const cell of table.querySelectorAll("td[data-full]")) {
      const known = Object.entries(JSON.parse(cell.dataset.full)).filter(([, value]) => value !== null);
      if (known.length) cell.title = known.map(([name, value]) => `${name}: ${value}`).join("\n");
    }
  }
}
