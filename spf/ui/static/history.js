/* The pairs of this session, newest first: they are kept in this browser and nowhere else. Pick one
   to have it back, put two side by side, pin what is to stay. */
const { t, said, h, thumbnail } = window.SPF;
const root = element.querySelector(".spf-history");
const MOST = 60;
let rows = [],
  first = null,
  shownId = null;

/* ---- a small store: IndexedDB, or memory where a private window has none ---- */
const memory = new Map();
const opened = new Promise((done) => {
  try {
    const asked = indexedDB.open("spf-pairs", 1);
    asked.onupgradeneeded = () => asked.result.createObjectStore("pairs", { keyPath: "id" });
    asked.onsuccess = () => done(asked.result);
    asked.onerror = () => done(null);
  } catch {
    done(null);
  }
});
const run = async (mode, work) => {
  const base = await opened;
  if (!base) return null;
  return new Promise((done) => {
    const asked = work(base.transaction("pairs", mode).objectStore("pairs"));
    asked.onsuccess = () => done(asked.result);
    asked.onerror = () => done(null);
  });
};
const keep = async (row) => {
  if ((await run("readwrite", (pairs) => pairs.put(row))) == null) memory.set(row.id, row);
};
const find = async (id) => (await run("readonly", (pairs) => pairs.get(id))) || memory.get(id);
const drop = async (id) => {
  memory.delete(id);
  await run("readwrite", (pairs) => pairs.delete(id));
};
/* Only what the strip shows stays in memory. */
const short = ({ id, key, title, small, pinned }) => ({ id, key, title, small, pinned });

const list = h("div", { class: "row", role: "group", "aria-label": t("history") });
const hint = h("span", { class: "muted", role: "status" });
const clear = h(
  "button",
  { type: "button", class: "plain", onclick: () => forget() },
  t("history.clear"),
);
root.replaceChildren(
  h("div", { class: "history-bar" }, h("h2", {}, t("history")), hint, clear),
  list,
);

const titleOf = (value) => {
  const request = value.request || {};
  const strength = request.strength === 1 ? "" : ` · ${request.strength} ×`;
  const target = (request.targets || []).join(" + ") || t("role.original");
  return `${target} · ${request.seed}${strength}`;
};
async function add(event) {
  if (!element.isConnected) {
    document.removeEventListener("spf:done", add);
    document.removeEventListener("spf:keep", add);
    return;
  }
  const value = event.detail;
  if (!value?.portraits || !value.request || value.names) return;
  const key = JSON.stringify(value.request);
  const known = rows.find((row) => row.key === key);
  shownId = known ? known.id : shownId;
  if (known || value.recalled) return draw();
  const small = await Promise.all(
    ["original", "tuned"].map((role) => thumbnail(value.portraits[role], 64)),
  );
  const row = { id: Date.now() + Math.random(), key, title: titleOf(value), small, pinned: false };
  shownId = row.id;
  rows = [row, ...rows.filter((one) => one.key !== key)];
  draw();
  await keep({ ...row, value });
  const spare = rows.filter((one) => !one.pinned).slice(MOST);
  for (const one of spare) await drop(one.id);
  if (spare.length) {
    rows = rows.filter((one) => !spare.includes(one));
    draw();
  }
}
async function pick(row) {
  const whole = await find(row.id);
  if (!whole) return;
  shownId = row.id;
  document.dispatchEvent(new CustomEvent("spf:show", { detail: whole.value }));
  trigger("pick", { settings: whole.value.request });
  draw();
}
/* Two pairs: the tuned portrait of the first beside that of the second. */
async function beside(row) {
  if (first == null || first === row.id) {
    first = first === row.id ? null : row.id;
    return draw();
  }
  const [one, two] = await Promise.all([find(first), find(row.id)]);
  first = null;
  draw();
  if (!one || !two) return;
  const pair = (what) => ({
    original: one.value[what]?.tuned,
    tuned: two.value[what]?.tuned,
  });
  const text = ({ value, title }) => `${title} · ${said(value.columns?.tuned?.label)}`;
  document.dispatchEvent(
    new CustomEvent("spf:show", {
      detail: {
        roles: ["original", "tuned"],
        portraits: pair("portraits"),
        display: pair("display"),
        names: { original: text(one), tuned: text(two) },
        texts: { base: one.value.texts?.complete, complete: two.value.texts?.complete },
        status: t("history.two"),
        request: two.value.request,
      },
    }),
  );
}
async function pin(row) {
  row.pinned = !row.pinned;
  draw();
  const whole = await find(row.id);
  if (whole) await keep({ ...whole, pinned: row.pinned });
}
async function forget() {
  for (const row of rows.filter((one) => !one.pinned)) await drop(row.id);
  rows = rows.filter((one) => one.pinned);
  first = null;
  draw();
}
function draw() {
  root.hidden = !rows.length;
  hint.textContent = first == null ? t("history.about") : t("history.second");
  list.replaceChildren(
    ...rows.map((row) =>
      h(
        "div",
        { class: "past", "data-pinned": row.pinned ? "" : null },
        h(
          "button",
          {
            type: "button",
            class: "card",
            "aria-pressed": String(row.id === shownId),
            onclick: () => pick(row),
          },
          h(
            "span",
            { class: "pair" },
            row.small.map((src) => h("img", { src, alt: "", width: "56", height: "56" })),
          ),
          h("span", { class: "title" }, row.title),
        ),
        h(
          "span",
          { class: "tools" },
          h(
            "button",
            {
              type: "button",
              class: "icon",
              title: t("history.beside"),
              "aria-label": `${t("history.beside")}: ${row.title}`,
              "aria-pressed": String(row.id === first),
              onclick: () => beside(row),
            },
            "⇄",
          ),
          h(
            "button",
            {
              type: "button",
              class: "icon",
              title: t("history.pin"),
              "aria-label": `${t("history.pin")}: ${row.title}`,
              "aria-pressed": String(row.pinned),
              onclick: () => pin(row),
            },
            row.pinned ? "★" : "☆",
          ),
        ),
      ),
    ),
  );
}
async function start() {
  const found = (await run("readonly", (pairs) => pairs.getAll())) || [];
  const before = found.sort((a, b) => b.id - a.id).map(short);
  rows = [...rows, ...before.filter((row) => !rows.some((one) => one.key === row.key))];
  draw();
}
document.addEventListener("spf:done", add);
document.addEventListener("spf:keep", add);
draw();
start();
