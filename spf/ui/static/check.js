/* What the check of uploaded pictures found: sentences first, then the pictures with the texts
   that they will have. */
const { t, said, h } = window.SPF;
const root = element.querySelector(".spf-check");
const SIGN = { error: "✕", warning: "!", fine: "✓" };
function update(value) {
  const { title, findings = [], items = [], more = 0, lessons = [], entries = [] } = value || {};
  root.hidden = !findings.length && !items.length;
  root.replaceChildren(
    title ? h("h2", {}, said(title)) : "",
    h(
      "ul",
      { class: "findings", "aria-live": "polite" },
      findings.map((f) =>
        h(
          "li",
          { class: f.level },
          h("i", { "aria-hidden": "true" }, SIGN[f.level]),
          h("span", {}, said(f.text)),
        ),
      ),
    ),
    lessons.length
      ? h(
          "section",
          { class: "lessons" },
          h("h2", {}, t(value.written ? "lesson.written" : "lesson.title")),
          lessons.map((one) =>
            h(
              "div",
              {},
              h("p", {}, said(one.text)),
              one.faces.map((src) => h("img", { src, alt: "" })),
            ),
          ),
        )
      : "",
    h(
      "div",
      { class: "samples sheet" },
      items.map((item) =>
        h(
          "figure",
          {},
          h("img", { src: item.src, alt: "" }),
          h("figcaption", {}, h("span", {}, item.base), h("b", {}, item.complete)),
        ),
      ),
    ),
    more ? h("p", { class: "muted" }, t("check.more", { n: more })) : "",
    entries.length
      ? h(
          "details",
          {},
          h("summary", {}, t("check.entries", { n: entries.length })),
          h(
            "ul",
            { class: "findings" },
            entries.map((one) => h("li", {}, h("span", {}, `${one.name}: ${said(one.state)}`))),
          ),
        )
      : "",
  );
}
watch("value", () => update(props.value));
update(props.value);
