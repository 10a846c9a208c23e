"use strict";
/* The whole page: opens what a link leads to, writes out specs, and, from a server, looks again. */
let pageData = {};

function openTarget() {
  const place = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!place?.classList.contains("run")) return;
  const row = openRun(place);
  if (row.hidden) clearFilter("runs");
  row.scrollIntoView({ block: "center" });
}

/* Show all of a run below its line in the table of runs; return the line. */
function openRun(details) {
  const row = document.querySelector(`#runs tr[data-key="${details.id.slice(4)}"]`);
  if (row.nextElementSibling?.className !== "opened") {
    const below = document.createElement("tr"), cell = below.insertCell(), inner = document.createElement("div");
    below.className = "opened";
    inner.className = "inner";
    cell.colSpan = row.cells.length;
    cell.append(inner);
    inner.append(details);
    row.after(below);
    below.hidden = row.hidden;
  }
  details.open = true;
  row.querySelector("a").setAttribute("aria-expanded", "true");
  const curves = details.querySelector(".run-curves");
  if (!curves.childElementCount) drawRun(curves, pageData.curves[curves.dataset.run]);
  return row;
}

function closeRun(row) {
  const details = row.nextElementSibling.querySelector("details.run");
  details.open = false;
  document.getElementById("one-by-one").append(details);
  row.nextElementSibling.remove();
  row.querySelector("a").setAttribute("aria-expanded", "false");
}

function startRuns(main) {
  const table = main.querySelector("table[data-opens]");
  if (!table) return;
  document.getElementById("one-by-one").hidden = true;
  for (const link of table.querySelectorAll("a")) link.setAttribute("aria-expanded", "false");
  table.tBodies[0].addEventListener("click", (event) => {
    const row = event.target.closest("tr[data-key]");
    if (!row || String(getSelection()) !== "") return;
    event.preventDefault();
    if (row.nextElementSibling?.className === "opened") closeRun(row);
    else openRun(document.getElementById(`run-${row.dataset.key}`));
  });
}

function writeSpec(details, common) {
  const own = [...details.closest(".run").querySelectorAll(":scope > .wide > .spec tr")];
  const fields = { ...common };
  for (const row of own) fields[row.cells[0].textContent] = row.cells[1].textContent;
  const lines = Object.keys(fields).sort().map((path) => `${path}: ${fields[path]}`);
  details.querySelector("pre").textContent = lines.join("\n");
}

function startPage() {
  const main = document.getElementById("main");
  const data = (pageData = JSON.parse(document.getElementById("data").textContent));
  startTables(main);
  startCharts(main, data.groups);
  startRuns(main);
  for (const details of main.querySelectorAll("[data-whole]"))
    details.addEventListener("toggle", () => details.open && writeSpec(details, data.common));
  return main;
}

function openParts(main) {
  const open = [...main.querySelectorAll("details[open]")];
  return open.map((each) => each.id || each.closest("[id]")?.id).filter(Boolean);
}

/* Where the reader is, as a path that also the next version of the page has. */
function focusPath(main) {
  const at = document.activeElement;
  if (!at || !main.contains(at)) return null;
  const path = [];
  for (let each = at; each !== main; each = each.parentElement)
    path.unshift([...each.parentElement.children].indexOf(each));
  return { path, from: at.selectionStart ?? null };
}

function restoreFocus(main, focus) {
  if (!focus) return;
  const at = focus.path.reduce((each, place) => each?.children[place], main);
  if (!at) return;
  at.focus({ preventScroll: true });
  if (focus.from !== null && at.setSelectionRange) at.setSelectionRange(focus.from, focus.from);
}

function takeOver(text) {
  const next = new DOMParser().parseFromString(text, "text/html").getElementById("main");
  const old = document.getElementById("main");
  const open = openParts(old), focus = focusPath(old), [x, y] = [scrollX, scrollY];
  old.replaceWith(document.importNode(next, true));
  const main = startPage();
  for (const id of open) {
    const place = document.getElementById(id);
    const details = place?.tagName === "DETAILS" ? place : place?.querySelector("details");
    if (details?.classList.contains("run")) openRun(details);
    else if (details) details.open = true;
  }
  restoreFocus(main, focus);
  scrollTo(x, y);
}

function lookAgain(seconds) {
  async function look() {
    const say = (words) => { const at = document.querySelector("[data-live]"); if (at) at.textContent = words; };
    const tag = document.getElementById("main").dataset.tag;
    try {
      const answer = await fetch(location.pathname, { cache: "no-store", headers: { "If-None-Match": `"${tag}"` } });
      if (answer.status === 200) takeOver(await answer.text());
      else if (answer.status !== 304) throw new Error(`the server says ${answer.status}`);
      say(`up to date at ${new Date().toLocaleTimeString()}, updates every ${seconds} s`);
    } catch (error) {
      say(`not up to date: ${error.message}`);
    }
    setTimeout(look, 1000 * seconds);
  }
  setTimeout(look, 1000 * seconds);
}

addEventListener("hashchange", openTarget);
const refresh = startPage().dataset.refresh;
openTarget();
if (refresh) lookAgain(Number(refresh));
