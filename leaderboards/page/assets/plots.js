const PANEL = { least: 150, most: 340, labels: 75, gap: 20 };
const dark = window.matchMedia("(prefers-color-scheme: dark)");

function theme() {
  const style = getComputedStyle(document.documentElement);
  const [ink, quiet, line] = ["--ink", "--quiet", "--line"].map((name) => style.getPropertyValue(name).trim());
  const words = { labelColor: ink, titleColor: ink };
  return {
    background: "transparent",
    font: "system-ui, sans-serif",
    axis: { ...words, titleColor: quiet, gridColor: line, domainColor: line, tickColor: line },
    header: words,
    legend: words,
    view: { stroke: line },
  };
}

function themed(config) {
  const merged = { ...config };
  for (const [part, value] of Object.entries(theme())) {
    merged[part] = typeof value === "string" ? value : { ...config[part], ...value };
  }
  return merged;
}

// As many panels side by side as fit and leave no gap in the last row, as wide as fits.
function fitted(spec, panels, room, names) {
  const fit = Math.max(1, Math.min(spec.columns, panels, Math.floor((room - names) / (PANEL.least + PANEL.gap))));
  const even = [...Array(fit).keys()].map((less) => fit - less).find((side) => panels % side === 0);
  const side = even > 1 ? even : fit;
  const width = Math.max(100, Math.floor(Math.min(PANEL.most, (room - names) / side - PANEL.gap)));
  const config = themed(spec.config);
  config.legend = { ...config.legend, columns: Math.max(1, Math.floor(room / 190)) };
  return { ...spec, columns: side, spec: { ...spec.spec, width }, config };
}

async function drawPlot(id) {
  const plot = page.plots[id];
  const points = plot ? plot.points.filter(passes) : [];
  byId(`${id}-section`).hidden = points.length === 0;
  if (points.length === 0) return;
  const longest = Math.max(...points.map((point) => point.method.length));
  const names = PANEL.labels + (id === "nsi" ? Math.min(180, 6 * longest) - 30 : 0);
  const panels = unique(points.map((point) => point.panel)).length;
  const spec = fitted(plot.spec, panels, byId(id).clientWidth, names);
  await vegaEmbed(byId(id), { ...spec, data: { values: points } }, {
    actions: false,
    ast: true, // an interpreter instead of eval, which the page's policy forbids
    defaultStyle: false,
    renderer: "svg",
    tooltip: { disableDefaultStyle: true },
  });
}

function drawPlots() {
  return Promise.all(["trade-off", "nsi"].map(drawPlot));
}

function startPlots() {
  let [width, waiting] = [window.innerWidth, 0];
  dark.addEventListener("change", drawPlots);
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(drawPlots, 150);
  });
}
