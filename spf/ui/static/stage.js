/* The portraits of one run: side by side, under a slider, or as a difference; verdict, changed
   attributes, downloads. */
const { t, said, h, dataBytes, zip, save, stored, store, press, namedValue } = window.SPF;
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
/* Which portrait the slider shows beside the original: one button a column. */
let rivalButtons = [];
const rivals = h("div", {
  class: "segments quiet",
  role: "radiogroup",
  "aria-label": t("rival.label"),
  onkeydown: arrows(
    () => rivalButtons,
    (b) => pickRival(b.dataset.role),
  ),
});
function pickRival(role) {
  rival = role;
  draw();
  rivals.querySelector(`[data-role="${CSS.escape(role)}"]`)?.focus();
}
/* One switch for how every column is drawn. */
const WAYS = ["held", "free"];
const wayButtons = WAYS.map((way) =>
  h(
    "button",
    { type: "button", class: "seg", role: "radio", "data-way": way, onclick: () => drawn(way) },
    t(`drawn.${way}`),
  ),
);
const ways = h(
  "div",
  { class: "segments quiet", role: "radiogroup", "aria-label": t("drawn.label") },
  wayButtons,
);
ways.addEventListener(
  "keydown",
  arrows(
    () => wayButtons,
    () => {},
  ),
);
function drawn(way) {
  if (busy()) return;
  trigger("drawn", { way });
  press(() => data.asked === way);
}
const wayOf = () => {
  const found = Object.values(data.columns || {}).map((c) => Boolean(c.guide));
  return found.every(Boolean) ? "held" : found.some(Boolean) ? "" : "free";
};
const bar = h("div", { class: "stage-bar" }, switcher, rivals, ways);

/* A frame is as wide to its height as the picture in it. */
const shape = (frame, { naturalWidth: w, naturalHeight: hgt }) =>
  frame.style.setProperty("--ratio", w && hgt ? w / hgt : 1);

/* ---- side by side: one figure a role, kept between updates so that nothing flickers ---- */
const figures = {};
function figureOf(role) {
  if (figures[role]) return figures[role];
  const image = h("img", { alt: "", draggable: "false", decoding: "sync" });
  image.addEventListener("load", () => shape(frame, image));
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
  const score = h("span", { class: "score" }),
    title = h("b");
  const get = h(
    "button",
    { type: "button", class: "icon", title: t("download.png"), onclick: () => savePng(role) },
    "↓",
  );
  const figure = h(
    "figure",
    { "data-role": role },
    frame,
    h("figcaption", {}, h("span", { class: "dot" }), title, score, get),
  );
  pictures.append(figure);
  figures[role] = { figure, image, canvas, score, get, title };
  return figures[role];
}
const nameOf = (role) =>
  said(data.names?.[role]) ||
  said(data.columns?.[role]?.label) ||
  (role in ROLES ? t(`role.${role}`) : role);
const ROLES = { original: 1, tuned: 1, naive: 1 };
const pictures = h("div", { class: "pictures" });

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
above.addEventListener("load", () => shape(slider, above));
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
    field = window.SPF.field("target");
  if (!text || busy() || !field) return;
  edit.value = "";
  trigger("longer", { edit: text });
  press(
    () =>
      field.value.split("+").some((part) => part.trim() === text) &&
      document.querySelector("#chain input")?.checked,
  );
}
/* Takes one edit out of the chain and draws what is left; then what came back is told. */
function undo(k) {
  const targets = data.request?.targets || [],
    field = window.SPF.field("target");
  if (busy() || !field || targets.length < 2) return;
  const left = targets.filter((_, i) => i !== k).join(" + ");
  undone = {
    target: targets[k],
    original: data.portraits?.original,
    attributes: data.report?.tuned?.attributes,
    portraits: (data.strip || []).map((link) => link.portrait),
  };
  trigger("shorter", { place: k });
  press(() => field.value.trim() === left);
}
/* Attributes that the edit had changed and that are the original's again without it. */
function tellReturned() {
  if (!undone || data.recalled) return;
  const before = undone,
    now = data.report?.tuned?.attributes;
  undone = null;
  if (!before.attributes || !now || before.original !== data.portraits?.original) return;
  const back = Object.keys(now).filter(
    (name) =>
      before.attributes[name]?.tuned !== before.attributes[name]?.original &&
      now[name].tuned === now[name].original,
  );
  const names = back.map(
    (name) => `${t(`attribute.${name}`)}: ${namedValue(name, now[name].tuned)}`,
  );
  const pixels = before.portraits.includes(data.portraits.tuned);
  const text = names.length
    ? t("chain.returned", { target: before.target, what: names.join(t("joint.list")) })
    : t("chain.nothing", { target: before.target });
  data.notices = [
    ...(data.notices || []),
    { kind: "info", text: pixels ? `${text} ${t("chain.same")}` : text },
  ];
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
      ...links.map((link, k) =>
        h(
          "span",
          { class: "link-place" },
          frame(link.display, said(link.title), k),
          ready && links.length > 1
            ? h(
                "button",
                {
                  type: "button",
                  class: "undo",
                  title: t("chain.undo"),
                  "aria-label": `${t("chain.undo")}: ${said(link.title)}`,
                  onclick: () => undo(k),
                },
                "×",
              )
            : null,
        ),
      ),
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
const dialButton = h(
  "button",
  { type: "button", class: "plain", title: t("dial.about"), onclick: () => trigger("dial") },
  t("dial"),
);
const actions = h("div", { class: "actions" }, lookButton, dialButton, zipButton, linkButton);
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
  if (window.SPF.busy !== busy()) {
    window.SPF.busy = busy();
    document.dispatchEvent(new CustomEvent("spf:busy"));
  }
  root.dataset.view = view;
  root.style.setProperty("--n", roles.length);
  viewButtons.forEach((b) => mark(b, b.dataset.view === view));
  rivalButtons = roles.slice(1).map((role) =>
    h(
      "button",
      {
        type: "button",
        class: "seg",
        role: "radio",
        "data-role": role,
        onclick: () => pickRival(role),
      },
      nameOf(role),
    ),
  );
  rivalButtons.forEach((b) => mark(b, b.dataset.role === rival));
  rivals.replaceChildren(...rivalButtons);
  rivals.hidden = view !== "slider" || roles.length < 3;
  const way = wayOf();
  wayButtons.forEach((b, k) => {
    mark(b, b.dataset.way === way);
    if (!way && !k) b.tabIndex = 0;
    b.disabled = busy();
  });
  ways.hidden = !Object.keys(data.columns || {}).length;
  roles.forEach(figureOf);
  for (const [role, { figure, image, canvas, score, get, title }] of Object.entries(figures)) {
    figure.hidden = !roles.includes(role);
    if (figure.hidden) continue;
    figure.style.order = roles.indexOf(role);
    figure.dataset.method = data.columns?.[role]?.method || (role === "tuned" ? "spf" : role);
    const text = role === "original" ? data.texts?.base : data.texts?.complete;
    title.textContent = nameOf(role);
    show(image, shown(role), `${nameOf(role)}: ${text || ""}`);
    get.disabled = !ready || !source(role);
    get.setAttribute("aria-label", `${t("download.png")}: ${nameOf(role)}`);
    const own = role === "original" && !data.names ? data.own : null,
      judged = own ? { score: own.text, clean: own.fine } : data.verdicts?.[role] || {};
    score.textContent = judged.score ? said(judged.score) : said(data.labels?.[role]) || "";
    score.className = `score ${judged.clean == null ? "" : judged.clean ? "clean" : "polluted"}`;
    canvas.hidden = view !== "difference" || role === "original" || !ready;
    if (!canvas.hidden) drawDifference(canvas, role);
  }
  slider.hidden = view !== "slider";
  pictures.hidden = view === "slider";
  if (view === "slider") {
    show(below, shown(rival), nameOf(rival));
    show(above, shown("original"), nameOf("original"));
    names[0].textContent = nameOf("original");
    names[1].textContent = nameOf(rival);
  }
  drawStrip();
  say();
  tellStale();
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
  if (data.phase === "failed") sentence.setAttribute("role", "alert");
  else sentence.removeAttribute("role");
  const changed = data.phase === "done" && judged ? judged.changed : [],
    same = data.phase === "done" && judged ? judged.unchanged : [];
  chips.replaceChildren(
    ...changed.map((c) =>
      h(
        "li",
        { class: "chip" },
        h("b", {}, said(c.label)),
        c.from ? ` ${said(c.from)} → ${said(c.to)}` : ` ${said(c.to)}`,
      ),
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
    canvas.height = Math.round((canvas.width * hgt) / w);
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
/* The maps of the pair, made now if nobody has looked at them. The first pair's may still be on
   their way: they are waited for, not for ever, since a pair may have none. */
const LATE = 5000;
const madeMaps = () =>
  new Promise((done) => {
    const end = () => {
      document.removeEventListener("spf:trace", hear);
      done(window.SPF.maps);
    };
    const look = () => document.dispatchEvent(new CustomEvent("spf:look"));
    const hear = () => {
      const { asked } = window.SPF;
      if (asked && !asked.failed) look();
      else end();
    };
    if (window.SPF.traced && !window.SPF.asked) return end();
    document.addEventListener("spf:trace", hear);
    if (window.SPF.asked) look();
    else setTimeout(() => window.SPF.asked || end(), LATE);
  });
async function saveAll() {
  zipButton.disabled = true;
  try {
    await saved(await madeMaps());
  } finally {
    zipButton.disabled = false;
  }
}
async function saved(maps) {
  const files = {},
    request = data.request || {};
  for (const role of rolesOf()) if (source(role)) files[`${role}.png`] = dataBytes(source(role));
  (data.strip || []).forEach((link, k) => {
    files[`chain-${k + 1}.png`] = dataBytes(link.portrait);
  });
  files["report.json"] = new TextEncoder().encode(JSON.stringify(data.report || request, null, 2));
  if (maps) files["maps.npz"] = new Uint8Array(await maps().arrayBuffer());
  save(`spf-portrait-seed${request.seed}.zip`, zip(files));
}
/* The link that draws the pair of a request again. */
function linkOf(request, chained) {
  const url = new URL(location.pathname, location.origin);
  if (chained) url.searchParams.set("chain", "1");
  for (const [name, value] of Object.entries(request || {})) {
    for (const one of [value].flat()) url.searchParams.append(name, one);
  }
  return url;
}
/* The address is the link of what is drawn or shown, so that a reload, the back button and another
   language bring it back. */
function address(request, chained) {
  const url = linkOf(request, chained),
    language = new URLSearchParams(location.search).get("lang");
  if (language) url.searchParams.set("lang", language);
  history.replaceState(history.state, "", url);
}
async function copyLink() {
  const url = linkOf(data.request, (data.strip || []).length);
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

/* ---- what has been drawn, and what is to be drawn ---- */
const KEPT = ["portraits", "display", "roles", "texts", "strip", "columns", "request", "names"];
const TOLD = ["own", "verdicts", "labels", "words", "notices", "report", "example"];
let stopped = null,
  last = {},
  undone = null;
const part = (value, names) => Object.fromEntries(names.map((name) => [name, value[name]]));

/* Settings that a link or a picture brought: drawn at once, as soon as they stand in the fields. */
function ask(request) {
  press(
    () => data.brought && window.SPF.field("base")?.value === request.base,
    () => data.brought && update({ phase: "failed", status: t("status.lost") }),
    30_000,
  );
}
/* A pair from the sheet or from the history: its pictures come from this browser. */
function recalled(event) {
  if (!element.isConnected) return document.removeEventListener("spf:show", recalled);
  if (busy()) return;
  update({ ...event.detail, phase: "done", recalled: true });
  root.scrollIntoView({ block: "nearest" });
}
document.addEventListener("spf:show", recalled);

function update(value) {
  if (value && value.phase === "stopped") {
    stopped = value.run;
    document.dispatchEvent(new CustomEvent("spf:stopped"));
  } else if (value?.run && value.run === stopped) return; // sent before Stop, arrived after it
  if (value?.phase === "asked") {
    data = { phase: "queued", status: t("status.queued"), roles: ["original", "tuned"] };
    data.brought = true; // until somebody presses Generate
    document.dispatchEvent(new CustomEvent("spf:asked"));
    draw();
    return ask(value.request);
  }
  if (value?.asks) address(value.asks, value.links);
  if (value?.phase === "fields") {
    data.asked = value.way;
    return;
  }
  // Stopped and failed runs leave the last pair on screen and only say what happened.
  const ended = value && !value.portraits && ["stopped", "failed"].includes(value.phase),
    waits = value && !value.portraits && ["queued", "loading"].includes(value.phase);
  const keep = ended ? part(last, [...KEPT, ...TOLD]) : waits ? part(data, KEPT) : {};
  data = { ...keep, ...(value || {}) };
  if (value?.go) trigger("draw"); // it is not there yet
  if (data.phase === "done") {
    last = data;
    if (!data.names) {
      if (window.SPF.shown) address(data.request, (data.strip || []).length); // not for the first
      window.SPF.shown = data.request;
    }
    chosen = (data.strip || []).length - 1;
    result = { portrait: data.portraits?.tuned, display: data.display?.tuned };
    tellReturned();
    document.dispatchEvent(new CustomEvent("spf:done", { detail: data }));
  }
  draw();
}
document.addEventListener("spf:pending", () => {
  update({ phase: "queued", status: t("status.queued") });
  if (matchMedia("(max-width: 860px)").matches) root.scrollIntoView({ block: "start" });
});
document.addEventListener("spf:place", ({ detail }) => {
  if (data.phase === "queued") update({ phase: "queued", status: t("status.place", detail) });
});
document.addEventListener("spf:ended", ({ detail }) => update({ phase: "failed", ...detail }));

/* The pictures are of the texts they were drawn from, whatever stands in the fields by now. */
function stale() {
  const field = window.SPF.field("base"),
    target = window.SPF.field("target"),
    request = data.request;
  if (data.phase !== "done" || !request || !field || !target) return false;
  const clean = (text) => text.replace(/\s+/g, " ").trim();
  const targets = clean(target.value).split("+").map(clean).filter(Boolean).join(" + ");
  return clean(field.value) !== request.base || targets !== (request.targets || []).join(" + ");
}
const old = h("p", { class: "stale", role: "status" }, t("stale"));
function tellStale() {
  if (!element.isConnected) return document.removeEventListener("input", tellStale, true);
  old.hidden = !stale();
}
document.addEventListener("input", tellStale, true);
pictures.before(old);
old.hidden = true;

watch("value", () => update(props.value));
/* A link's own pair is on its way: no other one stands under its settings until then. */
const linked = new URLSearchParams(location.search).has("base") && !window.SPF.shown;
update(linked ? { phase: "queued", status: t("status.queued") } : props.value);
const awaited = data;
const lost = () => data === awaited && update({ phase: "failed", status: t("status.lost") });
if (linked) setTimeout(lost, 30_000);
