const page = JSON.parse(document.getElementById("page-data").textContent);
const ALL = "\u0000all";
const filters = { model: ALL, method: ALL, task: ALL, judge: ALL };
const byId = (id) => document.getElementById(id);

// Controls and direction overrides could disguise what a model said; show them by their number.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

function visible(text) {
  return String(text).replace(
    HIDDEN,
    (char) => `\u27e8U+${char.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}\u27e9`,
  );
}

// An element with attributes; strings among its children become text, never markup.
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.map((child) => (typeof child === "string" ? visible(child) : child)));
  return made;
}

function button(label, action, attributes = {}) {
  const made = element("button", { type: "button", ...attributes }, ...[label].flat());
  made.addEventListener("click", action);
  return made;
}

function unique(values) {
  return [...new Set(values)];
}

function fillSelect(select, options) {
  select.replaceChildren(
    ...options.map(([value, label]) => {
      const option = element("option", {}, label);
      option.value = value;
      return option;
    }),
  );
}

// Whether something with these names passes the filters; names it lacks are not asked for.
function passes(names) {
  return Object.entries(filters).every(
    ([name, wanted]) => wanted === ALL || names[name] === undefined || names[name] === wanted,
  );
}

function startFilters(changed) {
  const known = {
    model: page.lines.map((line) => line.model),
    method: page.lines.map((line) => line.method),
    task: page.columns.map((column) => column.task).filter((task) => task !== null),
    judge: page.columns.map((column) => column.judge),
  };
  for (const [name, values] of Object.entries(known)) {
    const select = byId(`filter-${name}`);
    fillSelect(select, [[ALL, "all"], ...unique(values).map((value) => [value, value])]);
    select.addEventListener("change", () => {
      filters[name] = select.value;
      changed();
    });
  }
}
