const PARTS = ["model", "task", "judge"];
const DEEP = 75; // from this ASR on, white text reads better

function drawCategories() {
  const cells = page.categories.filter(passes);
  byId("categories-section").hidden = cells.length === 0;
  if (cells.length === 0) return;
  const several = PARTS.filter((part) => unique(page.categories.map((cell) => cell[part])).length > 1);
  const nameOf = (cell) => JSON.stringify(PARTS.map((part) => cell[part]));
  const select = byId("categories-of");
  const before = select.value;
  const options = new Map(
    cells.map((cell) => [nameOf(cell), (several.length ? several : ["task"]).map((part) => cell[part]).join(", ")]),
  );
  fillSelect(select, [...options]);
  if (options.has(before)) select.value = before;
  const shown = cells.filter((cell) => nameOf(cell) === select.value);
  const known = unique(shown.map((cell) => cell.method));
  const methods = unique(page.lines.map((line) => line.method)).filter((method) => known.includes(method));
  byId("categories").tHead.replaceChildren(
    element("tr", {}, element("th", { scope: "col" }, "Category"), ...methods.map((name) => element("th", { scope: "col" }, name))),
  );
  byId("categories").tBodies[0].replaceChildren(
    ...unique(shown.map((cell) => cell.category)).map((category) => {
      const found = methods.map((method) => shown.find((cell) => cell.method === method && cell.category === category));
      return element("tr", {}, element("th", { scope: "row" }, category), ...found.map(heatCell));
    }),
  );
}

function heatCell(cell) {
  if (!cell) return element("td", {}, "-");
  const about = `${cell.method}, ${cell.category}: ASR ${cell.value.toFixed(1)}, ${cell.n_questions} questions`;
  const made = button(cell.value.toFixed(1), () => openReader(cell), { title: about, "aria-label": `${about}; read responses` });
  made.style.setProperty("--heat", cell.value);
  made.classList.toggle("deep", cell.value >= DEEP);
  return element("td", {}, made);
}

function startCategories() {
  byId("categories-of").addEventListener("change", drawCategories);
}
