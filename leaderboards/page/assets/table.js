const chosen = page.columns.map(() => true);
const order = { by: null, descending: false };
const NAMES = ["model", "method"];

function sortKey(line) {
  if (typeof order.by === "string") return line[order.by];
  const cell = line.cells[order.by];
  return cell ? cell.value : null;
}

// By the unrounded number; what has no number stays last in either direction.
function compare(one, other) {
  const [mine, theirs] = [sortKey(one), sortKey(other)];
  if (mine === null || theirs === null) return (mine === null) - (theirs === null);
  const sign = typeof mine === "string" ? mine.localeCompare(theirs) : mine - theirs;
  return order.descending ? -sign : sign;
}

function shownColumns() {
  return page.columns.map((_, place) => place).filter((place) => chosen[place] && passes(page.columns[place]));
}

function header(by, title, attributes) {
  const state = order.by === by ? (order.descending ? "descending" : "ascending") : "none";
  const cell = element("th", { scope: "col", "aria-sort": state, ...attributes });
  const press = () => {
    order.descending = order.by === by && !order.descending;
    order.by = by;
    drawTable();
    document.querySelector(`#results thead button[data-by="${by}"]`).focus();
  };
  cell.append(button(title, press, { "data-by": String(by) }));
  return cell;
}

function numberCell(line, place) {
  const [cell, column] = [line.cells[place], page.columns[place]];
  if (cell === null) return element("td", { class: "number" }, element("span", {}, "-"));
  const parts = [
    element("span", { class: cell.best ? "value best" : "value" }, cell.number),
    element("span", { class: "interval" }, cell.interval),
  ];
  const about = `${column.title}: ${cell.number} ${cell.interval}; ${cell.further}`;
  const names = { model: line.model, method: line.method, task: column.task, judge: column.judge };
  const content = column.readable
    ? button(parts, () => openReader(names), { title: about, "aria-label": `${line.method}, ${about}; read responses` })
    : element("span", { title: about }, ...parts);
  return element("td", { class: "number" }, content);
}

function drawTable() {
  const columns = shownColumns();
  const lines = page.lines.filter((line) => passes({ model: line.model, method: line.method }));
  if (order.by !== null) lines.sort(compare);
  const several = unique(page.lines.map((line) => line.model)).length > 1;
  const head = element("tr", {}, header("method", "Method", {}));
  if (several) head.append(header("model", "Model", {}));
  head.append(...columns.map((place) => header(place, page.columns[place].title, { class: "number" })));
  byId("results").tHead.replaceChildren(head);
  byId("results").tBodies[0].replaceChildren(
    ...lines.map((line) => {
      const row = element("tr", {}, element("th", { scope: "row", title: visible(line.method) }, line.method));
      if (several) row.append(element("td", {}, line.model));
      row.append(...columns.map((place) => numberCell(line, place)));
      return row;
    }),
  );
  byId("none").hidden = lines.length > 0 && columns.length > 0;
}

function startChooser() {
  const boxes = page.columns.map((column, place) => {
    const box = element("input", { type: "checkbox" });
    box.checked = true;
    box.addEventListener("change", () => {
      chosen[place] = box.checked;
      drawTable();
    });
    return element("label", {}, box, column.title);
  });
  const chooser = byId("chooser");
  chooser.querySelector("fieldset").append(...boxes);
  chooser.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && chooser.open) {
      chooser.open = false;
      chooser.querySelector("summary").focus();
    }
  });
}
