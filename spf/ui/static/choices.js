/* A row of choices: stored examples with their pictures, or short texts to put into a field. */
const { t, said, h } = window.SPF;
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
          item.taught === false
            ? h("span", { class: "untaught", title: t("untaught.about") }, t("untaught"))
            : null,
        ),
      ),
    ),
  );
  if (chosen != null)
    root
      .querySelectorAll("button")
      .forEach((b, i) => b.setAttribute("aria-pressed", String(items[i].key === chosen)));
  hold();
}
/* Cards, stage and fields agree: a card is pressed only while its own pair is on the stage. */
const unpress = (event) => {
  if (!element.isConnected) return document.removeEventListener(event.type, unpress);
  root.querySelectorAll(".card").forEach((b) => b.setAttribute("aria-pressed", "false"));
};
for (const name of ["spf:pending", "spf:show", "spf:asked"])
  document.addEventListener(name, unpress);
/* What is being drawn would take the place of a card's pair, under the card's texts. */
const hold = () => {
  if (!element.isConnected) return document.removeEventListener("spf:busy", hold);
  root.querySelectorAll(".card").forEach((b) => {
    b.disabled = Boolean(window.SPF.busy);
  });
};
document.addEventListener("spf:busy", hold);
watch("value", () => update(props.value));
update(props.value);
