/* The guided tour: a few steps on real outputs, forwards and backwards, by mouse or arrow keys. */
const { t, said, h } = window.SPF;
const root = element.querySelector(".spf-tour");
let steps = [],
  at = 0;
const title = h("h2", { tabindex: "-1" }),
  text = h("p", { class: "lead" }),
  pictures = h("div", { class: "tour-pictures" }),
  chips = h("ul", { class: "chips" });
const count = h("span", { class: "muted" });
const back = h(
  "button",
  { type: "button", class: "plain", onclick: () => go(at - 1) },
  t("tour.back"),
);
const next = h("button", {
  type: "button",
  class: "plain strong",
  onclick: () => (at < steps.length - 1 ? go(at + 1) : trigger("finish")),
});
const dots = h("ol", { class: "dots" });
root.replaceChildren(
  h("div", { class: "tour-text", "aria-live": "polite" }, count, title, text, chips),
  pictures,
  h("div", { class: "tour-nav" }, back, dots, next),
);
function go(k, focus = true) {
  if (!steps.length) {
    text.textContent = t("tour.none");
    back.disabled = true;
    next.textContent = t("tour.finish");
    return;
  }
  at = Math.max(0, Math.min(steps.length - 1, k));
  const step = steps[at];
  count.textContent = t("tour.count", { k: at + 1, n: steps.length });
  title.textContent = said(step.title);
  text.textContent = said(step.text);
  pictures.className = `tour-pictures n${Math.min(step.pictures.length, 6)}`;
  pictures.replaceChildren(
    ...step.pictures.map((p) =>
      h(
        "figure",
        { class: p.tone || "" },
        h("div", { class: "frame" }, h("img", { src: p.src, alt: said(p.caption) })),
        p.caption ? h("figcaption", {}, said(p.caption)) : null,
      ),
    ),
  );
  chips.replaceChildren(
    ...(step.chips || []).map((c) =>
      h("li", { class: "chip" }, h("b", {}, said(c.label)), ` ${said(c.from)} → ${said(c.to)}`),
    ),
  );
  dots.replaceChildren(
    ...steps.map((_s, i) =>
      h(
        "li",
        {},
        h("button", {
          type: "button",
          "aria-label": t("tour.count", { k: i + 1, n: steps.length }),
          "aria-current": i === at ? "step" : null,
          onclick: () => go(i),
        }),
      ),
    ),
  );
  back.disabled = at === 0;
  next.textContent = at < steps.length - 1 ? t("tour.next") : t("tour.finish");
  if (focus) title.focus({ preventScroll: true });
}
root.addEventListener("keydown", (event) => {
  const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (move) {
    event.preventDefault();
    go(at + move);
  }
});
const update = (value) => {
  root.classList.toggle("waiting", !value); // the steps come when the tab is opened
  title.hidden = !value;
  if (!value) {
    text.textContent = t("tab.loading");
    return;
  }
  steps = value.steps || [];
  go(at, false);
};
watch("value", () => update(props.value));
update(props.value);
