function drawAll() {
  drawTable();
  drawCategories();
  return drawPlots();
}

function listInto(id, lines) {
  byId(id).append(...lines.map((line) => element("li", {}, line)));
}

byId("labels").hidden = page.labels.length === 0;
byId("labels").className = "banner";
byId("labels").textContent = visible(page.labels.join("; "));
byId("name").textContent = visible(page.name);
byId("legend").textContent = page.legend;
listInto("notes", page.notes);
byId("notes-section").hidden = page.notes.length === 0;
listInto("hashes", Object.entries(page.hashes).map(([name, hash]) => `${name}: ${hash}`));
startFilters(drawAll);
startChooser();
startCategories();
startReader();
startPlots();
drawAll().then(() => document.documentElement.setAttribute("data-ready", ""));
