/* A row of choices: stored examples with their pictures, or short texts to put into a field. */
const { said, h } = window.SPF;
const root = element.querySelector(".spf-choices");
function update(value) {
  const { items = [], label = "", chosen = null } = value || {};
  root.replaceChildren(
    h(
      "div",
      { class: "row", role: "group", "aria-label": said(label) },
      items.map((item) =>
        h(
          "button",
          {
            type: "button",
            class: item.pictures ? "card" : "suggestion",
            "aria-pressed": String(item.key === chosen),
            onclick: () => {
              root
                .querySelectorAll("button")
                .forEach((b) => b.setAttribute("aria-pressed", "false"));
              trigger("pick", { key: item.key });
            },
          },
          item.pictures
            ? h(
                "span",
                { class: "pair" },
                item.pictures.map((src) => h("img", { src, alt: "", width: "64", height: "64" })),
              )
            : null,
          h("span", { class: "title" }, said(item.title)),
        ),
      ),
    ),
  );
  if (chosen != null)
    root
      .querySelectorAll("button")
      .forEach((b, i) => b.setAttribute("aria-pressed", String(items[i].key === chosen)));
}
watch("value", () => update(props.value));
update(props.value);
