/* Short notices beside the fields: what the model does not know, with words to take instead, and
   targets that nobody has taught it yet. */
const { t, said, h } = window.SPF;
const root = element.querySelector(".spf-hints");
const list = h("ul", { class: "notices", "aria-live": "polite" });
const words = h("details", { class: "kept" }, h("summary"), h("p"));
root.replaceChildren(list, words);
const small = (text, onclick) =>
  h("button", { type: "button", class: "suggestion", onclick }, text);
const swap = ({ word, near }) =>
  near.length
    ? h(
        "li",
        { class: "info" },
        `${word} → `,
        near.map((by) => small(by, () => trigger("swap", { word, by }))),
      )
    : null;
const teach = ({ key, title }) =>
  h(
    "li",
    { class: "info" },
    t("notice.teach", { target: said(title) }),
    " ",
    small(t("teach"), () => trigger("teach", { key })),
  );
function update(value) {
  const { notices = [], swaps = [], teach: lacking = [], known = [] } = value || {};
  list.replaceChildren(
    ...notices.map((n) =>
      h(
        "li",
        { class: n.kind },
        said(n.text),
        n.take ? small(t("take"), () => trigger("take", n.take)) : null,
      ),
    ),
    ...(lacking || []).map(teach),
    ...(swaps || []).map(swap).filter(Boolean),
  );
  words.hidden = !known?.length;
  words.firstChild.textContent = t("words.known", { n: known?.length || 0 });
  words.lastChild.textContent = (known || []).join(", ");
}
/* Somebody writes the base text. Gradio keeps the first such event of a field that it filled itself
   to itself. */
function written({ type, target }) {
  if (!element.isConnected) return document.removeEventListener(type, written, true);
  if (target.closest?.("#base")) trigger("written");
}
document.addEventListener("input", written, true);
watch("value", () => update(props.value));
update(props.value);
