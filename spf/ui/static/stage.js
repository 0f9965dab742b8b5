/* The portraits of one run: side by side, under a slider, or as a difference; verdict, changed
   attributes, downloads. */
const { t, said, h, dataBytes, zip, save, stored, store } = window.SPF;
const root = element.querySelector(".spf-stage");
const VIEWS = ["side", "slider", "difference"];
let data = {},
  view = VIEWS.includes(stored("spf-view")) ? stored("spf-view") : "side",
  rival = "tuned",
  at = 50;

const rolesOf = () => data.roles || ["original", "tuned"];
const source = (role) => data.portraits?.[role];
const shown = (role) => data.display?.[role] || source(role);
const busy = () => ["queued", "loading", "running"].includes(data.phase);

/* ---- bar: how to look ---- */
const viewButtons = VIEWS.map((name) =>
  h(
    "button",
    {
      type: "button",
      class: "seg",
      role: "radio",
      "data-view": name,
      onclick: () => setView(name),
    },
    t(`view.${name}`),
  ),
);
const switcher = h(
  "div",
  { class: "segments", role: "radiogroup", "aria-label": t("view.label") },
  viewButtons,
);
const arrows = (list, pick) => (event) => {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const shown = list().filter((b) => !b.hidden),
    next = shown[(shown.indexOf(document.activeElement) + step + shown.length) % shown.length];
  next.focus();
  pick(next);
};
switcher.addEventListener(
  "keydown",
  arrows(
    () => viewButtons,
    (b) => setView(b.dataset.view),
  ),
);
const rivalButtons = ["tuned", "naive"].map((role) =>
  h(
    "button",
    {
      type: "button",
      class: "seg",
      role: "radio",
      "data-role": role,
      onclick: () => {
        rival = role;
        draw();
      },
    },
    t(`role.${role}`),
  ),
);
const rivals = h(
  "div",
  { class: "segments quiet", role: "radiogroup", "aria-label": t("rival.label") },
  rivalButtons,
);
rivals.addEventListener(
  "keydown",
  arrows(
    () => rivalButtons,
    (b) => {
      rival = b.dataset.role;
      draw();
    },
  ),
);
const bar = h("div", { class: "stage-bar" }, switcher, rivals);

/* ---- side by side: one figure a role, kept between updates so that nothing flickers ---- */
const figures = Object.fromEntries(
  ["original", "tuned", "naive"].map((role) => {
    const image = h("img", { alt: "", draggable: "false", decoding: "sync" });
    const hold = (on) => () => {
      if (role !== "original" && !busy() && source("original") && source(role))
        image.src = shown(on ? "original" : role);
      frame.classList.toggle("held", on && role !== "original");
    };
    const frame = h(
      "div",
      {
        class: "frame",
        onpointerdown: hold(true),
        onpointerup: hold(false),
        onpointerleave: hold(false),
        onpointercancel: hold(false),
      },
      image,
      h("span", { class: "held-note" }, t("role.original")),
    );
    const canvas = h("canvas", { class: "diff", width: 384, height: 384, "aria-hidden": "true" });
    frame.append(canvas);
    const score = h("span", { class: "score" });
    const get = h(
      "button",
      {
        type: "button",
        class: "icon",
        title: t("download.png"),
        "aria-label": `${t("download.png")}: ${t(`role.${role}`)}`,
        onclick: () => savePng(role),
      },
      "↓",
    );
    const figure = h(
      "figure",
      { "data-role": role },
      frame,
      h("figcaption", {}, h("span", { class: "dot" }), h("b", {}, t(`role.${role}`)), score, get),
    );
    return [role, { figure, image, canvas, score, get }];
  }),
);
const pictures = h(
  "div",
  { class: "pictures" },
  Object.values(figures).map((f) => f.figure),
);

/* ---- slider: two pictures in one frame ---- */
const below = h("img", { alt: "", draggable: "false" }),
  above = h("img", { alt: "", draggable: "false", class: "above" });
const range = h("input", {
  type: "range",
  min: "0",
  max: "100",
  value: "50",
  step: "1",
  "aria-label": t("slider.label"),
  oninput: () => split(+range.value),
});
const names = [
  h("span", { class: "tag left" }, t("role.original")),
  h("span", { class: "tag right" }),
];
const slider = h(
  "div",
  { class: "slider frame" },
  below,
  above,
  h("i", { class: "handle", "aria-hidden": "true" }),
  names,
  range,
);
const split = (value) => {
  at = value;
  slider.style.setProperty("--at", `${value}%`);
};
split(at);

/* ---- a chain of edits: one portrait after each, the last one being the result ---- */
let chosen = -1,
  result = {};
const strip = h("div", { class: "strip", role: "group", "aria-label": t("chain.label") });
const edit = h("input", {
  type: "text",
  class: "edit",
  placeholder: t("chain.placeholder"),
  "aria-label": t("chain.add"),
  onkeydown: (event) => {
    if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      longer();
    }
  },
});
const add = h(
  "button",
  { type: "button", class: "plain", onclick: () => longer() },
  t("chain.add"),
);
const chain = h("div", { class: "chain-row" }, strip, h("div", { class: "chain-add" }, edit, add));
/* The fields travel through the server, so Generate is pressed once the new target stands in its
   field. */
function longer() {
  const text = edit.value.trim(),
    field = document.querySelector("#target textarea, #target input");
  if (!text || busy() || !field) return;
  edit.value = "";
  trigger("longer", { edit: text });
  const began = Date.now(),
    wait = setInterval(() => {
      const there =
        field.value.split("+").some((part) => part.trim() === text) &&
        document.querySelector("#chain input")?.checked;
      if (there || Date.now() - began > 5000) {
        clearInterval(wait);
        if (there) setTimeout(() => document.querySelector("#generate")?.click(), 60);
      }
    }, 40);
}
function choose(k) {
  const links = data.strip || [];
  chosen = k;
  const link = links[k];
  if (link && data.phase === "done") {
    const last = k === links.length - 1;
    data.portraits = { ...data.portraits, tuned: last ? result.portrait : link.portrait };
    data.display = { ...data.display, tuned: last ? result.display : link.display };
    data.verdicts = { ...data.verdicts, ...(link.verdict ? { tuned: link.verdict } : {}) };
    data.texts = { ...data.texts, complete: link.complete };
  }
  draw();
}
function drawStrip() {
  const links = [...(data.strip || [])],
    ready = data.phase === "done";
  // places for what is still to come
  while (busy() && links.length < (data.links || 0)) links.push({ title: "…" });
  strip.hidden = !links.length;
  const frame = (src, title, k) =>
    h(
      "button",
      {
        type: "button",
        class: "link",
        "aria-pressed": String(k === chosen),
        disabled: !ready || k < 0,
        onclick: () => {
          choose(k);
          strip.querySelectorAll(".link")[k + 1]?.focus();
        },
      },
      src ? h("img", { src, alt: "" }) : h("i"),
      h("span", {}, title),
    );
  if (links.length)
    strip.replaceChildren(
      frame(shown("original"), t("role.original"), -1),
      ...links.map((link, k) => frame(link.display, said(link.title), k)),
    );
  if (chosen >= links.length - 1) strip.scrollLeft = strip.scrollWidth;
  chain.hidden = (data.phase || "empty") === "empty";
  edit.disabled = add.disabled = !ready;
}

/* ---- what is said about it ---- */
const progress = h(
  "div",
  { class: "progress", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100" },
  h("i"),
);
const sentence = h("p", { class: "sentence" });
const chips = h("ul", { class: "chips" });
const kept = h("details", { class: "kept" }, h("summary"), h("p"));
const notices = h("ul", { class: "notices" });
const words = h("p", { class: "words" });
const live = h("div", { class: "sr-only", role: "status", "aria-live": "polite" });
const linkButton = h(
  "button",
  { type: "button", class: "plain", onclick: copyLink },
  t("link.copy"),
);
const zipButton = h(
  "button",
  { type: "button", class: "plain", onclick: saveAll },
  t("download.all"),
);
const lookButton = h(
  "button",
  { type: "button", class: "plain strong", onclick: () => trigger("look") },
  t("look.inside"),
);
const actions = h("div", { class: "actions" }, lookButton, zipButton, linkButton);
const verdict = h("div", { class: "verdict" }, sentence, chips, kept, words, notices);
root.replaceChildren(
  bar,
  h("div", { class: "canvas" }, progress, pictures, slider),
  chain,
  verdict,
  actions,
  live,
);

function setView(name) {
  view = name;
  store("spf-view", name);
  draw();
}

function draw() {
  const roles = rolesOf(),
    ready = !busy() && source("original");
  if (!roles.includes(rival)) rival = "tuned";
  root.dataset.phase = data.phase || "empty";
  root.dataset.view = view;
  root.style.setProperty("--n", roles.length);
  viewButtons.forEach((b) => mark(b, b.dataset.view === view));
  rivalButtons.forEach((b) => {
    mark(b, b.dataset.role === rival);
    b.hidden = !roles.includes(b.dataset.role);
  });
  rivals.hidden = view !== "slider" || !roles.includes("naive");
  for (const [role, { figure, image, canvas, score, get }] of Object.entries(figures)) {
    figure.hidden = !roles.includes(role);
    const text = role === "original" ? data.texts?.base : data.texts?.complete;
    show(image, shown(role), `${t(`role.${role}`)}: ${text || ""}`);
    get.disabled = !ready || !source(role);
    const judged = data.verdicts?.[role] || {};
    score.textContent = judged.score ? said(judged.score) : said(data.labels?.[role]) || "";
    score.className = `score ${judged.clean == null ? "" : judged.clean ? "clean" : "polluted"}`;
    canvas.hidden = view !== "difference" || role === "original" || !ready;
    if (!canvas.hidden) drawDifference(canvas, role);
  }
  slider.hidden = view !== "slider";
  pictures.hidden = view === "slider";
  if (view === "slider") {
    show(below, shown(rival), t(`role.${rival}`));
    show(above, shown("original"), t("role.original"));
    names[1].textContent = t(`role.${rival}`);
  }
  drawStrip();
  say();
}

function mark(node, on) {
  node.setAttribute("aria-checked", on);
  node.tabIndex = on ? 0 : -1;
}
function show(image, uri, alt) {
  image.alt = alt;
  image.classList.toggle("blank", !uri);
  if (uri && image.getAttribute("src") !== uri) image.src = uri;
  if (!uri) image.removeAttribute("src");
}

function say() {
  const judged = data.verdicts?.tuned;
  progress.hidden = !busy();
  progress.classList.toggle("unknown", busy() && data.progress == null);
  progress.firstChild.style.width = `${Math.round((data.progress || 0) * 100)}%`;
  progress.setAttribute("aria-valuenow", Math.round((data.progress || 0) * 100));
  sentence.textContent = said(data.phase === "done" && judged ? judged.sentence : data.status);
  sentence.setAttribute("role", data.phase === "failed" ? "alert" : "presentation");
  const changed = data.phase === "done" && judged ? judged.changed : [],
    same = data.phase === "done" && judged ? judged.unchanged : [];
  chips.replaceChildren(
    ...changed.map((c) =>
      h("li", { class: "chip" }, h("b", {}, said(c.label)), ` ${said(c.from)} → ${said(c.to)}`),
    ),
  );
  kept.hidden = !same.length;
  kept.firstChild.textContent = t("kept", { n: same.length });
  kept.lastChild.textContent = same.map((s) => `${said(s.label)}: ${said(s.value)}`).join(" · ");
  notices.replaceChildren(
    ...(data.notices || []).map((n) => h("li", { class: n.kind }, said(n.text))),
  );
  words.replaceChildren(
    ...(data.phase === "done"
      ? (data.words || []).map((w) =>
          w.kind === "text"
            ? w.text
            : h("mark", { class: w.kind, title: t(`word.${w.kind}`) }, w.text),
        )
      : []),
  );
  actions.querySelectorAll("button").forEach((b) => {
    b.disabled = data.phase !== "done";
  });
  const spoken = busy() ? (data.progress ? "" : sentence.textContent) : sentence.textContent;
  if (spoken && live.textContent !== spoken) live.textContent = spoken;
}

/* Where the pictures differ: the original in grey below, |a - b| over the colours above it. */
function drawDifference(canvas, role) {
  const load = (uri) =>
    new Promise((done) => {
      const image = new Image();
      image.onload = () => done(image);
      image.src = uri;
    });
  Promise.all([load(source("original")), load(source(role))]).then(([one, two]) => {
    const w = one.naturalWidth,
      hgt = one.naturalHeight,
      pen = Object.assign(document.createElement("canvas"), { width: w, height: hgt }).getContext(
        "2d",
        { willReadFrequently: true },
      );
    const pixels = (image) => {
      pen.drawImage(image, 0, 0, w, hgt);
      return pen.getImageData(0, 0, w, hgt).data;
    };
    const a = pixels(one),
      b = pixels(two),
      map = new Uint8Array(w * hgt),
      grey = pen.createImageData(w, hgt);
    for (let i = 0; i < map.length; i++) {
      const k = i * 4,
        d =
          (Math.abs(a[k] - b[k]) + Math.abs(a[k + 1] - b[k + 1]) + Math.abs(a[k + 2] - b[k + 2])) /
          3;
      map[i] = Math.min(255, d * 2.5);
      grey.data[k] =
        grey.data[k + 1] =
        grey.data[k + 2] =
          40 + 0.5 * (0.3 * a[k] + 0.59 * a[k + 1] + 0.11 * a[k + 2]);
      grey.data[k + 3] = 255;
    }
    pen.putImageData(grey, 0, 0);
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(pen.canvas, 0, 0, canvas.width, canvas.height);
    window.SPF.drawMap(context, map, [hgt, w], { opacity: 0.9 });
  });
}

function savePng(role) {
  save(
    `${role}-seed${data.request?.seed}.png`,
    new Blob([dataBytes(source(role))], { type: "image/png" }),
  );
}
async function saveAll() {
  const files = {},
    maps = window.SPF.maps,
    request = data.request || {};
  for (const role of rolesOf()) if (source(role)) files[`${role}.png`] = dataBytes(source(role));
  (data.strip || []).forEach((link, k) => {
    files[`chain-${k + 1}.png`] = dataBytes(link.portrait);
  });
  files["report.json"] = new TextEncoder().encode(JSON.stringify(data.report || request, null, 2));
  if (maps) files["maps.npz"] = new Uint8Array(await maps().arrayBuffer());
  save(`spf-portrait-seed${request.seed}.zip`, zip(files));
}
async function copyLink() {
  const url = new URL(location.pathname, location.origin);
  if ((data.strip || []).length) url.searchParams.set("chain", "1");
  for (const [name, value] of Object.entries(data.request || {})) {
    for (const one of [value].flat()) url.searchParams.append(name, one);
  }
  try {
    await navigator.clipboard.writeText(url.href);
  } catch {
    prompt(t("link.copy"), url.href);
  }
  linkButton.textContent = t("link.copied");
  setTimeout(() => {
    linkButton.textContent = t("link.copy");
  }, 1600);
}

let stopped = null;
function update(value) {
  if (value && value.phase === "stopped") stopped = value.run;
  else if (value?.run && value.run === stopped) return; // sent before Stop, arrived after it
  // Stopped and failed runs keep the pictures that are on screen and only say what happened.
  const keep =
    value && !value.portraits && ["queued", "stopped", "failed", "loading"].includes(value.phase)
      ? {
          portraits: data.portraits,
          display: data.display,
          roles: data.roles,
          texts: data.texts,
          strip: data.strip,
        }
      : {};
  data = { ...keep, ...(value || {}) };
  if (data.phase === "done") {
    chosen = (data.strip || []).length - 1;
    result = { portrait: data.portraits?.tuned, display: data.display?.tuned };
  }
  draw();
}
document.addEventListener("spf:pending", () =>
  update({ phase: "queued", status: t("status.queued") }),
);
document.addEventListener("spf:place", ({ detail }) => {
  if (data.phase === "queued") update({ phase: "queued", status: t("status.place", detail) });
});
document.addEventListener("spf:ended", ({ detail }) => update({ phase: "failed", ...detail }));
watch("value", () => update(props.value));
update(props.value);
