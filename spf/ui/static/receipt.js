/* The receipt of an adapter: a picture to attach and the figures behind it. */
const { t, said, h, dataBytes, save } = window.SPF;
const root = element.querySelector(".spf-receipt");
const status = h("p", { class: "sentence", role: "status" });
const progress = h("div", {
  class: "progress",
  role: "progressbar",
  "aria-label": t("tab.receipt"),
});
progress.append(h("i"));
const picture = h("img", { class: "paper", alt: "" });
const get = h("button", { type: "button", class: "plain strong" }, t("receipt.picture"));
const figures = h("button", { type: "button", class: "plain" }, t("receipt.figures"));
const actions = h("div", { class: "actions" }, get, figures);
root.replaceChildren(status, progress, picture, actions);
function update(value) {
  const { phase = "none", name = "", picture: src, data, progress: share = 0 } = value || {};
  root.dataset.phase = phase;
  status.textContent =
    said(value?.status) || t(phase === "stopped" ? "pairs.halted" : "receipt.about");
  progress.hidden = phase !== "running";
  progress.firstChild.style.width = `${100 * share}%`;
  progress.setAttribute("aria-valuenow", Math.round(100 * share));
  picture.hidden = actions.hidden = !src;
  if (!src) return;
  picture.src = src;
  picture.alt = t("receipt.alt", { name });
  get.onclick = () =>
    save(`receipt-${name}.png`, new Blob([dataBytes(src)], { type: "image/png" }));
  figures.onclick = () =>
    save(`receipt-${name}.json`, new Blob([data], { type: "application/json" }));
}
watch("value", () => update(props.value));
update(props.value);
