/* A series of drawings on one sheet: seeds, texts or strengths; picks lead to the stage, everything
   goes home as one ZIP. */
const { t, said, h, dataBytes, zip, save } = window.SPF;
const root = element.querySelector(".spf-sheet");
let data = {},
  kept = 0,
  run = null,
  chosen = -1;
const picture = (item, role) => item.display?.[role] || item.portraits?.[role];
const nameOf = (item, role) =>
  role === "original" ? t("role.original") : said(item.columns?.[role]?.label) || role;

const title = h("h2"),
  status = h("span", { class: "muted", role: "status" });
const progress = h("div", { class: "progress", role: "progressbar", "aria-label": t("series") });
progress.append(h("i"));
const all = h(
  "button",
  { type: "button", class: "plain", onclick: () => takeAll() },
  t("series.zip"),
);
const close = h(
  "button",
  { type: "button", class: "icon", "aria-label": t("series.close"), onclick: () => update({}) },
  "×",
);
const cards = h("div", { class: "cards" });
root.replaceChildren(
  h("div", { class: "sheet-bar" }, title, status, h("span", { class: "fill" }), all, close),
  progress,
  cards,
);

function flips(item) {
  if (!item.flips) return null;
  if (!item.flips.length) return h("li", { class: "muted" }, t("series.noflip"));
  return item.flips.map((f) =>
    h("li", { class: "chip" }, `${said(f.label)}: ${said(f.from)} → ${said(f.to)}`),
  );
}
function card(item, k) {
  const dial = data.kind === "strengths",
    roles = dial ? item.roles.filter((role) => role !== "original") : item.roles;
  return h(
    "button",
    {
      type: "button",
      class: "pair-card",
      "aria-pressed": String(k === chosen),
      onclick: () => pick(k),
    },
    h("span", { class: "title" }, said(item.title)),
    h(
      "span",
      { class: "row" },
      roles.map((role) =>
        h("img", { src: picture(item, role), alt: nameOf(item, role), title: nameOf(item, role) }),
      ),
    ),
    h("span", { class: "score" }, said(item.verdicts?.tuned?.score) || ""),
    dial ? h("ul", { class: "chips" }, flips(item)) : null,
  );
}
function pick(k) {
  const item = data.items[k];
  if (!item) return;
  chosen = k;
  draw();
  document.dispatchEvent(new CustomEvent("spf:show", { detail: item }));
  trigger("pick", { settings: item.request });
}
function draw() {
  const items = data.items || [],
    dial = data.kind === "strengths";
  root.hidden = !data.phase;
  root.dataset.phase = data.phase || "";
  root.dataset.kind = data.kind || "";
  if (root.hidden) return;
  title.textContent = t(dial ? "dial" : `series.${data.kind}`);
  status.textContent = said(data.status);
  progress.hidden = data.phase !== "running";
  const share = Math.max(items.length / Math.max(1, data.count || 1), data.progress || 0);
  progress.firstChild.style.width = `${100 * share}%`;
  progress.setAttribute("aria-valuenow", Math.round(100 * share));
  all.disabled = !items.length;
  const first =
    dial && items.length
      ? [
          h(
            "figure",
            { class: "first" },
            h("span", { class: "title" }, t("role.original")),
            h("img", { src: picture(items[0], "original"), alt: t("role.original") }),
          ),
        ]
      : [];
  cards.replaceChildren(...first, ...items.map(card));
}
async function takeAll() {
  const files = {},
    text = new TextEncoder();
  const rows = (data.items || []).map((item, k) => {
    const place = String(k + 1).padStart(2, "0");
    for (const role of item.roles) files[`${place}/${role}.png`] = dataBytes(item.portraits[role]);
    files[`${place}/report.json`] = text.encode(JSON.stringify(item.report, null, 2));
    return { place, settings: item.request, changed: item.changed, response: item.response };
  });
  files["index.json"] = text.encode(JSON.stringify(rows, null, 2));
  save(`spf-${data.kind}.zip`, zip(files));
}
function update(value) {
  data = value || {};
  if (data.run !== run) {
    run = data.run;
    kept = 0;
    chosen = -1;
    if (run) root.scrollIntoView({ block: "nearest" });
  }
  draw();
  const items = data.items || [];
  for (; kept < items.length; kept++)
    document.dispatchEvent(new CustomEvent("spf:keep", { detail: items[kept] }));
}
/* Stop ends the waiting here too; what has been drawn stays. */
function halted() {
  if (!element.isConnected) return document.removeEventListener("spf:stopped", halted);
  if (data.phase === "running") update({ ...data, phase: "stopped", status: t("series.stopped") });
}
document.addEventListener("spf:stopped", halted);
watch("value", () => update(props.value));
update(props.value);
