"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const element = (tag, text = "", attributes = {}) => {
  const made = Object.assign(document.createElement(tag), { textContent: text });
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
};

// A cell's number, or -Infinity for a state or a dash: these sort behind all numbers, best first.
const numberOf = (text) => {
  const found = /^[+-]?\d+(\.\d+)?(?=$| ±|\*)/.exec(text);
  return found ? Number(found[0]) : -Infinity;
};
const sortBy = (table, head, column) => {
  const falling = head.getAttribute("aria-sort") !== "descending";
  table.querySelectorAll("th[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", falling ? "descending" : "ascending");
  const text = (row) => row.cells[column].dataset.text;
  const compare = (one, other) => head.classList.contains("number")
    ? numberOf(text(one)) - numberOf(text(other)) || 0
    : text(other).localeCompare(text(one));
  const rows = [...table.tBodies[0].rows].sort(compare);
  rows.forEach((row) => row.classList.remove("opens"));
  table.tBodies[0].append(...(falling ? rows.reverse() : rows));
};

const scaleOf = (metric) => data.scales[metric] ?? 100;
const shown = (metric, value, digits = 2) => (value === null ? "–" : (value * scaleOf(metric)).toFixed(digits));
const openCell = (table, row, metric, { text, paper }) => {
  const cell = row.cells[metric];
  const body = byId("cell-body");
  byId("cell-title").textContent = `${metric}, ${row.group} ${row.label}`;
  const said = cell.mean === null ? [`No number: ${cell.missing}.`] : [
    `${table.protocol}: ${text}` + (cell.std === null ? ", one seed" : ` over ${cell.n} seeds`),
    ...(cell.std && cell.interval ? [`95 % interval of the mean: ${cell.interval.map((end) => shown(metric, end)).join(" to ")}`] : []),
  ];
  if (paper) said.push(`Paper: ${paper}`);
  const against = cell.against_paper;
  if (against) said.push(`Against the paper: ${shown(metric, against.difference)}, ${against.verdict}` + (against.expected ? `; expected ${against.expected.map((end) => shown(metric, end)).join(" to ")}` : ""));
  const list = element("table");
  const head = list.createTHead().insertRow();
  ["Seed", metric, "Hours", "Attempts", "Commit", "Digest", "Record"].forEach((text) => head.append(element("th", text, { scope: "col" })));
  const lines = list.createTBody();
  for (const [seed, file] of Object.entries(row.records)) {
    const record = data.records[file];
    const line = lines.insertRow();
    [seed, shown(metric, cell.seeds[seed] ?? null), record.hours.toFixed(3), record.attempts, record.commit.slice(0, 12), record.digest.slice(0, 12)]
      .forEach((text) => line.insertCell().append(String(text)));
    line.insertCell().append(element("code", file));
  }
  const wide = element("div", "", { class: "wide", tabindex: "0", role: "region", "aria-label": "Records" });
  wide.append(list);
  body.replaceChildren(...said.map((text) => element("p", text)), element("p", `Row ${row.id}. ${row.note}`), wide);
  byId("cell").showModal();
};

for (const table of document.querySelectorAll("table.report")) {
  const content = data.tables[table.dataset.table];
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = element("button", head.textContent, { type: "button" });
    head.replaceChildren(button);
    button.addEventListener("click", () => sortBy(table, head, column));
  });
  for (const line of table.tBodies[0].rows) {
    const row = content.rows.find((each) => each.id === line.dataset.row);
    line.cells[0].dataset.text = line.cells[0].textContent;
    line.querySelectorAll("td").forEach((cell, place) => {
      const button = element("button", "", { type: "button", "aria-haspopup": "dialog" }), measured = cell.querySelector(".measured");
      cell.dataset.metric = content.metrics[place];
      button.append(...measured.childNodes);
      measured.append(button);
      measured.classList.toggle("gap", numberOf(cell.dataset.text) === -Infinity);
      button.addEventListener("click", () => openCell(content, row, cell.dataset.metric, cell.dataset));
    });
  }
}
for (const button of document.querySelectorAll("button.seeds")) {
  button.addEventListener("click", () => {
    const show = button.getAttribute("aria-pressed") === "false";
    button.setAttribute("aria-pressed", String(show));
    const content = data.tables[button.dataset.table];
    for (const cell of document.querySelectorAll(`table[data-table="${button.dataset.table}"] td`)) {
      cell.querySelector("ol")?.remove();
      if (!show) continue;
      const row = content.rows.find((each) => each.id === cell.parentNode.dataset.row);
      const list = element("ol");
      for (const [seed, value] of Object.entries(row.cells[cell.dataset.metric].seeds)) list.append(element("li", `${seed}: ${shown(cell.dataset.metric, value)}`));
      if (list.children.length) cell.append(list);
    }
  });
}
