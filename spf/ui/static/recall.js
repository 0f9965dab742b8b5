/* Takes a PNG that was saved here and gives its settings back; it never leaves the browser. */
const { t, h, readSettings } = window.SPF;
const root = element.querySelector(".spf-recall");
const file = h("input", {
  type: "file",
  accept: "image/png",
  class: "sr-only",
  tabindex: "-1",
  "aria-hidden": "true",
  onchange: () => {
    take(file.files[0]);
    file.value = "";
  },
});
const note = h("span", { class: "muted", role: "status" }, t("recall.about"));
const button = h(
  "button",
  { type: "button", class: "drop", onclick: () => file.click() },
  h("b", {}, t("recall")),
  note,
);
async function take(picture) {
  if (!picture) return;
  const settings = await readSettings(picture).catch(() => null);
  note.textContent = settings ? t("recall.about") : t("recall.none");
  if (settings) trigger("recall", { settings });
}
const over = (on) => (event) => {
  event.preventDefault();
  button.classList.toggle("over", on);
};
button.addEventListener("dragover", over(true));
button.addEventListener("dragleave", over(false));
button.addEventListener("drop", (event) => {
  over(false)(event);
  take(event.dataTransfer.files[0]);
});
root.replaceChildren(button, file);
