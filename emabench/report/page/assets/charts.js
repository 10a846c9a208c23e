"use strict";
/* Charts: marks, lines and bars in SVG, by pointer and by keyboard. */
const SVG = "http://www.w3.org/2000/svg", SERIES = 12, LETTER = 6.7;
const chartStates = {};

function draw(parent, name, attributes = {}, text = null) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== null) node.textContent = text;
  parent.append(node);
  return node;
}

function write(value) {
  if (value === null || value === undefined) return "unknown";
  return Math.abs(value) >= 1e5 ? value.toLocaleString("en", { maximumFractionDigits: 0 }) : String(Number(value.toPrecision(5)));
}

function span(low, high) {
  return low === null || low === undefined ? "" : ` [${write(low)}, ${write(high)}]`;
}

function ticksOf(low, high, count) {
  const raw = (high - low) / Math.max(1, count), power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= raw);
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k += 1) ticks.push(Number((k * step).toPrecision(12)));
  return ticks;
}

function rangeOf(values, names) {
  if (names) return [-0.6, names.length - 0.4];
  const known = values.filter((value) => value !== null && value !== undefined);
  let low = Math.min(...known), high = Math.max(...known);
  if (!known.length) [low, high] = [0, 1];
  const edge = (high - low || Math.abs(high) * 0.1 || 1) * 0.06;
  return [low - edge, high + edge];
}

const PLUS = [[-0.4, -1.2], [0.4, -1.2], [0.4, -0.4], [1.2, -0.4], [1.2, 0.4], [0.4, 0.4], [0.4, 1.2], [-0.4, 1.2], [-0.4, 0.4], [-1.2, 0.4], [-1.2, -0.4], [-0.4, -0.4]];

/* The corners of a regular polygon, every other one drawn in for a star. */
function corners(count, outer, inner = outer) {
  return Array.from({ length: count }, (_, k) => {
    const r = k % 2 ? inner : outer, at = (2 * Math.PI * k) / count;
    return [r * Math.sin(at), -r * Math.cos(at)];
  });
}

function markPath(place, r) {
  const polygon = (points) => "M" + points.map(([x, y]) => `${(x * r).toFixed(2)} ${(y * r).toFixed(2)}`).join("L") + "Z";
  const kinds = [
    `M${-r} 0A${r} ${r} 0 1 1 ${r} 0A${r} ${r} 0 1 1 ${-r} 0Z`,
    polygon([[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]]),
    polygon([[0, -1.3], [1.1, 0], [0, 1.3], [-1.1, 0]]),
    polygon([[0, -1.2], [1.1, 0.9], [-1.1, 0.9]]),
    polygon([[0, 1.2], [1.1, -0.9], [-1.1, -0.9]]),
    polygon(PLUS),
    polygon(PLUS.map(([x, y]) => [(x - y) * 0.75, (x + y) * 0.75])),
    polygon([[-1.2, 0], [0.9, -1.1], [0.9, 1.1]]),
    polygon([[1.2, 0], [-0.9, -1.1], [-0.9, 1.1]]),
    polygon(corners(5, 1.1)),
    polygon(corners(6, 1.1)),
    polygon(corners(10, 1.3, 0.55)),
  ];
  return kinds[place % kinds.length];
}

/* Few series lie far apart in colour; more than there are begin again, with another mark. */
function colourOf(place, count) {
  return `s${count > SERIES || count < 2 ? place % SERIES : Math.round((place * (SERIES - 1)) / (count - 1))}`;
}

/* What a series looks like: colour, dashes and mark differ, so that one is enough. That of an arm is
   the same in all charts. */
function look(place, series, count) {
  if (series.role === "front") return { colour: "ink", dash: "", mark: null };
  if (series.look) return { colour: `s${series.look.colour}`, dash: `d${series.look.mark % 4}`, mark: series.look.mark };
  if (series.by_row) return { colour: "ink", dash: "", mark: place };
  if (series.role === "mean") return { colour: "ink", dash: "", mark: null };
  return { colour: colourOf(place, count), dash: `d${place % 4}`, mark: place };
}

function short(text, width) {
  const most = Math.max(4, Math.floor(width / LETTER));
  return text.length <= most ? text : text.slice(0, most - 1) + "…";
}

/* A name in as many lines as fit into its row. */
function folded(text, width) {
  const most = Math.max(4, Math.floor(width / LETTER)), lines = [""];
  for (const word of text.split(" ")) {
    const line = `${lines.at(-1)} ${word}`.trim();
    if (line.length <= most || !lines.at(-1)) lines[lines.length - 1] = line;
    else lines.push(word);
  }
  return lines.length <= 2 ? lines.map((line) => short(line, width)) : [short(lines[0], width), short(lines.slice(1).join(" "), width)];
}

function axes(svg, figure, box, x, y) {
  const names = figure.x.names, many = names && names.length * 70 > box.right - box.left;
  const xTicks = names ? names.map((_, k) => k) : ticksOf(...x.range, Math.max(2, (box.right - box.left) / 75)).filter((tick) => !figure.x.whole || Number.isInteger(tick));
  for (const tick of xTicks) {
    const at = x.at(tick);
    if (!names) draw(svg, "line", { class: "grid", x1: at, x2: at, y1: box.top, y2: box.bottom });
    const label = { x: at, y: box.bottom + 16, "text-anchor": "middle" };
    if (many) Object.assign(label, { "text-anchor": "end", transform: `rotate(-45 ${at} ${box.bottom + 12})`, y: box.bottom + 14 });
    draw(svg, "text", label, names ? short(names[tick], 110) : write(tick));
  }
  const yNames = figure.y?.names ?? (figure.kind === "bars" ? figure.names : null);
  const yTicks = yNames ? yNames.map((_, k) => k) : ticksOf(...y.range, (box.bottom - box.top) / 45);
  for (const tick of yTicks) {
    const at = y.at(tick);
    if (!yNames) draw(svg, "line", { class: "grid", x1: box.left, x2: box.right, y1: at, y2: at });
    const key = figure.looks?.[tick], edge = box.left - (key ? 18 : 6);
    const lines = yNames ? folded(yNames[tick], edge - 8) : [write(tick)];
    const text = draw(svg, "text", { x: edge, y: at + 4, "text-anchor": "end" });
    lines.forEach((line, k) => draw(text, "tspan", { x: edge, y: at + 4 + 13 * (k - (lines.length - 1) / 2) }, line));
    if (yNames) draw(text, "title", {}, yNames[tick]);
    if (key) draw(svg, "path", { class: `solid s${key.colour}`, d: markPath(key.mark, 3.4), transform: `translate(${box.left - 9} ${at})` });
  }
  draw(svg, "path", { class: "axis thin soft", d: `M${box.left} ${box.top}V${box.bottom}H${box.right}` });
  const centre = (box.left + box.right) / 2;
  draw(svg, "text", { x: centre, y: box.height - 6, "text-anchor": "middle" }, short(figure.x.label, 2 * Math.min(centre, box.width - centre) - 4));
  if (!yNames && figure.y) {
    const middle = (box.top + box.bottom) / 2;
    draw(svg, "text", { x: 12, y: middle, "text-anchor": "middle", transform: `rotate(-90 12 ${middle})` }, short(figure.y.label, box.bottom - box.top + 20));
  }
}

function layOut(figure, width) {
  const yNames = figure.y?.names ?? (figure.kind === "bars" ? figure.names : null);
  const names = figure.x.names;
  let left = 62;
  if (yNames) left = Math.min(0.42 * width, (figure.looks ? 26 : 14) + LETTER * Math.max(...yNames.map((name) => name.length)));
  const rotated = names && names.length * 70 > width - left - 12;
  const below = rotated ? 38 + Math.min(80, 0.72 * LETTER * Math.max(...names.map((name) => Math.min(16, name.length)))) : 42;
  const height = yNames ? (figure.y?.row ?? 28) * yNames.length + below + 14 : Math.round(Math.min(400, Math.max(figure.small ? 150 : 240, 0.62 * width)));
  return { width, height, left, right: width - 12, top: 8, bottom: height - below };
}

function scale(range, from, to) {
  const [low, high] = range;
  // Only the ends of wide intervals lie outside; they are drawn to the edge.
  return { range, at: (value) => from + ((Math.min(high, Math.max(low, value)) - low) / (high - low)) * (to - from) };
}

function errorBar(group, one, low, high, across) {
  const cap = 4;
  const d = across
    ? `M${low} ${one}H${high}M${low} ${one - cap}v${2 * cap}M${high} ${one - cap}v${2 * cap}`
    : `M${one} ${low}V${high}M${one - cap} ${low}h${2 * cap}M${one - cap} ${high}h${2 * cap}`;
  draw(group, "path", { class: "thin", d });
}

function tell(figure, series, point) {
  const place = (axis, value) => (axis.names ? axis.names[value] : write(value));
  const lines = [series.name];
  const row = point.at ?? point.y;
  lines.push(figure.x.names ? place(figure.x, point.x) : `${figure.x.label.split(",")[0]}: ${place(figure.x, point.x)}${span(point.xlow, point.xhigh)}`);
  lines.push(figure.y.names ? place(figure.y, row) : `${figure.y.label.split(",")[0]}: ${place(figure.y, point.y)}${span(point.ylow, point.yhigh)}`);
  if (point.n) lines.push(`n = ${point.n}`);
  return lines.join("\n");
}

/* What the arms of the front make attainable, up to the edges of the chart. */
function staircase(series, spots, x, y) {
  const worst = y.at(y.range[series.worst === "low" ? 0 : 1]), [first, last] = [spots[0], spots.at(-1)];
  const post = series.steps === "post";
  let d = post ? `M${first[0]} ${worst}V${first[1]}` : `M${x.at(x.range[0])} ${first[1]}H${first[0]}`;
  for (const [px, py] of spots.slice(1)) d += post ? `H${px}V${py}` : `V${py}H${px}`;
  return d + (post ? `H${x.at(x.range[1])}` : `V${worst}`);
}

function drawSeries(svg, figure, series, place, x, y, marks) {
  const { colour, dash, mark } = look(place, series, figure.series.length);
  const group = draw(svg, "g", { class: colour });
  const points = series.points, spots = points.map((p) => [x.at(p.x), y.at(p.y)]);
  if (series.band && points.every((p) => p.ylow !== null && p.ylow !== undefined)) {
    const upper = points.map((p) => `${x.at(p.x)} ${y.at(p.yhigh)}`), lower = points.map((p) => `${x.at(p.x)} ${y.at(p.ylow)}`).reverse();
    draw(group, "path", { class: "band", d: `M${[...upper, ...lower].join("L")}Z` });
  }
  if (series.role === "front") draw(group, "path", { class: "front", d: staircase(series, spots, x, y) });
  else if (series.line) {
    // Nothing is known of what lies between places that do not follow each other.
    const joined = (k) => k > 0 && (!figure.x.names || points[k].x === points[k - 1].x + 1);
    draw(group, "path", { class: `stroke ${dash}`, d: spots.map(([px, py], k) => `${joined(k) ? "L" : "M"}${px} ${py}`).join("") });
  }
  const crowded = figure.series.length > SERIES + 1, every = series.line && (series.band || crowded || points.length > 20) ? Math.max(1, Math.floor(points.length / 8)) : 1;
  points.forEach((point, k) => {
    const [px, py] = spots[k];
    const bars = crowded && series.hollow ? draw(group, "g", { class: "faint" }) : group;
    if (!series.band && point.ylow !== null && point.ylow !== undefined) errorBar(bars, px, y.at(point.ylow), y.at(point.yhigh), false);
    if (point.xlow !== null && point.xlow !== undefined) errorBar(bars, py, x.at(point.xlow), x.at(point.xhigh), true);
    if (series.role === "mean") draw(group, "path", { class: "stroke", d: `M${px} ${py - 6}v12` });
    const own = series.by_row ? ` s${figure.looks[point.y].colour}` : "";
    if (mark !== null && k % every === 0) draw(group, "path", { class: (series.hollow ? "hollow" : "solid") + own, d: markPath(mark, series.line && every > 1 ? 3.2 : 4.6), transform: `translate(${px} ${py})` });
    if (series.role !== "front") marks.push({ x: px, y: py, text: tell(figure, series, point) });
  });
}

function drawXY(svg, figure, box, hidden) {
  const shown = figure.series.map((series, place) => ({ series, place })).filter((each) => !hidden.has(each.series.name));
  const points = shown.flatMap((each) => each.series.points), lines = (figure.lines ?? []).filter((line) => !hidden.has(line.name));
  const x = scale(figure.x.range ?? rangeOf([figure.x.line, ...points.flatMap((p) => [p.x, p.xlow, p.xhigh])], figure.x.names), box.left, box.right);
  const heights = [...points, ...lines].flatMap((p) => [p.y, p.ylow, p.yhigh]);
  const y = figure.y.names ? scale(rangeOf([], figure.y.names), box.top, box.bottom) : scale(figure.y.range ?? rangeOf(heights, null), box.bottom, box.top);
  axes(svg, figure, box, x, y);
  if (figure.x.line !== undefined) draw(svg, "path", { class: "axis", d: `M${x.at(figure.x.line)} ${box.top}V${box.bottom}` });
  const marks = [];
  lines.forEach((line, place) => {
    const group = draw(svg, "g", { class: "ink" });
    if (line.ylow !== null && line.ylow !== undefined) draw(group, "rect", { class: "band", x: box.left, width: box.right - box.left, y: y.at(line.yhigh), height: y.at(line.ylow) - y.at(line.yhigh) });
    draw(group, "path", { class: `stroke d${1 + (place % 3)}`, d: `M${box.left} ${y.at(line.y)}H${box.right}` });
    marks.push({ x: (box.left + box.right) / 2, y: y.at(line.y), text: `${line.name}\n${figure.y.label}: ${write(line.y)}${span(line.ylow, line.yhigh)}\nn = ${line.n}` });
  });
  shown.sort((a, b) => (b.series.role === "front") - (a.series.role === "front"));
  for (const { series, place } of shown) drawSeries(svg, figure, series, place, x, y, marks);
  return marks;
}

function drawBars(svg, figure, box, hidden) {
  const parts = figure.parts.map((part, place) => ({ part, place })).filter((each) => !hidden.has(each.part.name));
  const sums = figure.names.map((_, k) => parts.reduce((sum, { part }) => sum + (part.values[k] ?? 0), 0));
  const highs = figure.totals.map((total) => (total ? total[2] ?? total[0] : 0));
  const x = scale([0, 1.05 * Math.max(...sums, ...highs, 1e-9)], box.left, box.right), y = scale(rangeOf([], figure.names), box.top, box.bottom);
  axes(svg, figure, box, x, y);
  const marks = [];
  figure.names.forEach((name, k) => {
    let sum = 0;
    for (const { part, place } of parts) {
      const value = part.values[k];
      if (!value) continue;
      const group = draw(svg, "g", { class: colourOf(place, figure.parts.length) });
      const piece = { x: x.at(sum), width: x.at(sum + value) - x.at(sum), y: y.at(k) - 9, height: 18 };
      draw(group, "rect", { class: part.rest ? "rest" : "piece", ...piece });
      if (!part.rest && place % 2) draw(group, "rect", { ...piece, fill: `url(#hatch${place % 4})` });
      marks.push({ x: piece.x + piece.width / 2, y: y.at(k), half: piece.width / 2, text: `${name}\n${part.name}: ${write(value)} ${figure.unit}` });
      sum += value;
    }
    const total = figure.totals[k];
    if (!total || hidden.has(figure.total)) return;
    const group = draw(svg, "g", { class: "ink" });
    if (total[1] !== null) errorBar(group, y.at(k), x.at(total[1]), x.at(total[2]), true);
    draw(group, "path", { class: "hollow", d: markPath(2, 4.6), transform: `translate(${x.at(total[0])} ${y.at(k)})` });
    marks.push({ x: x.at(total[0]), y: y.at(k), text: `${name}\n${figure.total}: ${write(total[0])} ${figure.unit}${span(total[1], total[2])}` });
  });
  return marks;
}

function hatches(svg) {
  const defs = draw(svg, "defs");
  for (const [name, d] of [["hatch1", "M0 6L6 0"], ["hatch3", "M0 0L6 6"]]) {
    const pattern = draw(defs, "pattern", { id: name, width: 6, height: 6, patternUnits: "userSpaceOnUse" });
    draw(pattern, "path", { d, class: "soft", stroke: "#fff", "stroke-width": 1.1, "stroke-opacity": 0.75 });
  }
}

function legend(list, figure, hidden, redraw) {
  const bars = figure.kind === "bars";
  const entries = bars ? [...figure.parts, { name: figure.total, total: true }] : [...(figure.lines ?? []).map((line, k) => ({ ...line, across: k })), ...figure.series];
  entries.forEach((entry, k) => {
    const place = bars || entry.across !== undefined ? k : figure.series.indexOf(entry);
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-pressed", String(!hidden.has(entry.name)));
    const style = look(place, entry, bars ? figure.parts.length : figure.series.length);
    const svg = draw(button, "svg", { viewBox: "0 0 34 14", "aria-hidden": "true", class: "plot" });
    const group = draw(svg, "g", { class: entry.across !== undefined || entry.total ? "ink" : style.colour });
    if (bars && !entry.total) {
      draw(group, "rect", { class: entry.rest ? "rest" : "piece", x: 4, y: 1, width: 26, height: 12 });
      if (!entry.rest && place % 2) draw(group, "rect", { x: 4, y: 1, width: 26, height: 12, fill: `url(#hatch${place % 4})` });
    } else {
      const dash = entry.across !== undefined ? `d${1 + (entry.across % 3)}` : style.dash;
      if (entry.line || entry.role || entry.across !== undefined) draw(group, "path", { class: entry.role === "front" ? "front" : `stroke ${dash}`, d: "M1 7H33" });
      const mark = entry.total ? 2 : entry.across !== undefined ? null : style.mark;
      if (mark !== null) draw(group, "path", { class: entry.hollow || entry.total ? "hollow" : "solid", d: markPath(mark, 4.2), transform: "translate(17 7)" });
    }
    button.append(entry.name);
    button.addEventListener("click", () => {
      if (!hidden.delete(entry.name)) hidden.add(entry.name);
      redraw().children[k].querySelector("button").focus();
    });
    const item = document.createElement("li");
    item.append(button);
    list.append(item);
  });
}

function interact(plot, svg, box, marks, state) {
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.setAttribute("role", "status");
  tip.hidden = true;
  plot.append(tip);
  const ring = draw(svg, "circle", { class: "ring", r: 8, visibility: "hidden" });
  const show = (mark) => {
    tip.hidden = !mark;
    ring.setAttribute("visibility", mark ? "visible" : "hidden");
    if (!mark) return;
    tip.textContent = mark.text;
    ring.setAttribute("cx", mark.x);
    ring.setAttribute("cy", mark.y);
    const left = Math.min(Math.max(0, mark.x + 12), box.width - tip.offsetWidth);
    tip.style.left = `${Math.max(0, left)}px`;
    tip.style.top = `${mark.y + 14 + tip.offsetHeight > box.height + 60 ? mark.y - tip.offsetHeight - 12 : mark.y + 14}px`;
  };
  svg.addEventListener("pointermove", (event) => {
    const at = svg.getBoundingClientRect(), px = event.clientX - at.left, py = event.clientY - at.top;
    let best = null, nearest = 26;
    for (const mark of marks) {
      const distance = Math.hypot(Math.max(0, Math.abs(mark.x - px) - (mark.half ?? 0)), mark.y - py);
      if (distance < nearest) [best, nearest] = [mark, distance];
    }
    show(best);
  });
  svg.addEventListener("pointerleave", () => show(null));
  svg.addEventListener("blur", () => show(null));
  svg.addEventListener("focus", () => svg.matches(":focus-visible") && marks.length && show(marks[(state.at = Math.min(state.at, marks.length - 1))]));
  svg.addEventListener("keydown", (event) => {
    const last = marks.length - 1;
    const moves = { ArrowRight: state.at + 1, ArrowDown: state.at + 1, ArrowLeft: state.at - 1, ArrowUp: state.at - 1, Home: 0, End: last };
    if (event.key === "Escape") return show(null);
    if (!(event.key in moves) || last < 0) return;
    event.preventDefault();
    state.at = Math.min(last, Math.max(0, moves[event.key]));
    show(marks[state.at]);
  });
}

function drawChart(plot, figure, state) {
  const width = Math.max(260, plot.clientWidth), box = layOut(figure, width), hidden = (state.hidden[figure.title] ??= new Set());
  plot.replaceChildren();
  const label = `${figure.title}. Arrow keys go from mark to mark.`;
  const svg = draw(plot, "svg", { viewBox: `0 0 ${box.width} ${box.height}`, height: box.height, tabindex: 0, role: "img", "aria-label": label });
  hatches(svg);
  const marks = (figure.kind === "bars" ? drawBars : drawXY)(svg, figure, box, hidden);
  interact(plot, svg, box, marks, state);
  if (figure.small) return null;
  const list = document.createElement("ul");
  list.className = "legend";
  legend(list, figure, hidden, () => drawChart(plot, figure, state));
  plot.append(list);
  if (figure.x.range || figure.y?.range) {
    const note = document.createElement("p");
    note.className = "hint";
    note.textContent = "Intervals that touch the edge reach beyond it.";
    plot.append(note);
  }
  return list;
}

/* The curves of one run, a small chart for each. */
function drawRun(place, curves) {
  for (const [name, [epochs, values]] of Object.entries(curves ?? {})) {
    const points = epochs.map((epoch, k) => ({ x: epoch, y: values[k] }));
    const figure = {
      kind: "xy", small: true, title: `${name} of ${place.dataset.run}`, x: { label: "epoch", whole: true }, y: { label: name },
      series: [{ name, line: true, points, look: { colour: 3, mark: 0 } }],
    };
    const chart = document.createElement("div"), head = document.createElement("h4"), plot = document.createElement("div");
    plot.className = "plot";
    head.textContent = name;
    chart.append(head, plot);
    place.append(chart);
    drawChart(plot, figure, { hidden: {}, at: 0 });
  }
}

function startCharts(root, groups) {
  for (const chart of root.querySelectorAll(".chart")) {
    const figures = groups[chart.dataset.group], plot = chart.querySelector(".plot"), select = chart.querySelector("select");
    const state = (chartStates[chart.dataset.group] ??= { title: figures[0].title, hidden: {}, at: 0 });
    const current = () => figures.find((figure) => figure.title === state.title) ?? figures[0];
    if (select) {
      select.value = String(figures.indexOf(current()));
      select.addEventListener("change", () => {
        Object.assign(state, { title: figures[Number(select.value)].title, at: 0 });
        drawChart(plot, current(), state);
      });
    }
    let width = 0;
    new ResizeObserver(() => {
      if (plot.clientWidth === width) return;
      width = plot.clientWidth;
      drawChart(plot, current(), state);
    }).observe(plot);
  }
}
