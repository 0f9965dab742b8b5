/* One fine-tuning job as it runs: state, losses, and the portraits of a few sitters before and
   now. */
const { t, said, h } = window.SPF;
const root = element.querySelector(".spf-job");
const COLOURS = [
  "var(--accent)",
  "var(--warn)",
  "#5b7bd5",
  "#b07aa8",
  "#8a8f3c",
  "#7d858f",
  "#c9a227",
];
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
      h("h3", {}, t(`job.${kind}`)),
      h("p", { class: "muted" }, t(`job.${kind}.about`)),
      chart,
      legend,
    );
    return [kind, { chart, legend, block }];
  }),
);
const sitters = h("div", { class: "sitters" }),
  looks = h("div", { class: "looks" }),
  curve = h("div", { class: "chart" }),
  curveLegend = h("ul", { class: "legend" });
const log = h("details", {}, h("summary", {}, t("job.log")), h("pre"));
root.replaceChildren(
  h("div", { class: "job-head" }, title, phase),
  bar,
  message,
  h(
    "div",
    { class: "job-body" },
    h("div", {}, h("h3", {}, t("job.sitters")), sitters, looks),
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
   every other term holds the rest. Each line has its own scale: what counts is that it falls. */
const LEARNT = ["loss", "diffusion", "enhanced"];
function plot(rows, steps) {
  const terms = [...new Set(rows.flatMap((row) => Object.keys(row)))].filter(
    (name) => name !== "step",
  );
  for (const [kind, { chart, legend, block }] of Object.entries(charts)) {
    const these = terms.filter((name) => (kind === "learnt") === LEARNT.includes(name));
    block.hidden = !these.length;
    lines(chart, legend, these, rows, steps, t(`job.${kind}`));
  }
}
/* range: [low, high] of every line, where they have one scale. */
function lines(chart, legend, terms, rows, steps, name, range = null) {
  const picture = svg("svg", {
    viewBox: "0 0 320 120",
    preserveAspectRatio: "none",
    role: "img",
    "aria-label": name,
  });
  picture.append(svg("line", { x1: 0, x2: 320, y1: 119.5, y2: 119.5, stroke: "var(--line)" }));
  terms.forEach((name, k) => {
    const points = rows.filter((row) => row[name] != null),
      values = points.map((row) => row[name]),
      [low, high] = range || [Math.min(...values), Math.max(...values)];
    const share = (value) => (high > low ? (value - low) / (high - low) : 0.5);
    const place = (row) => {
      const x = (320 * row.step) / Math.max(1, steps);
      return `${x.toFixed(1)},${(114 - 106 * share(row[name])).toFixed(1)}`;
    };
    picture.append(
      svg("polyline", {
        fill: "none",
        stroke: COLOURS[k % COLOURS.length],
        "stroke-width": 1.6,
        "vector-effect": "non-scaling-stroke",
        points: points.map(place).join(" "),
      }),
    );
  });
  chart.replaceChildren(picture);
  const last = rows[rows.length - 1] || {};
  const latest = (name) => (last[name] == null ? "" : Number(last[name]).toPrecision(3));
  legend.replaceChildren(
    ...terms.map((name, k) =>
      h(
        "li",
        {},
        h("i", { style: `background: ${COLOURS[k % COLOURS.length]}` }),
        `${name.replaceAll("_", " ")} ${latest(name)}`,
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
  const pictures = job.pictures || {};
  sitters.replaceChildren(
    ...(pictures.original || []).map((src, k) =>
      h(
        "div",
        { class: "pair" },
        h("img", { src, alt: `${t("role.original")} ${k + 1}` }),
        ...["tuned", "sfcm"].map((kind) =>
          (pictures[kind] || [])[k]
            ? h("img", {
                src: pictures[kind][k],
                alt: `${t(kind === "sfcm" ? "layer.sfcm" : "job.now")} ${k + 1}`,
                title: t(kind === "sfcm" ? "layer.sfcm" : "job.now"),
              })
            : h("span", { class: "blank" }),
        ),
      ),
    ),
  );
  const measured = (job.looks || []).filter((look) => look.pollution != null);
  const rows = measured.map(({ step, response, pollution }) => ({ step, response, pollution }));
  const terms = ["response", "pollution"].filter((name) => rows.some((row) => row[name] != null));
  lines(curve, curveLegend, terms, rows, job.steps || 1, t("job.curve"), [0, 1]);
  looks.hidden = !rows.length;
  looks.replaceChildren(h("h3", {}, t("job.curve")), curve, curveLegend);
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
