"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const FILTERS = ["algorithm", "environment", "method", "format", "verdict"];
const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1", "#7F7F7F", "#B8860B", "#20B2AA"];
const SYMBOLS = { kept: "circle", lost: "x", undecided: "diamond-open", baseline: "star", "no baseline": "square-open" };
const PAGE = 100;
const W = data.words, MODELS = W.across === "tasks";
const COSTS = { bytes: "model bytes", latency: `seconds of one ${W.answer}`, energy: `joules of one ${W.answer}`, file: "file bytes" };
const number = (value, digits = 3) => (value === null || value === undefined ? "-" : Number(value.toPrecision(digits)).toLocaleString("en"));
const percent = (value) => (value === null || value === undefined ? "-" : (100 * value).toFixed(1) + " %");
const interval = (row) => (row.retention === null ? "-" : `${percent(row.retention)} [${row.low === null ? "-inf" : (100 * row.low).toFixed(0)}, ${row.high === null ? "inf" : (100 * row.high).toFixed(0)}]`);
const prefixed = (value, unit) => {
  if (value === null) return "-";
  const [factor, prefix] = [[1, ""], [1e3, "m"], [1e6, "u"], [1e9, "n"]].find(([f]) => value * f >= 1) || [1e9, "n"];
  return `${number(value * factor)} ${prefix}${unit}`;
};

const factorText = (value) => value.toFixed(value < 0.95 ? 2 : 1) + "x";
const COLUMNS = [
  ["policy", W.subject, (r) => r.policy],
  ["recipe", "recipe", (r) => r.recipe],
  ["format", "format", (r) => r.format],
  ["verdict", "verdict", (r) => r.verdict],
  ["retention", "retention [95 %]", interval],
  ["mean", W.score, (r) => (MODELS ? r.score : number(r.mean, 5))],
  ...(MODELS ? [] : [["early", "ended early", (r) => (r.early === null ? "-" : `${r.early} of ${r.n}`)]]),
  ["worst", "worst 10 %", (r) => number(r.worst, 4)],
  ["bytes", "bytes", (r) => (r.bytes === null ? "-" : r.bytes.toLocaleString("en"))],
  ["smaller", "smaller", (r) => (r.smaller === null ? "-" : factorText(r.smaller))],
  ["latency", `one ${W.answer}`, (r) => prefixed(r.latency, "s")],
  ["faster", "faster", (r) => (r.faster === null ? "-" : factorText(r.faster))],
  ["energy", "energy", (r) => prefixed(r.energy, "J")],
  ["seed", "seed", (r) => String(r.seed)],
];
for (const [key, title] of data.columns) COLUMNS.push([key, title, (r) => r.figures[key] ?? "-"]);
const SHOWN = COLUMNS.filter(([, , show]) => data.rows.some((row) => show(row) !== "-"));
const TEXT = new Set(["policy", "recipe", "format", "verdict"]);
let sorted = { key: null, up: true }, page = 0;

function unique(key) { return [...new Set(data.rows.map((row) => row[key]))].sort(); }
function chosen() {
  const wanted = Object.fromEntries(FILTERS.map((key) => [key, byId("filter-" + key).value]));
  return data.rows.filter((row) => FILTERS.every((key) => !wanted[key] || row[key] === wanted[key]));
}
function style(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }
function narrow() { return innerWidth < 640; }
function draw(element, traces, layout) {
  const axis = { gridcolor: style("--line"), zerolinecolor: style("--line"), linecolor: style("--line"), automargin: true };
  const small = narrow(), named = traces.filter((t) => t.name && t.showlegend !== false);
  const legend = traces.length > 1 && !(small && named.length > 16), below = small && legend ? named.reduce((sum, t) => sum + 6 + 13 * t.name.split("<br>").length, 10) : 0;
  const title = wrapped(layout.title.text, small ? 40 : 120), lines = title.split("<br>").length;
  const size = small ? 14 : layout.title.font?.size || 17;
  element.style.height = "";
  if (below) element.style.height = element.clientHeight + below + "px";
  else if (layout.height) element.style.height = layout.height + "px";
  const base = { paper_bgcolor: style("--back"), plot_bgcolor: style("--back"), font: { color: style("--text"), family: "system-ui, sans-serif", size: small ? 11 : 13 }, margin: { l: 60, r: 12, t: 22 + 20 * lines, b: 50 + below }, hoverlabel: { align: "left" }, legend: small ? { x: 0, xanchor: "left", y: 0, yref: "container", yanchor: "bottom", font: { size: 10 }, tracegroupgap: 0 } : {}, showlegend: legend };
  const { height: _, ...given } = layout;
  const full = { ...base, ...given, title: { text: title, font: { size }, y: 1, yref: "container", yanchor: "top", pad: { t: 2 + 10 * lines } }, xaxis: { ...axis, ...layout.xaxis }, yaxis: { ...axis, ...layout.yaxis } };
  return Plotly.react(element, traces, full, { responsive: true, displaylogo: false, displayModeBar: small ? false : "hover" });
}
function none(element, text) {
  Plotly.purge(element);
  element.innerHTML = "";
  element.style.height = "auto";
  const p = document.createElement("p");
  p.className = "empty"; p.textContent = text;
  element.append(p);
}
function fresh(element) { if (element.querySelector(".empty")) element.innerHTML = ""; element.style.height = ""; }
function wrapped(text, width = 50) {
  const lines = [""];
  for (const word of text.split(/(?<=[ ,|])/)) {
    if ((lines.at(-1) + word).trim().length > width && lines.at(-1)) lines.push(word);
    else lines.push(lines.pop() + word);
  }
  return lines.map((line) => line.trim().replace(/&/g, "&amp;").replace(/</g, "&lt;")).join("<br>");
}
function asRow(text) { return wrapped(text, narrow() ? 20 : 36); }
function times(factor, more, less, digits = 1) { return factor === null ? "-" : factor < 1 ? `${(1 / factor).toFixed(digits)}x ${less}` : `${factor.toFixed(digits)}x ${more}`; }
function groups(rows, of) {
  const found = new Map();
  for (const row of rows) { const key = of(row); if (!found.has(key)) found.set(key, []); found.get(key).push(row); }
  return [...found.entries()];
}
function colourOf(key, value) { return COLOURS[unique(key).indexOf(value) % COLOURS.length]; }
function bars(rows) {
  const ends = rows.map((r) => [r.high === null ? 0 : r.high - r.retention, r.low === null ? 0 : r.retention - r.low]);
  return { type: "data", symmetric: false, array: ends.map((e) => 100 * e[0]), arrayminus: ends.map((e) => 100 * e[1]), thickness: 1, width: 2, color: "rgba(128,128,128,.45)" };
}
function hover(row) { return `<b>${wrapped(row.recipe)}</b><br>${wrapped(row.policy)}, ${row.format}<br>${row.verdict}, retention ${interval(row)}, n=${row.n}<br>${row.bytes === null ? "-" : row.bytes.toLocaleString("en")} bytes, ${times(row.smaller, "smaller", "larger")}`; }
function clip(rows) {
  const low = Math.min(-0.05, ...rows.map((r) => Math.max(r.retention, -0.5)));
  const high = Math.max(1.1, ...rows.map((r) => Math.min(r.retention, 1.6)));
  return [100 * low - 3, 100 * high + 5];
}
function keepLine() { return [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: 100 * data.keep, y1: 100 * data.keep, line: { dash: "dash", width: 1, color: style("--soft") } }]; }

function frontier(rows) {
  const element = byId("plot-frontier"), cost = byId("cost").value, colour = byId("colour").value;
  const shown = rows.filter((row) => row.retention !== null && row[cost] !== null);
  if (!shown.length) return none(element, `No cell here has both a retention and its ${COSTS[cost]}.`);
  fresh(element);
  const traces = groups(shown, (row) => row[colour]).map(([name, own]) => ({
    type: "scatter", mode: "markers", name: wrapped(name), x: own.map((r) => r[cost]), y: own.map((r) => 100 * r.retention), error_y: bars(own),
    marker: { size: 9, color: colourOf(colour, name), symbol: own.map((r) => SYMBOLS[r.verdict] || "circle-open") },
    text: own.map(hover), hovertemplate: "%{text}<extra></extra>", customdata: own,
  }));
  if (new Set(shown.map((r) => r.policy + r.format)).size === 1) {
    let top = -Infinity;
    const edge = [...shown].sort((a, b) => a[cost] - b[cost]).filter((r) => r.retention > top && (top = r.retention, true));
    traces.push({ type: "scatter", mode: "lines", name: "frontier", x: edge.map((r) => r[cost]), y: edge.map((r) => 100 * r.retention), line: { shape: "hv", width: 1, color: style("--soft") }, hoverinfo: "skip" });
  }
  draw(element, traces, { title: { text: "circle: kept, x: lost, open diamond: undecided", font: { size: 12 } }, xaxis: { title: { text: COSTS[cost] }, type: "log" }, yaxis: { title: { text: "retention, %" }, range: clip(shown) }, shapes: keepLine() });
  if (!element.dataset.click) { element.dataset.click = "1"; element.on("plotly_click", (event) => event.points[0].customdata && detail(event.points[0].customdata)); }
}

const CURVES = { ratio: "Share of the units removed", sparsity: "Share of the weights set to zero", weight_bits: "Bits of a weight", activation_bits: "Bits of an activation", hidden: "Hidden units", observations: "Calibration observations", samples: "Samples of calibration text" };
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
function spot(x, same, line) {
  const ends = same.map((r) => r.retention), one = same.length === 1;
  return { x, retention: mean(ends), low: one ? same[0].low : Math.min(...ends), high: one ? same[0].high : Math.max(...ends), text: one ? hover(same[0]) : `${wrapped(same[0].policy)}<br>${wrapped(line)}, ${same.length} seeds; bars are their range` };
}
function curves(rows) {
  const holder = byId("plots-curves");
  const points = rows.filter((row) => row.retention !== null).flatMap((row) => row.curves.map(([line, parameter, x]) => ({ row, line, parameter, x })));
  const key = (p) => JSON.stringify([p.parameter, p.line, p.row.policy, p.row.format]);
  const lines = groups(points, key).map(([, own]) => own).filter((own) => new Set(own.map((p) => p.x)).size > 1);
  holder.innerHTML = "";
  if (!lines.length) { const p = document.createElement("p"); p.className = "empty"; p.textContent = "No recipe here goes through several ratios or bits."; holder.append(p); return; }
  for (const [kind, own] of groups(lines, (line) => line[0].parameter)) {
    const element = document.createElement("div");
    element.className = "plot tall"; element.setAttribute("role", "img"); element.setAttribute("aria-label", `${CURVES[kind] || kind} against retention`);
    holder.append(element);
    const names = [...new Set(own.map((line) => line[0].line))], policies = [...new Set(own.map((line) => line[0].row.policy))];
    const byName = policies.length === 1, many = own.length > 12;
    const colour = (line) => COLOURS[(byName || many ? names.indexOf(line[0].line) : policies.indexOf(line[0].row.policy)) % COLOURS.length];
    const spotsOf = (line) => groups(line, (p) => p.x).sort((a, b) => a[0] - b[0]).map(([x, same]) => spot(x, same.map((p) => p.row), line[0].line));
    const traces = own.map((line) => {
      const { line: name, row } = line[0], spots = spotsOf(line);
      return { type: "scatter", mode: "lines+markers", name: wrapped(byName ? `${name}, ${row.format}` : many || names.length === 1 ? row.policy : `${row.policy}, ${name}`), showlegend: !many, opacity: many ? 0.35 : 1, x: spots.map((s) => s.x), y: spots.map((s) => 100 * s.retention), error_y: many ? undefined : { ...bars(spots), color: undefined }, marker: { size: many ? 4 : 6 }, line: { width: many ? 1 : 2, color: colour(line), dash: ["solid", "dash", "dot", "dashdot"][(byName || many ? 0 : names.indexOf(name)) % 4] }, text: spots.map((s) => s.text), hovertemplate: "%{text}<extra></extra>" };
    });
    if (many) for (const name of names) {
      const same = own.filter((line) => line[0].line === name).flatMap(spotsOf);
      const middles = groups(same, (s) => s.x).sort((a, b) => a[0] - b[0]).map(([x, spots]) => [x, middle(spots.map((s) => s.retention)), spots.length]);
      traces.push({ type: "scatter", mode: "lines+markers", name: wrapped(name), showlegend: true, x: middles.map((m) => m[0]), y: middles.map((m) => 100 * m[1]), marker: { size: 7 }, line: { width: 3.5, color: COLOURS[names.indexOf(name) % COLOURS.length] }, text: middles.map((m) => `<b>${wrapped(name)}</b><br>median ${percent(m[1])} of ${m[2]}`), hovertemplate: "%{text}<extra></extra>" });
    }
    const whole = kind.endsWith("bits") ? { dtick: 1 } : kind === "samples" ? { type: "log", tickvals: [...new Set(own.flatMap((line) => line.map((p) => p.x)))] } : {};
    draw(element, traces, { title: { text: `${CURVES[kind] || kind}${names.length === 1 && !byName ? ", " + wrapped(names[0]) : ""}${many ? ": medians thick, each ${W.subject} thin" : ""}`, font: { size: 14 } }, xaxis: { title: { text: kind }, ...whole }, yaxis: { title: { text: "retention, %" }, range: clip(own.flatMap(spotsOf)) }, shapes: keepLine(), ...(many ? { showlegend: true } : {}) });
  }
}
function middle(values) { const v = [...values].sort((a, b) => a - b), n = v.length >> 1; return v.length % 2 ? v[n] : (v[n - 1] + v[n]) / 2; }

function heat(rows) {
  const element = byId("plot-heat"), shown = rows.filter((row) => row.retention !== null);
  if (!shown.length) return none(element, "No cell here has a retention.");
  fresh(element);
  const key = MODELS ? "environment" : "algorithm", xs = [...new Set(shown.map((r) => r[key]))].sort(), ys = [...new Set(shown.map((r) => r.method))].sort().reverse();
  const at = (y, x) => shown.filter((r) => r.method === y && r[key] === x);
  const z = ys.map((y) => xs.map((x) => { const own = at(y, x); return own.length ? 100 * mean(own.map((r) => r.retention)) : null; }));
  const text = ys.map((y) => xs.map((x) => { const own = at(y, x); return own.length ? `${(100 * mean(own.map((r) => r.retention))).toFixed(0)} %<br>n=${own.length}` : ""; }));
  draw(element, [{ type: "heatmap", x: xs, y: ys.map(asRow), z, text, texttemplate: xs.length < 14 ? "%{text}" : "", hovertemplate: "%{y}, %{x}<br>%{text}<extra></extra>", zmin: 0, zmax: 100, colorscale: "Cividis", xgap: 2, ygap: 2, showscale: !narrow(), colorbar: { title: { text: "%" }, thickness: 12 } }], { title: { text: "Mean retention over all cells" }, height: 150 + 46 * ys.length, xaxis: { tickangle: xs.length > 6 ? -35 : 0 } });
}

function profile() {
  const element = byId("plot-profile");
  if (!data.profiles.length) return none(element, "Performance profiles need at least two cells of a method.");
  fresh(element);
  const traces = data.profiles.flatMap((line, n) => [
    { type: "scatter", mode: "lines", x: [...line.thresholds, ...[...line.thresholds].reverse()].map((t) => 100 * t), y: [...line.high, ...[...line.low].reverse()], fill: "toself", fillcolor: COLOURS[n % COLOURS.length] + "22", line: { width: 0 }, hoverinfo: "skip", showlegend: false, legendgroup: line.method },
    { type: "scatter", mode: "lines", name: wrapped(line.method, 40), legendgroup: line.method, x: line.thresholds.map((t) => 100 * t), y: line.estimate, line: { color: COLOURS[n % COLOURS.length] } },
  ]);
  draw(element, traces, { title: { text: "Share of cells that keep more than x (all cells)" }, xaxis: { title: { text: "retention, %" } }, yaxis: { title: { text: "share of cells" }, range: [0, 1.02] } });
}

function improvement() {
  const element = byId("plot-improvement"), pairs = data.improvements;
  if (!pairs.length) { element.nextElementSibling.hidden = true; return none(element, `The probability of improvement needs two methods, and several cells of one, on the same ${W.subjects}.`); }
  fresh(element);
  const names = [...new Set(pairs.map((p) => p.ours))], rows = [...names].reverse();
  const at = (ours, theirs) => pairs.find((p) => p.ours === ours && p.theirs === theirs);
  const z = rows.map((ours) => names.map((theirs) => at(ours, theirs)?.estimate ?? null));
  const text = rows.map((ours) => names.map((theirs) => { const p = at(ours, theirs); return p ? p.estimate.toFixed(2) : ""; }));
  const hovers = rows.map((ours) => names.map((theirs) => { const p = at(ours, theirs); return p ? `${wrapped(ours)}<br>keeps more than ${wrapped(theirs)}<br>with probability ${p.estimate.toFixed(3)} [${p.low.toFixed(3)}, ${p.high.toFixed(3)}], ${p.n} ${W.subjects}` : ""; }));
  const numbers = names.map((_, n) => String(n + 1)), labels = names.map((name, n) => asRow(`(${n + 1}) ${name}`));
  draw(element, [{ type: "heatmap", x: numbers, y: [...labels].reverse(), z, text, texttemplate: "%{text}", hovertext: hovers, hovertemplate: "%{hovertext}<extra></extra>", zmin: 0, zmax: 1, zmid: 0.5, colorscale: "RdBu", xgap: 2, ygap: 2, showscale: !narrow(), colorbar: { thickness: 12 } }], { title: { text: "Probability of improvement: row over column" }, height: 165 + 42 * names.length, xaxis: { type: "category", tickangle: 0, title: { text: "method, by its number" } } });
}

function calibrationSpread(rows) {
  const element = byId("plot-calibration"), kept = rows.filter((row) => row.calibration && row.retention !== null);
  const draws = groups(kept, (r) => JSON.stringify([r.policy, r.format, r.drawn])).map(([, own]) => own).filter((own) => own.length > 1);
  const shown = draws.flatMap((own) => { const level = mean(own.map((r) => r.retention)); return own.map((row) => ({ row, off: 100 * (row.retention - level) })); });
  if (new Set(shown.map((s) => JSON.stringify(s.row.calibration))).size < 2) return none(element, "One kind of calibration data at most, or one draw of it: no spread to show.");
  fresh(element);
  const traces = groups(shown, (s) => s.row.calibration[0]).map(([name, own], n) => ({ type: "box", name: wrapped(name), x: own.map((s) => `${s.row.calibration[1]}, ${s.row.calibration[2]}`), y: own.map((s) => s.off), boxpoints: "outliers", marker: { color: COLOURS[n % COLOURS.length], size: 3 }, text: own.map((s) => hover(s.row)), hoverinfo: "text" }));
  const far = Math.min(60, Math.max(5, ...shown.map((s) => Math.abs(s.off))));
  draw(element, traces, { title: { text: "What the draw of the calibration data does: retention less its mean over the draws", font: { size: 14 } }, boxmode: "group", yaxis: { title: { text: "points of percentage" }, range: [-1.05 * far, 1.05 * far] }, xaxis: { tickangle: -30, title: { text: MODELS ? "source, samples" : "source, observations" } } });
}

function table(rows) {
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = rows.filter((row) => { const text = `${row.policy} ${row.recipe} ${row.method} ${row.format} ${row.verdict} ${row.reason}`.toLowerCase(); return words.every((word) => text.includes(word)); });
  if (sorted.key !== null) {
    const sign = sorted.up ? 1 : -1, key = sorted.key;
    const missing = (value) => value === null || value === undefined;
    shown = [...shown].sort((a, b) => missing(a[key]) ? (missing(b[key]) ? 0 : 1) : missing(b[key]) ? -1 : sign * (TEXT.has(key) ? a[key].localeCompare(b[key]) : a[key] - b[key]));
  }
  const pages = Math.max(1, Math.ceil(shown.length / PAGE));
  page = Math.min(page, pages - 1);
  const body = byId("table").tBodies[0];
  body.replaceChildren(...shown.slice(page * PAGE, (page + 1) * PAGE).map((row) => {
    const line = document.createElement("tr");
    SHOWN.forEach(([key, , show]) => {
      const cell = line.insertCell();
      cell.textContent = show(row);
      if (key === "recipe") cell.className = "recipe";
      else if (key === "verdict") { cell.className = row.verdict; if (row.reason) cell.title = row.reason; }
      else if (!TEXT.has(key)) cell.className = "number";
    });
    const button = document.createElement("button");
    button.type = "button"; button.textContent = "Record"; button.setAttribute("aria-label", `Record of ${row.recipe}, ${row.policy}`);
    button.onclick = () => detail(row);
    line.insertCell().append(button);
    return line;
  }));
  byId("page").textContent = `${shown.length.toLocaleString("en")} cells, page ${page + 1} of ${pages}`;
  byId("previous").disabled = page === 0;
  byId("next").disabled = page === pages - 1;
}

function heading() {
  const row = document.createElement("tr");
  for (const [key, title] of SHOWN) {
    const cell = document.createElement("th"), button = document.createElement("button");
    cell.scope = "col"; button.type = "button"; button.textContent = title; button.dataset.key = key;
    if (!TEXT.has(key)) cell.className = "number";
    button.onclick = () => {
      sorted = { key, up: sorted.key === key ? !sorted.up : true };
      for (const other of row.cells) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", sorted.up ? "ascending" : "descending");
      page = 0; table(chosen());
    };
    cell.append(button); row.append(cell);
  }
  const last = document.createElement("th");
  last.scope = "col"; last.textContent = "more"; row.append(last);
  byId("table").tHead.append(row);
}

function detail(row) {
  byId("detail-title").textContent = row.recipe;
  const list = document.createElement("dl");
  const facts = [[W.subject, row.policy], ["format", row.format], ["verdict", row.verdict + (row.reason ? ": " + row.reason : "")], ["retention [95 %]", interval(row)], [W.items, String(row.n)], [`${W.items} needed`, row.needed === null ? "-" : row.needed.toLocaleString("en")], [W.score, `${number(row.mean, 6)}${row.sd === null ? "" : ", sd " + number(row.sd, 4)}${row.worst === null ? "" : ", worst tenth " + number(row.worst, 5)}`], [`baseline, ${W.floor}`, `${number(row.baseline, 6)}, ${number(row.random, 6)}`], ["model bytes", row.bytes === null ? "-" : `${row.bytes.toLocaleString("en")} (${times(row.smaller, "smaller", "larger", 2)})`], ["file bytes", row.file === null ? "-" : row.file.toLocaleString("en")], ["multiply-accumulates", row.macs === null ? "-" : row.macs.toLocaleString("en")], [`one ${W.answer}`, `${prefixed(row.latency, "s")} (p99 ${prefixed(row.p99, "s")})${row.faster === null ? "" : ", " + times(row.faster, "faster", "slower")}`], ["memory", row.memory === null ? "-" : `${(row.memory / 2 ** 20).toFixed(2)} MiB over an identity ${W.subject}`], ["energy", prefixed(row.energy, "J")], ["compression seed", String(row.seed)], ...row.said.map((one) => ["said of it", one]), ...row.notes.map((note) => ["not measured", note])];
  for (const [name, value] of facts) { const dt = document.createElement("dt"), dd = document.createElement("dd"); dt.textContent = name; dd.textContent = value; list.append(dt, dd); }
  for (const digest of row.records) { const dt = document.createElement("dt"), dd = document.createElement("dd"), a = document.createElement("a"); dt.textContent = "record"; a.href = `records/${digest}.json`; a.textContent = digest.slice(0, 16); dd.append(a); list.append(dt, dd); }
  byId("detail-body").replaceChildren(list);
  byId("detail").showModal();
}

function update() {
  const rows = chosen();
  byId("count").textContent = `${rows.length.toLocaleString("en")} of ${data.rows.length.toLocaleString("en")} cells`;
  frontier(rows); curves(rows); heat(rows); calibrationSpread(rows); page = 0; table(rows);
}
function theme(name) {
  document.documentElement.dataset.theme = name;
  byId("theme").textContent = name === "dark" ? "Light" : "Dark";
}
theme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
for (const key of FILTERS) {
  const select = byId("filter-" + key);
  select.append(new Option("all", ""), ...unique(key).map((value) => new Option(value, value)));
  select.onchange = update;
}
byId("theme").onclick = () => { theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"); update(); profile(); improvement(); };
byId("filters").addEventListener("reset", () => setTimeout(update));
byId("cost").onchange = byId("colour").onchange = () => frontier(chosen());
byId("search").oninput = () => { page = 0; table(chosen()); };
byId("previous").onclick = () => { page -= 1; table(chosen()); };
byId("next").onclick = () => { page += 1; table(chosen()); };
byId("close").onclick = () => byId("detail").close();
heading(); update(); profile(); improvement();
