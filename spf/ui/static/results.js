/* Evaluation results: a table that sorts, what a number spans, and curves; a number that is
   pressed asks for its pairs. */
const { t, said, h } = window.SPF;
const root = element.querySelector(".spf-results");
const COLOURS = { original: "var(--soft)" },
  METHODS = ["spf", "naive", "lora", "adalora", "tokencompose", "purecc"],
  MORE = ["#4b9ac0", "#d0679d", "#6c8f5a", "#9a7b4f"];
const MAIN = ["response", "pollution", "purity", "retention", "identity"];
let tables = [],
  now = null,
  measure = "purity",
  sort = { by: "target", falling: false },
  shown = "",
  picked = "",
  all = false;

const svg = (tag, attributes = {}, ...children) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
};
/* Width of a chart in pixels, which are its units, so that letters keep their size; the grid of
   style.css puts as many beside each other as have 380. */
const GAP = 28,
  LEAST = 380;
let room = 0;
const wide = () => {
  const figures = now.curves?.length ? 3 : 2,
    many = Math.max(1, Math.min(figures, Math.floor((room + GAP) / (LEAST + GAP))));
  return Math.min(600, Math.floor((room || 480) / many - (GAP * (many - 1)) / many));
};
new ResizeObserver(([{ contentRect }]) => {
  if (!contentRect.width || contentRect.width === room) return;
  room = contentRect.width;
  if (now) chart();
}).observe(root);
const titled = (name) => said(now.measures.find((m) => m.name === name)?.title) || name;
const number = (value) =>
  value == null ? "" : Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(2);
const methodsOf = () => [...new Set(now.rows.map((r) => r.method))];
const weightsOf = (method) => now.methods?.[method]?.weights ?? method;
const called = (method) => said(now.methods?.[method]?.title) || method;
/* Colours mean the weights, everywhere the same; weights of other names in the order in which they
   come. A hollow mark says that the drawing was also led. */
const known = (weights) =>
  COLOURS[weights] || (METHODS.includes(weights) ? `var(--method-${weights})` : null);
const colour = (method) => {
  const others = [...new Set(methodsOf().map(weightsOf))].filter((w) => !known(w));
  return known(weightsOf(method)) || MORE[others.indexOf(weightsOf(method)) % MORE.length];
};
const hollow = (method) => Boolean(now.methods?.[method]?.acts);
const mark = (method) =>
  h("i", {
    class: hollow(method) ? "hollow" : "",
    style: `--colour: ${colour(method)}`,
    "aria-hidden": "true",
  });
const spot = (method, x, y, r, opacity = 1) =>
  svg("circle", {
    cx: x,
    cy: y,
    r: hollow(method) ? r - 1 : r,
    fill: hollow(method) ? "var(--surface)" : colour(method),
    stroke: colour(method),
    "stroke-width": hollow(method) ? 2 : 0,
    opacity,
  });
/* The table that compares most: of the most targets, then of the most methods. */
const fairest = () => {
  const count = (one, name) => new Set(one.rows.map((row) => row[name])).size;
  const size = (one) => 1000 * count(one, "target") + count(one, "method");
  return tables.reduce((best, one) => (!best || size(one) > size(best) ? one : best), null);
};
const EACH = " each";
const target = (name) => said(now.targets?.[name]) || name;
/* The rows that are shown: the means over all targets where there are some. */
const rowsShown = () =>
  shown === EACH ? now.rows : now.rows.filter((row) => row.target === shown);
const targetsOf = () => [...new Set(now.rows.map((row) => row.target))];
const find = (method, aim, name) =>
  now.rows.find((r) => r.method === method && r.target === aim && r.measure === name);

/* ---- parts that stay ---- */
const choice = h("select", {
  "aria-label": t("results.which"),
  onchange: () => {
    now = tables[choice.selectedIndex];
    picked = "";
    draw();
  },
});
const aims = h("select", {
  "aria-label": t("results.target"),
  onchange: () => {
    shown = aims.value;
    draw();
  },
});
const columns = h(
  "button",
  {
    type: "button",
    class: "plain",
    "aria-pressed": "false",
    onclick: () => {
      all = !all;
      draw();
    },
  },
  t("results.columns"),
);
const renew = h(
  "button",
  { type: "button", class: "plain", onclick: () => trigger("refresh") },
  t("results.refresh"),
);
const save = h(
  "button",
  {
    type: "button",
    class: "plain",
    onclick: () =>
      window.SPF.save(
        `${now.name.replaceAll("/", "-")}.csv`,
        new Blob([csv()], { type: "text/csv" }),
      ),
  },
  t("results.csv"),
);
const about = h("p", { class: "muted" });
const lead = h(
  "p",
  { class: "best-of" },
  h("b"),
  " ",
  h("span"),
  " ",
  h("button", { type: "button", class: "suggestion" }, t("results.prove")),
);
const sheet = h("div", {
  class: "sheet",
  tabindex: "0",
  role: "region",
  "aria-label": t("tab.results"),
});
const charts = h("div", { class: "charts" });
const legend = h("ul", { class: "legend" });
const empty = h(
  "div",
  { class: "blank-state" },
  h("p", {}, t("results.empty")),
  h("code", {}, "python -m spf evaluate --methods naive,spf --targets hat --out runs/evaluate"),
);

const quoted = (value) =>
  /[",\n]/.test(String(value ?? ""))
    ? `"${String(value).replaceAll('"', '""')}"`
    : String(value ?? "");
const csv = () =>
  ["method", "target", "measure", "value", "low", "high", "n"].join(",") +
  "\n" +
  now.rows
    .map((r) => [r.method, r.target, r.measure, r.value, r.low, r.high, r.n].map(quoted).join(","))
    .join("\n") +
  "\n";

function table() {
  const names = now.measures.filter(
    (m) => all || MAIN.includes(m.name) || !now.measures.some((x) => MAIN.includes(x.name)),
  );
  const lines = [
    ...new Map(
      rowsShown().map((r) => [`${r.target} ${r.method}`, { target: r.target, method: r.method }]),
    ).values(),
  ];
  const several = shown === EACH;
  const key = (line) =>
    sort.by === "target" || sort.by === "method"
      ? line[sort.by]
      : find(line.method, line.target, sort.by)?.value;
  const order = [...lines];
  lines.sort((a, b) => {
    const x = key(a),
      y = key(b);
    // what was not measured comes last either way
    if (x == null || y == null) return (x == null) - (y == null);
    const sign = typeof x === "string" ? x.localeCompare(y) : x - y;
    return (sort.falling ? -sign : sign) || order.indexOf(a) - order.indexOf(b);
  });
  const head = (name, text, hint) =>
    h(
      "th",
      {
        scope: "col",
        "aria-sort": sort.by === name ? (sort.falling ? "descending" : "ascending") : "none",
        class: name === measure ? "chosen" : "",
      },
      h(
        "button",
        {
          type: "button",
          title: hint || "",
          onclick: () => {
            sort = {
              by: name,
              falling: sort.by === name ? !sort.falling : !["target", "method"].includes(name),
            };
            if (!["target", "method"].includes(name)) measure = name;
            draw();
            sheet.querySelector(`[data-head="${name}"]`)?.focus();
          },
          "data-head": name,
        },
        text,
        h("i", { "aria-hidden": "true" }),
      ),
    );
  const best = (aim, m) => {
    const values = now.rows
      .filter((r) => r.target === aim && r.measure === m.name && r.method !== "original")
      .map((r) => r.value);
    return values.length > 1 ? number((m.falling ? Math.min : Math.max)(...values)) : null;
  };
  const cell = (line, m) => {
    const row = find(line.method, line.target, m.name);
    if (!row) return h("td", {}, h("span", { class: "muted", "aria-hidden": "true" }, "·"));
    const id = `${line.target} ${line.method} ${m.name}`,
      top = line.method !== "original" && number(row.value) === best(line.target, m),
      range = row.low == null ? "" : ` [${number(row.low)}, ${number(row.high)}]`,
      count = row.n == null ? "" : `, n = ${row.n}`;
    return h(
      "td",
      {},
      h(
        "button",
        {
          type: "button",
          class: `cell${top ? " best" : ""}`,
          "aria-pressed": String(picked === id),
          title: `${titled(m.name)}: ${number(row.value)}${range}${count}`,
          "data-cell": id,
          onclick: () => behind(line.method, line.target, m.name),
        },
        h("b", {}, number(row.value)),
        row.low == null ? null : h("small", {}, `${number(row.low)} – ${number(row.high)}`),
      ),
    );
  };
  return h(
    "table",
    {},
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        several ? head("target", t("results.target")) : null,
        head("method", t("results.method")),
        names.map((m) => head(m.name, `${titled(m.name)} ${m.falling ? "↓" : "↑"}`, said(m.about))),
      ),
    ),
    h(
      "tbody",
      {},
      lines.map((line) =>
        h(
          "tr",
          {},
          several ? h("th", { scope: "row" }, target(line.target)) : null,
          h(
            several ? "td" : "th",
            { class: "method", scope: several ? null : "row" },
            mark(line.method),
            called(line.method),
          ),
          names.map((m) => cell(line, m)),
        ),
      ),
    ),
  );
}

/* Which method is best, by purity where it was measured, and the next one; its pairs are one press
   away. */
const BEST = "purity";
function tellBest() {
  const one = targetsOf().length === 1 ? targetsOf()[0] : "all",
    aim = shown === EACH ? one : shown,
    [first, second] = now.rows
      .filter((r) => r.measure === BEST && r.target === aim && r.method !== "original")
      .sort((a, b) => b.value - a.value);
  lead.hidden = !second;
  if (!second) return;
  const spanned = ({ value, low, high }) =>
    low == null ? number(value) : `${number(value)} (${number(low)} – ${number(high)})`;
  lead.firstChild.textContent = t("results.best", { method: called(first.method) });
  lead.querySelector("span").textContent = t("results.next", {
    what: titled(BEST),
    value: spanned(first),
    next: called(second.method),
    second: spanned(second),
  });
  lead.lastChild.onclick = () => behind(first.method, aim, BEST, "drawn");
}
/* Asks for the portraits behind a number. */
function behind(method, aim, name, order = "worst") {
  picked = `${aim} ${method} ${name}`;
  measure = name;
  for (const one of sheet.querySelectorAll(".cell"))
    one.setAttribute("aria-pressed", String(one.dataset.cell === picked));
  chart();
  trigger("pick", { table: now.key, method, aim, measure: name, order });
}

/* One measure over the targets: a dot and its interval for each method. */
function dots() {
  const rows = now.rows.filter((r) => r.measure === measure),
    aims = [...new Set(rows.map((r) => r.target))],
    methods = methodsOf().filter((m) => rows.some((r) => r.method === m));
  const step = Math.max(26, 11 * methods.length + 10),
    height = aims.length * step + 26,
    left = 132,
    width = wide();
  const ends = rows.flatMap((r) => [r.low ?? r.value, r.high ?? r.value]),
    low = Math.min(0, ...ends),
    high = Math.max(low < 0 || Math.max(...ends) <= 1 ? 1 : 0, ...ends) || 1;
  const x = (v) => left + ((v - low) / (high - low || 1)) * (width - left - 12);
  const picture = svg("svg", {
    viewBox: `0 0 ${width} ${height}`,
    width,
    height,
    role: "img",
    "aria-label": titled(measure),
  });
  for (let k = 0; k <= 4; k++) {
    const v = low + (k / 4) * (high - low);
    picture.append(
      svg("line", { x1: x(v), x2: x(v), y1: 0, y2: height - 20, class: "grid" }),
      svg("text", { x: x(v), y: height - 5, "text-anchor": "middle" }, number(v)),
    );
  }
  aims.forEach((aim, i) => {
    picture.append(
      svg(
        "text",
        { x: left - 10, y: i * step + step / 2 + 4, "text-anchor": "end", class: "name" },
        target(aim),
      ),
    );
    methods.forEach((method, k) => {
      const row = rows.find((r) => r.target === aim && r.method === method),
        y = i * step + (step - 11 * (methods.length - 1)) / 2 + 11 * k;
      if (!row) return;
      if (row.low != null)
        picture.append(
          svg("line", {
            x1: x(row.low),
            x2: x(row.high),
            y1: y,
            y2: y,
            stroke: colour(method),
            "stroke-width": 2,
            opacity: 0.55,
          }),
        );
      const point = spot(method, x(row.value), y, 4.2);
      point.append(svg("title", {}, `${target(aim)}, ${called(method)}: ${number(row.value)}`));
      picture.append(point);
    });
  });
  return h(
    "figure",
    {},
    h("h2", {}, titled(measure)),
    h("p", { class: "muted" }, said(now.measures.find((m) => m.name === measure)?.about)),
    picture,
  );
}
/* What one wants of a method: up and to the left. */
function plane() {
  const points = [...new Map(now.rows.map((r) => [`${r.target} ${r.method}`, r])).values()]
    .map((r) => ({
      method: r.method,
      target: r.target,
      a: find(r.method, r.target, "pollution"),
      b: find(r.method, r.target, "response"),
    }))
    .filter((p) => p.a && p.b);
  if (!points.length) return null;
  const width = wide(),
    height = 300,
    left = 40,
    under = 34,
    most = Math.max(...points.map((p) => p.a.value)),
    high = 0.04 * Math.max(1, Math.ceil(most / 0.04)); // four steps of whole hundredths
  const x = (v) => left + (v / high) * (width - left - 14),
    y = (v) => 24 + (1 - v) * (height - under - 24);
  const picture = svg("svg", {
    viewBox: `0 0 ${width} ${height}`,
    width,
    height,
    role: "img",
    "aria-label": t("results.plane"),
  });
  for (let k = 0; k <= 4; k++)
    picture.append(
      svg("line", { x1: left, x2: width - 14, y1: y(k / 4), y2: y(k / 4), class: "grid" }),
      svg("text", { x: left - 7, y: y(k / 4) + 4, "text-anchor": "end" }, number(k / 4)),
      svg(
        "text",
        { x: x((k * high) / 4), y: height - under + 16, "text-anchor": "middle" },
        number((k * high) / 4),
      ),
    );
  picture.append(
    svg(
      "text",
      { x: (width + left) / 2, y: height - 3, "text-anchor": "middle", class: "name" },
      `${titled("pollution")} →`,
    ),
    svg("text", { x: left, y: 11, class: "name" }, `↑ ${titled("response")}`),
  );
  for (const p of points) {
    const mean = p.target === "all";
    const point = spot(p.method, x(p.a.value), y(p.b.value), mean ? 7.5 : 4, mean ? 1 : 0.6);
    const told = [
      `${target(p.target)}, ${called(p.method)}: ${titled("response")} ${number(p.b.value)}`,
      `${titled("pollution")} ${number(p.a.value)}`,
    ];
    point.append(svg("title", {}, told.join(", ")));
    picture.append(point);
  }
  return h(
    "figure",
    {},
    h("h2", {}, t("results.plane")),
    h("p", { class: "muted" }, t("results.plane.about")),
    picture,
  );
}
/* Measures over training steps, where the evaluation followed a run. */
function curves() {
  const rows = (now.curves || []).filter((r) => r.measure === measure),
    all = rows.length ? rows : now.curves || [];
  if (!all.length) return null;
  const name = all[0].measure,
    used = all.filter((r) => r.measure === name),
    lines = [...new Set(used.map((r) => `${r.method} ${r.target}`))];
  const width = wide(),
    height = 240,
    left = 40,
    last = Math.max(...used.map((r) => r.step)) || 1,
    high = Math.max(...used.map((r) => r.value)) || 1;
  const x = (v) => left + (v / last) * (width - left - 14),
    y = (v) => 10 + (1 - v / high) * (height - 44);
  const picture = svg("svg", {
    viewBox: `0 0 ${width} ${height}`,
    width,
    height,
    role: "img",
    "aria-label": t("results.curves"),
  });
  for (let k = 0; k <= 4; k++)
    picture.append(
      svg("line", {
        x1: left,
        x2: width - 14,
        y1: y((k * high) / 4),
        y2: y((k * high) / 4),
        class: "grid",
      }),
      svg(
        "text",
        { x: left - 7, y: y((k * high) / 4) + 4, "text-anchor": "end" },
        number((k * high) / 4),
      ),
      svg(
        "text",
        { x: x((k * last) / 4), y: height - 16, "text-anchor": "middle" },
        String(Math.round((k * last) / 4)),
      ),
    );
  for (const line of lines) {
    const points = used
      .filter((r) => `${r.method} ${r.target}` === line)
      .sort((a, b) => a.step - b.step);
    picture.append(
      svg(
        "polyline",
        {
          points: points.map((r) => `${x(r.step)},${y(r.value)}`).join(" "),
          fill: "none",
          stroke: colour(points[0].method),
          "stroke-width": 2,
        },
        svg("title", {}, line),
      ),
    );
  }
  return h("figure", {}, h("h2", {}, `${titled(name)} · ${t("results.curves")}`), picture);
}
function chart() {
  charts.replaceChildren(...[dots(), plane(), curves()].filter(Boolean));
}
function draw() {
  if (!now) {
    root.replaceChildren(empty, renew);
    return;
  }
  if (!now.measures.some((m) => m.name === measure)) measure = now.measures[0].name;
  choice.replaceChildren(...tables.map((one) => h("option", { selected: one === now }, one.name)));
  choice.hidden = tables.length < 2;
  const each = targetsOf();
  if (shown !== EACH && !each.includes(shown)) shown = each.includes("all") ? "all" : EACH;
  const first = each.filter((one) => one === "all");
  aims.replaceChildren(
    ...[...first, EACH, ...each.filter((one) => one !== "all")].map((one) =>
      h(
        "option",
        { value: one, selected: one === shown },
        one === EACH ? t("results.each") : one === "all" ? t("results.means") : target(one),
      ),
    ),
  );
  aims.hidden = each.length < 2;
  columns.setAttribute("aria-pressed", String(all));
  columns.hidden =
    now.measures.every((m) => MAIN.includes(m.name)) ||
    !now.measures.some((m) => MAIN.includes(m.name));
  const { prompts, seeds, split, steps, model } = now.settings;
  about.textContent = t("results.about", {
    name: now.name,
    prompts: prompts ?? "?",
    seeds: seeds ?? "?",
    split: split ?? "?",
    steps: steps ?? "?",
    model: model ?? "?",
  });
  sheet.replaceChildren(table());
  tellBest();
  legend.replaceChildren(...methodsOf().map((m) => h("li", {}, mark(m), called(m))));
  chart();
  if (!root.contains(sheet))
    root.replaceChildren(
      h(
        "div",
        { class: "results-bar" },
        choice,
        aims,
        h("div", { class: "actions" }, columns, save, renew),
      ),
      lead,
      about,
      sheet,
      h("p", { class: "muted" }, t("results.hint")),
      legend,
      charts,
    );
}
function update(value) {
  // the tables come when the tab is opened
  if (!value) {
    root.replaceChildren(h("p", { class: "muted" }, t("tab.loading")));
    return;
  }
  tables = value.tables || [];
  now = tables.find((one) => now && one.key === now.key) || fairest();
  draw();
}
watch("value", () => update(props.value));
update(props.value);
