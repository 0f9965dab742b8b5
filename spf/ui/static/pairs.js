/* The pairs of portraits behind one number of the results. */
const { t, said, h } = window.SPF;
const root = element.querySelector(".spf-pairs");
const title = h("h2"),
  status = h("p", { class: "muted", role: "status" }),
  lacking = h("p", { class: "muted" }),
  list = h("div", { class: "pair-list" });
const bar = h(
  "div",
  { class: "progress", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100" },
  h("i"),
);
let data = {},
  shown = "";
const orders = ["worst", "best", "drawn"].map((name) =>
  h(
    "button",
    {
      type: "button",
      class: "seg",
      role: "radio",
      "data-order": name,
      onclick: () => ask({ order: name }),
    },
    t(`pairs.${name}`),
  ),
);
const order = h(
  "div",
  { class: "segments", role: "radiogroup", "aria-label": t("pairs.order") },
  orders,
);
order.addEventListener("keydown", (event) => {
  const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!move) return;
  event.preventDefault();
  const next =
    orders[(orders.indexOf(document.activeElement) + move + orders.length) % orders.length];
  next.focus();
  next.click();
});
const more = h(
  "button",
  {
    type: "button",
    class: "plain",
    onclick: () => ask({ first: (data.first || 0) + (data.items || []).length }),
  },
  t("pairs.more"),
);
const halt = h(
  "button",
  {
    type: "button",
    class: "plain",
    onclick: () => {
      trigger("halt");
      update({ ...data, phase: "done", status: t("pairs.halted") });
    },
  },
  t("stop"),
);
const close = h(
  "button",
  {
    type: "button",
    class: "icon",
    "aria-label": t("pairs.close"),
    title: t("pairs.close"),
    onclick: () => {
      if (data.phase === "drawing") trigger("halt");
      data = { ...data, closed: true };
      root.hidden = true;
      document.querySelector(".spf-results .cell[aria-pressed=true]")?.focus();
    },
  },
  "×",
);
const ask = (change) => {
  trigger("more", { first: 0, ...data.pick, ...change });
};
const number = (value) => (value == null ? "" : Number(value).toFixed(2));
function card(item) {
  const method = data.titles?.method || {};
  const figure = (role, text) =>
    h(
      "figure",
      { "data-role": role, "data-method": role === "tuned" ? method.weights : null },
      h(
        "div",
        { class: "frame" },
        item.pictures ? h("img", { src: item.pictures[role], alt: text }) : null,
      ),
      h(
        "figcaption",
        {},
        h("span", { class: "dot" }),
        h("b", {}, role === "tuned" ? said(method.title) : t("role.original")),
      ),
    );
  return h(
    "article",
    { class: "pair-card" },
    h("div", { class: "two" }, figure("original", item.base), figure("tuned", item.complete)),
    h("p", { class: "text" }, item.complete),
    h(
      "p",
      { class: `score ${item.clean == null ? "" : item.clean ? "clean" : "polluted"}` },
      item.value == null ? "" : h("b", {}, `${said(data.titles?.measure)} ${number(item.value)} `),
      said(item.score),
    ),
    h(
      "p",
      { class: "muted read" },
      [said(item.identity), said(item.sure)].filter(Boolean).join(" "),
    ),
    h(
      "ul",
      { class: "chips" },
      (item.changed || []).map((c) =>
        h(
          "li",
          { class: "chip" },
          h("b", {}, said(c.label)),
          c.from ? ` ${said(c.from)} → ${said(c.to)}` : c.to ? ` ${said(c.to)}` : "",
        ),
      ),
    ),
    h(
      "button",
      { type: "button", class: "plain", onclick: () => trigger("open", { request: item.request }) },
      t("pairs.open"),
    ),
  );
}
function heading(titles, of) {
  const count = of.n == null ? "" : ` (n = ${of.n})`;
  const names = [titles.aim, titles.method?.title, titles.measure].map(said).join(" · ");
  return `${names} ${number(of.value)}${count}`;
}
function update(value) {
  data = value || { phase: "none" };
  const asked = JSON.stringify(data.pick);
  if (asked !== shown) {
    shown = asked;
    // on a narrow screen the portraits lie below the table
    if (data.pick && !matchMedia("(min-width: 1000px)").matches)
      setTimeout(() => root.scrollIntoView({ block: "start" }), 50);
  }
  root.hidden = data.phase === "none" || Boolean(data.closed);
  const { pick = {}, number: of = {} } = data,
    busy = data.phase === "drawing";
  root.dataset.phase = data.phase;
  title.textContent = pick.method ? heading(data.titles || {}, of) : "";
  lacking.textContent = said(data.lacking);
  lacking.hidden = !data.lacking;
  status.textContent = said(data.status);
  bar.style.visibility = busy ? "visible" : "hidden";
  bar.firstChild.style.width = `${100 * (data.progress || 0)}%`;
  bar.setAttribute("aria-valuenow", Math.round(100 * (data.progress || 0)));
  orders.forEach((b) => {
    const on = b.dataset.order === pick.order;
    b.setAttribute("aria-checked", on);
    b.tabIndex = on ? 0 : -1;
  });
  order.hidden = !data.sorted;
  more.hidden = data.phase !== "done" || data.last;
  halt.hidden = !busy;
  list.replaceChildren(...(data.items || []).map(card));
}
root.replaceChildren(
  h(
    "div",
    { class: "results-bar" },
    title,
    h("div", { class: "actions" }, order, more, halt, close),
  ),
  bar,
  status,
  lacking,
  list,
);
watch("value", () => update(props.value));
update(props.value);
