/* One fine-tuning job as it runs: state, losses, and the portraits of a few sitters before and
   now. */
const { t, said, h } = window.SPF;
const root = element.querySelector(".spf-job");
/* Lines are told apart by how they are drawn: colours mean methods. */
const DASHES = ["", "7 4", "2 3", "11 4 2 4", "4 8", "1 6"];
const title = h("b"),
  phase = h("span", { class: "phase" }),
  message = h("p", { class: "sentence", role: "status" });
const bar = h(
  "div",
  { class: "progress", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100" },
  h("i"),
);
const charts = Object.fromEntries(
  ["learnt", "held"].map((kind) => {
    const chart = h("div", { class: "chart" }),
      legend = h("ul", { class: "legend" });
    const block = h(
      "div",
      {},
      h("h2", {}, t(`job.${kind}`)),
      h("p", { class: "muted" }, t(`job.${kind}.about`)),
      chart,
      legend,
    );
    return [kind, { chart, legend, block }];
  }),
);
const large = h("div", { class: "large" }),
  small = h("div", { class: "small", role: "group", "aria-label": t("job.sitters") }),
  sitters = h("div", { class: "sitters" }, large, small),
  acts = h("p", { class: "muted" }),
  looks = h("div", { class: "looks" }),
  curve = h("div", { class: "chart" }),
  curveLegend = h("ul", { class: "legend" });
let sitter = 0,
  name = "";
const log = h("details", {}, h("summary", {}, t("job.log")), h("pre"));
root.replaceChildren(
  h("div", { class: "job-head" }, title, phase),
  bar,
  message,
  h(
    "div",
    { class: "job-body" },
    h("div", {}, h("h2", {}, t("job.sitters")), sitters, acts, looks),
    h("div", { class: "charts" }, charts.learnt.block, charts.held.block),
  ),
  log,
);

const svg = (tag, attributes) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
};
/* What is learnt, and what is held: the denoising loss and the enhanced one pull the target in,
   every other term holds the rest. Each line has its own scale: what counts is where it goes. The
   sum of both is shown where there is nothing else, and what is no loss in words. */
const LEARNT = ["loss", "diffusion", "enhanced"],
  ASIDE = ["step", "sfcm", "budget", "in use", "lambda"];
function plot(rows, steps) {
  const found = [...new Set(rows.flatMap((row) => Object.keys(row)))].filter(
    (term) => !ASIDE.includes(term),
  );
  const terms = found.filter((term) => term !== "loss" || found.length === 1);
  for (const [kind, { chart, legend, block }] of Object.entries(charts)) {
    const these = terms.filter((term) => (kind === "learnt") === LEARNT.includes(term));
    block.hidden = !these.length;
    lines(chart, legend, these, rows, steps, t(`job.${kind}`));
  }
  const share = rows[rows.length - 1]?.sfcm;
  acts.textContent =
    share == null ? "" : t("job.acts", { share: Math.round(100 * Math.min(1, share)) });
}
const stroke = (k, colour) => ({
  fill: "none",
  stroke: colour || "currentColor",
  "stroke-width": 1.8,
  "stroke-dasharray": DASHES[k % DASHES.length],
  "vector-effect": "non-scaling-stroke",
});
/* range: [low, high] of every line, where they have one scale; points are then marked. */
function lines(chart, legend, terms, rows, steps, title, { range = null, colour = null } = {}) {
  const picture = svg("svg", {
    viewBox: "0 0 320 120",
    preserveAspectRatio: "none",
    role: "img",
    "aria-label": title,
  });
  for (const y of range ? [8, 61, 114] : [114])
    picture.append(svg("line", { x1: 0, x2: 320, y1: y, y2: y, stroke: "var(--line)" }));
  terms.forEach((term, k) => {
    const points = rows.filter((row) => row[term] != null),
      values = points.map((row) => row[term]),
      [low, high] = range || [Math.min(...values), Math.max(...values)];
    const share = (value) => (high > low ? (value - low) / (high - low) : 0.5);
    const place = (row) => {
      const x = (320 * row.step) / Math.max(1, steps);
      return `${x.toFixed(1)},${(114 - 106 * share(row[term])).toFixed(1)}`;
    };
    picture.append(
      svg("polyline", { ...stroke(k, colour), points: points.map(place).join(" ") }),
      ...(range ? points : []).map((row) => {
        // a line without length and with round ends is a round dot at every stretch
        const [x, y] = place(row).split(",");
        const dot = { ...stroke(0, colour), "stroke-width": 7, "stroke-linecap": "round" };
        return svg("path", { ...dot, d: `M${x} ${y}h0.01` });
      }),
    );
  });
  const ends = range ? [h("span", { class: "end top" }, "100%")] : [];
  chart.replaceChildren(
    picture,
    ...ends,
    h("div", { class: "steps" }, h("span", {}, "0"), h("span", {}, t("job.steps", { n: steps }))),
  );
  const last = rows[rows.length - 1] || {};
  const latest = (term) =>
    last[term] == null
      ? ""
      : range
        ? `${Math.round(100 * last[term])}%`
        : Number(last[term]).toPrecision(2);
  legend.replaceChildren(
    ...terms.map((term, k) => {
      const sample = svg("svg", { viewBox: "0 0 26 8", "aria-hidden": "true" });
      sample.append(svg("line", { ...stroke(k, colour), x1: 0, x2: 26, y1: 4, y2: 4 }));
      return h("li", {}, sample, `${called(term)} ${latest(term)}`);
    }),
  );
}
const called = (term) => {
  for (const key of [`loss.${term}`, `measure.${term}.title`]) if (t(key) !== key) return t(key);
  return term.replaceAll("_", " ");
};
/* One sitter large, the others small, to be picked. */
function sit(pictures) {
  const originals = pictures.original || [];
  sitter = Math.min(sitter, Math.max(0, originals.length - 1));
  const titles = { original: "role.original", tuned: "job.now", sfcm: "layer.sfcm" };
  const kinds = Object.keys(titles).filter((kind) => kind !== "sfcm" || pictures.sfcm?.length);
  large.replaceChildren(
    ...(originals.length ? kinds : []).map((kind) => {
      const src = (pictures[kind] || [])[sitter],
        title = t(titles[kind]);
      return h(
        "figure",
        {},
        src
          ? h("img", { src, alt: `${title}, ${t("job.sitter", { k: sitter + 1 })}` })
          : h("span", { class: "blank" }),
        h("figcaption", {}, title),
      );
    }),
  );
  small.replaceChildren(
    ...originals.map((src, k) =>
      h(
        "button",
        {
          type: "button",
          "aria-pressed": String(k === sitter),
          "aria-label": t("job.sitter", { k: k + 1 }),
          onclick: () => {
            sitter = k;
            sit(pictures);
            small.children[k]?.focus();
          },
        },
        h("img", { src: (pictures.tuned || [])[k] || src, alt: "" }),
      ),
    ),
  );
}
function update(value) {
  const job = value || { phase: "none" };
  root.dataset.phase = job.phase;
  title.textContent = job.name || "";
  phase.textContent = job.phase === "none" ? "" : t(`phase.${job.phase}`);
  message.textContent = said(job.message);
  bar.firstChild.style.width = `${job.steps ? (100 * job.step) / job.steps : 0}%`;
  bar.setAttribute("aria-valuenow", job.steps ? Math.round((100 * job.step) / job.steps) : 0);
  if (job.name !== name) {
    name = job.name;
    sitter = 0;
  }
  const focused = [...small.children].indexOf(document.activeElement);
  sit(job.pictures || {});
  if (focused >= 0) small.children[focused]?.focus();
  const measured = (job.looks || []).filter((look) => look.pollution != null);
  const rows = measured.map(({ step, response, pollution }) => ({ step, response, pollution }));
  const terms = ["response", "pollution"].filter((name) => rows.some((row) => row[name] != null));
  const colour = `var(--method-${job.method}, currentColor)`;
  lines(curve, curveLegend, terms, rows, job.steps || 1, t("job.curve"), { range: [0, 1], colour });
  looks.hidden = !rows.length;
  looks.replaceChildren(h("h2", {}, t("job.curve")), curve, curveLegend);
  const last = measured.pop();
  if (last)
    looks.append(
      h(
        "p",
        { class: "muted" },
        t(last.response == null ? "job.measured.plain" : "job.measured", {
          response: Math.round(100 * last.response),
          pollution: Math.round(100 * last.pollution),
        }),
      ),
    );
  plot(job.history || [], job.steps || 1);
  log.hidden = !(job.log || []).length;
  log.lastChild.textContent = (job.log || []).join("\n");
  if (job.phase === "failed") log.open = true;
}
watch("value", () => update(props.value));
update(props.value);
