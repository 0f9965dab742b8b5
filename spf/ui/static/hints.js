/* Short notices beside the fields. */
const { said, h } = window.SPF;
const root = element.querySelector(".spf-hints");
const list = h("ul", { class: "notices", "aria-live": "polite" });
root.replaceChildren(list);
const update = (value) =>
  list.replaceChildren(
    ...(value?.notices || []).map((n) => h("li", { class: n.kind }, said(n.text))),
  );
watch("value", () => update(props.value));
update(props.value);
