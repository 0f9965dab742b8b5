/* Look inside one run: every map of every step, drawn here from one packed blob; no call to the
   server while scrubbing. */
const { t, said, h, drawMap, save, unzip } = window.SPF;
const root = element.querySelector(".spf-inside");
let data = null,
  blob = null,
  what = null,
  side = "all",
  step = 0,
  opacity = 0.7,
  timer = null,
  frames = {},
  pending = false,
  sides = [];

/* ---- the parts ---- */
const picker = h("div", { class: "picker", role: "radiogroup", "aria-label": t("inside.what") });
const panels = ["original", "tuned", "change"].map((name) => {
  const canvas = h("canvas", { width: 384, height: 384, role: "img" });
  return { name, canvas, pen: canvas.getContext("2d"), title: h("b"), figure: null };
});
panels.forEach((p) => {
  p.figure = h(
    "figure",
    { "data-panel": p.name },
    h("div", { class: "frame" }, p.canvas),
    h("figcaption", {}, h("span", { class: "dot" }), p.title),
  );
});
const play = h("button", {
  type: "button",
  class: "play",
  "aria-label": t("inside.play"),
  onclick: () => (timer ? pause() : start()),
});
const scrub = h("input", {
  type: "range",
  min: "0",
  max: "0",
  value: "0",
  step: "1",
  "aria-label": t("inside.step"),
  oninput: () => {
    pause();
    go(+scrub.value);
  },
});
const count = h("output", { class: "count" });
const veil = h("input", {
  type: "range",
  min: "0",
  max: "100",
  value: String(opacity * 100),
  "aria-label": t("inside.opacity"),
  oninput: () => {
    opacity = veil.value / 100;
    request();
  },
});
const grain = h("select", {
  "aria-label": t("inside.layers"),
  onchange: () => {
    side = grain.value === "all" ? "all" : +grain.value;
    request();
  },
});
const chain = h("div", { class: "chain", role: "group", "aria-label": t("inside.chain") });
const explain = h("p", { class: "explain" });
const exact = h("input", { type: "checkbox", onchange: () => request() });
const exactBox = h(
  "label",
  { class: "veil check", title: t("inside.outline.about") },
  exact,
  h("span", {}, t("inside.outline")),
);
const lies = h(
  "p",
  { class: "lies" },
  h("span"),
  h("button", { type: "button", class: "suggestion", onclick: () => goBest() }),
);
const heard = h("div", { class: "listens", "aria-live": "polite" });
const looking = ["original", "tuned"].map((role) => {
  const canvas = h("canvas", { width: 224, height: 224, role: "img" });
  return { role, canvas, pen: canvas.getContext("2d") };
});
const lookStatus = h("p", { class: "muted", role: "status" });
const lookBox = h(
  "div",
  { class: "looks" },
  h("h2", {}, t("inside.looks")),
  h("p", { class: "muted" }, t("inside.looks.about")),
  lookStatus,
  h(
    "div",
    { class: "pair" },
    looking.map(({ role, canvas }) =>
      h(
        "figure",
        { "data-panel": role },
        h("div", { class: "frame" }, canvas),
        h("figcaption", {}, h("span", { class: "dot" }), t(`role.${role}`)),
      ),
    ),
  ),
);
const place = h("div", { class: "heard", hidden: true }, heard, lookBox);
const word = h("input", {
  type: "text",
  class: "edit",
  maxlength: "60",
  placeholder: t("inside.word.example"),
  "aria-label": t("inside.word"),
  onkeydown: (event) => {
    event.stopPropagation(); // arrows and the space bar belong to the text
    if (event.key === "Enter") askWord();
  },
});
const wordStatus = h("span", { class: "muted", role: "status" });
const wordBox = h(
  "div",
  { class: "word-row" },
  word,
  h("button", { type: "button", class: "plain", onclick: () => askWord() }, t("inside.word.show")),
  wordStatus,
);
const marks = panels.map((p) => {
  const mark = h("i", { class: "spot", hidden: true });
  const frame = p.canvas.parentNode;
  frame.append(mark);
  frame.addEventListener("click", (event) => {
    const box = frame.getBoundingClientRect();
    if (asking?.failed) asking = null;
    spot = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    request();
  });
  return mark;
});
const working = h("span", { class: "muted", role: "status" });
const gifButton = h(
  "button",
  { type: "button", class: "plain", onclick: () => film("gif") },
  t("inside.gif"),
);
const videoKind =
  window.MediaRecorder &&
  ["video/mp4;codecs=avc1.42E01E", "video/webm", "video/mp4"].find((kind) =>
    MediaRecorder.isTypeSupported(kind),
  );
const videoEnding = (videoKind || "").split(";")[0].slice(6);
const videoButton = h(
  "button",
  { type: "button", class: "plain", hidden: !videoKind, onclick: () => film("video") },
  t("inside.video", { kind: videoEnding }),
);
const exportButton = h(
  "button",
  { type: "button", class: "plain", onclick: () => save("maps.npz", window.SPF.maps()) },
  t("inside.export"),
);
const shell = h(
  "div",
  { class: "inside-shell" },
  picker,
  wordBox,
  h(
    "div",
    { class: "panels" },
    panels.map((p) => p.figure),
  ),
  h(
    "div",
    { class: "transport" },
    play,
    scrub,
    count,
    h("label", { class: "veil" }, h("span", {}, t("inside.opacity")), veil),
    h("label", { class: "veil" }, h("span", {}, t("inside.layers")), grain),
  ),
  exactBox,
  explain,
  lies,
  place,
  h("h2", {}, t("inside.chain")),
  h("p", { class: "muted" }, t("inside.chain.about")),
  chain,
  h("div", { class: "actions" }, gifButton, videoButton, exportButton, working),
);
const empty = h("p", { class: "muted" }, t("inside.empty"));
root.replaceChildren(empty);

/* ---- reading the blob: arrays are {at, shape}, uint8, last two axes are rows and columns ---- */
const plane = (name, ...index) => {
  const array = data.arrays[name],
    [rows, columns] = array.shape.slice(-2);
  let k = 0;
  index.forEach((i, axis) => {
    k = k * array.shape[axis] + i;
  });
  return blob.subarray(array.at + k * rows * columns, array.at + (k + 1) * rows * columns);
};
const layer = () => data.layers.find((l) => l.key === what) || data.layers[0];
/* Rows and columns of an array, and the grid on which phrases are shown: the finest one's. */
const sizeOf = (name) => data.arrays[name].shape.slice(-2);
const grid = () =>
  sides.map((s) => sizeOf(`tuned/${s}`)).reduce((a, b) => (a[0] * a[1] > b[0] * b[1] ? a : b));
const named = (s) => sizeOf(`tuned/${s}`).join(" × ");
/* One resolution of a phrase's map, or the mean of all; always on that grid. */
const phraseMap = (role, index) => {
  const [rows, columns] = grid(),
    wanted = side === "all" ? sides : [side],
    out = new Float32Array(rows * columns);
  for (const s of wanted) {
    const map = plane(`${role}/${s}`, step, index),
      [high, wide] = sizeOf(`${role}/${s}`);
    for (let y = 0; y < rows; y++)
      for (let x = 0; x < columns; x++) {
        const v = Math.max(0, Math.min(high - 1, ((y + 0.5) * high) / rows - 0.5)),
          u = Math.max(0, Math.min(wide - 1, ((x + 0.5) * wide) / columns - 0.5));
        const y0 = Math.floor(v),
          x0 = Math.floor(u),
          y1 = Math.min(high - 1, y0 + 1),
          x1 = Math.min(wide - 1, x0 + 1),
          fy = v - y0,
          fx = u - x0;
        out[y * columns + x] +=
          ((map[y0 * wide + x0] * (1 - fx) + map[y0 * wide + x1] * fx) * (1 - fy) +
            (map[y1 * wide + x0] * (1 - fx) + map[y1 * wide + x1] * fx) * fy) /
          wanted.length;
      }
  }
  return out;
};

/* ---- where a map lies: its overlap with the region in which the judges see the target ---- */
let region = null;
/* The region on a grid, as shares, from the upright edges of its outline. */
function regionOf({ path, size: [rows, columns] }) {
  const cells = new Uint8Array(rows * columns);
  for (const [, x, y] of path.matchAll(/M(\d+) (\d+)v1/g))
    if (+x < columns) cells[y * columns + +x] ^= 1;
  for (let y = 0; y < rows; y++)
    for (let x = 1; x < columns; x++) cells[y * columns + x] ^= cells[y * columns + x - 1];
  return { cells, rows, columns, grids: {} };
}
function shares([high, wide]) {
  const name = `${high} ${wide}`;
  if (region.grids[name]) return region.grids[name];
  const out = new Float32Array(high * wide),
    { cells, rows, columns } = region;
  for (let y = 0; y < rows; y++)
    for (let x = 0; x < columns; x++)
      out[Math.floor((y * high) / rows) * wide + Math.floor((x * wide) / columns)] +=
        (cells[y * columns + x] * high * wide) / (rows * columns);
  region.grids[name] = out;
  return out;
}
/* Intersection over union of the region and as many of the map's highest cells as it has. */
function overlap(map, size) {
  const inside = shares(size).map((share) => (share >= 0.5 ? 1 : 0)),
    many = inside.reduce((sum, one) => sum + one, 0);
  if (!many) return null;
  const order = Array.from(map.keys()).sort((a, b) => map[b] - map[a]);
  let common = 0;
  for (const place of order.slice(0, many)) common += inside[place];
  return common / (2 * many - common);
}
/* The map of a layer at the step and the layers that are chosen, with its rows and columns. */
const mapOf = (now) =>
  now.kind === "phrase"
    ? [phraseMap("tuned", now.index), grid()]
    : [plane("chain", step, now.index), sizeOf("chain")];
/* The best place to start from: of the target's own maps the layers and the step that overlap most,
   of the other maps the step. */
function best() {
  const asked = data.layers.filter((l) => l.about === "target" || l.pick);
  let found = null;
  const back = [side, step];
  for (const one of asked)
    for (const grain of one.kind === "phrase" ? ["all", ...sides] : ["all"])
      for (step = 0; step < data.steps; step++) {
        side = grain;
        const value = overlap(...mapOf(one));
        if (value != null && (!found || value > found.value))
          found = { value, key: one.key, side, step };
        if (one.about === "held") break;
      }
  [side, step] = back;
  return found;
}
const chosenAt = new Map();
function bestOf(now) {
  if (!region || (now.kind !== "phrase" && !now.pick)) return null;
  if (chosenAt.has(now.key)) return chosenAt.get(now.key);
  const all = data.layers;
  data.layers = [now.kind === "phrase" ? { ...now, about: "target" } : now];
  const found = best();
  data.layers = all;
  chosenAt.set(now.key, found);
  return found;
}
function tellOverlap() {
  const now = layer(),
    value = region && (now.about === "target" || now.pick) ? overlap(...mapOf(now)) : null;
  lies.hidden = value == null;
  if (value == null) return;
  lies.firstChild.textContent = t("inside.overlap", { value: value.toFixed(2) });
  const top = bestOf(now);
  lies.lastChild.hidden = !top || top.value - value < 0.005;
  if (top)
    lies.lastChild.textContent = t("inside.best", {
      k: top.step + 1,
      layers: top.side === "all" ? t("inside.all") : named(top.side),
      value: top.value.toFixed(2),
    });
}
function goBest() {
  const top = bestOf(layer());
  if (!top) return;
  pause();
  side = top.side;
  grain.value = String(side);
  go(top.step);
}

/* ---- a place in the portrait: the words it listens to, against their average over the picture */
let spot = null;
/* Number of the cell that was clicked, row by row in a grid. */
function cellOf([rows, columns]) {
  const along = (part, cells) => Math.min(cells - 1, Math.floor(part * cells));
  return along(spot[1], rows) * columns + along(spot[0], columns);
}
function tellSpot() {
  marks.forEach((mark) => {
    mark.hidden = !spot;
    if (spot) mark.style.cssText = `left: ${100 * spot[0]}%; top: ${100 * spot[1]}%`;
  });
  place.hidden = !spot;
  if (!spot) return;
  tellLooks();
  const here = cellOf(grid());
  const grain = side === "all" ? sides[sides.length - 1] : side;
  const raw = (role, one) => {
    const [low, high] =
      data.scales[grain][said(one.label)] || Object.values(data.scales[grain])[one.index];
    const map = phraseMap(role, one.index).map((v) => low + (v / 255) * (high - low));
    return map[here] / Math.max(1e-9, map.reduce((a, b) => a + b, 0) / map.length);
  };
  const found = data.layers
    .filter((l) => l.kind === "phrase")
    .map((one) => ({
      one,
      tuned: raw("tuned", one),
      original: one.both ? raw("original", one) : null,
    }))
    .sort((a, b) => b.tuned - a.tuned);
  const most = Math.max(1, ...found.flatMap((row) => [row.tuned, row.original || 0]));
  const bar = (value, role) =>
    value == null
      ? null
      : h("i", { class: role, style: `width: ${(100 * value) / most}%`, title: value.toFixed(2) });
  heard.replaceChildren(
    h("h2", {}, t("inside.spot")),
    h("p", { class: "muted" }, t("inside.spot.about")),
    h(
      "ul",
      {},
      found.map(({ one, tuned, original }) =>
        h(
          "li",
          {},
          h("span", { class: one.about }, said(one.label)),
          h("span", { class: "bars" }, bar(original, "original"), bar(tuned, "tuned")),
          h("em", {}, `${tuned.toFixed(1)} ×`),
        ),
      ),
    ),
  );
}

/* ---- read once more when somebody asks: where a place looks, and a word beside the text ---- */
let looks = null,
  apart = null,
  asking = null,
  asks = 0;
function ask(words = "") {
  if (!window.SPF.shown) return false;
  asks += 1;
  asking = { ask: `${Date.now()}-${asks}`, word: words };
  trigger("reread", { ...asking, request: window.SPF.shown });
  return true;
}
/* A map of the level that is nearest to the step. */
function levelOf(found, name, index) {
  const level = found.steps.reduce(
      (near, at, k) => (Math.abs(at - step) < Math.abs(found.steps[near] - step) ? k : near),
      0,
    ),
    { at, shape } = found.arrays[name],
    cells = shape[2] * shape[3];
  const from = at + (level * shape[1] + index) * cells;
  return [found.blob.subarray(from, from + cells), shape.slice(2)];
}
function tellLooks() {
  if (!looks && !asking) lookStatus.textContent = ask() ? t("inside.reading") : "";
  lookBox.classList.toggle("waits", !looks);
  if (!looks) return;
  lookStatus.textContent = "";
  const index = cellOf(looks.places);
  for (const { role, canvas, pen } of looking) {
    canvas.height = Math.round((canvas.width * panels[0].canvas.height) / panels[0].canvas.width);
    background(pen, role, true);
    const [map, size] = levelOf(looks, `${role}/looks`, index);
    drawMap(pen, map, size, { opacity: 0.85 });
    const [x, y] = [spot[0] * canvas.width, spot[1] * canvas.height];
    for (const [colour, width] of [
      ["#000", 4],
      ["#fff", 2],
    ]) {
      pen.strokeStyle = colour;
      pen.lineWidth = width;
      pen.beginPath();
      pen.arc(x, y, 6, 0, 2 * Math.PI);
      pen.stroke();
    }
    canvas.setAttribute("aria-label", `${t("inside.looks")}: ${t(`role.${role}`)}`);
  }
}
function askWord() {
  const words = word.value.trim();
  if (!words || !data) return;
  if (ask(words)) wordStatus.textContent = t("inside.reading");
}
/* What the server read, or why it could not. */
async function answered(value) {
  if (!value || value.answers !== asking?.ask) return;
  const tell = value.word ? wordStatus : lookStatus;
  if (!value.blob) {
    tell.textContent = said(value.status);
    if (value.failed) asking = { failed: true };
    return;
  }
  const found = { ...value, blob: window.SPF.restored(await unzip(value.blob), value.arrays) };
  if (value.answers !== asking?.ask) return;
  asking = null;
  tell.textContent = "";
  if (!value.word) looks = found;
  else {
    apart = found;
    data.layers = data.layers.filter((one) => one.key !== "apart");
    data.layers.push({
      key: "apart",
      kind: "apart",
      about: "apart",
      both: true,
      label: value.word,
    });
    build();
    choose("apart");
  }
  request();
}

/* ---- drawing ---- */
const within = (value, most) => Math.max(-most, Math.min(most, value));
/* Maps on one scale, from the value in their middle to the most that they show now: where, and not
   how much, is what a glance asks. */
const LEAST = 0.12 * 255;
function stretched(...maps) {
  const all = maps.flatMap((map) => Array.from(map)).sort((a, b) => a - b),
    low = all[all.length >> 1],
    span = Math.max(all[all.length - 1] - low, LEAST);
  return maps.map((map) => Float32Array.from(map, (value) => (255 * (value - low)) / span));
}
/* Panels are as wide to their height as the pictures behind them. */
function shaped({ naturalWidth: w, naturalHeight: hgt }) {
  for (const { canvas } of panels) {
    const height = Math.round((canvas.width * hgt) / w);
    if (canvas.height !== height) canvas.height = height;
    canvas.parentNode.style.setProperty("--ratio", w / hgt);
  }
  request();
}
const background = (pen, role, finished = false) => {
  const { width, height } = pen.canvas;
  const k = finished ? -1 : data.frame_steps.findIndex((at) => at > step);
  const image = (frames[role] || [])[(k < 0 ? data.frame_steps.length : k) - 1];
  pen.clearRect(0, 0, width, height);
  pen.imageSmoothingEnabled = true;
  pen.imageSmoothingQuality = "medium";
  if (image?.complete && image.naturalWidth) pen.drawImage(image, 0, 0, width, height);
  else {
    pen.fillStyle = "#888";
    pen.fillRect(0, 0, width, height);
  }
};
function paint() {
  pending = false;
  if (!data) return;
  const now = layer(),
    options = { opacity },
    [original, tuned, change] = panels,
    chainSize = sizeOf("chain");
  background(original.pen, "original");
  background(tuned.pen, "tuned");
  if (now.kind === "apart") {
    const [, two] = [original, tuned].map(({ pen, name }) => {
      const [map, size] = levelOf(apart, `${name}/word`, 0),
        [shown] = stretched(map);
      drawMap(pen, shown, size, options);
      return [shown, size];
    });
    drawMap(change.pen, ...two, { veil: false });
    change.title.textContent = t("inside.map");
  } else if (now.kind === "phrase") {
    const size = grid(),
      maps = [phraseMap("tuned", now.index)];
    if (now.both) maps.push(phraseMap("original", now.index));
    const [two, one] = stretched(...maps);
    drawMap(tuned.pen, two, size, options);
    if (one) {
      drawMap(original.pen, one, size, options);
      drawMap(
        change.pen,
        two.map((v, i) => 128 + within(Math.max(0, v) - Math.max(0, one[i]), 127)),
        size,
        { signed: true, veil: false },
      );
    } else drawMap(change.pen, two, size, { veil: false });
    change.title.textContent = t(now.both ? "inside.change" : "inside.map");
  } else {
    const map = plane("chain", step, now.index);
    drawMap(original.pen, map, chainSize, options);
    drawMap(tuned.pen, map, chainSize, options);
    drawMap(change.pen, map, chainSize, { veil: false });
    change.title.textContent = t("inside.map");
  }
  if (exact.checked && edge)
    panels.forEach((p) => {
      p.pen.save();
      p.pen.scale(p.canvas.width / data.outline.size[1], p.canvas.height / data.outline.size[0]);
      for (const [colour, width] of [
        ["rgb(0 0 0 / .65)", 1.8],
        ["#fff", 0.9],
      ]) {
        p.pen.strokeStyle = colour;
        p.pen.lineWidth = width;
        p.pen.stroke(edge);
      }
      p.pen.restore();
    });
  original.title.textContent = t("role.original");
  tuned.title.textContent = t("role.tuned");
  const place = t("inside.count", { k: step + 1, n: data.steps });
  panels.forEach((p) =>
    p.canvas.setAttribute("aria-label", `${p.title.textContent}: ${said(now.label)}, ${place}`),
  );
  tiles.forEach(({ pen, index, phrase }) => {
    if (phrase == null) drawMap(pen, plane("chain", step, index), chainSize, { veil: false });
    else drawMap(pen, ...stretched(phraseMap("tuned", phrase)), grid(), { veil: false });
  });
  count.textContent = t("inside.count", { k: step + 1, n: data.steps });
  count.title = `t = ${data.timesteps[step]}`;
  scrub.value = step;
  scrub.setAttribute("aria-valuetext", count.textContent);
  scrub.style.setProperty("--at", `${(100 * step) / Math.max(1, data.steps - 1)}%`);
  veil.style.setProperty("--at", `${opacity * 100}%`);
  root.dataset.painted = String(step);
  if (!timer) {
    tellOverlap();
    tellSpot();
  }
}
const request = () => {
  if (!pending) {
    pending = true;
    requestAnimationFrame(paint);
  }
};
const go = (k) => {
  step = Math.max(0, Math.min(data.steps - 1, k));
  request();
};
function start() {
  if (!data) return;
  if (step >= data.steps - 1) step = 0;
  timer = setInterval(() => (step >= data.steps - 1 ? pause() : go(step + 1)), 140);
  play.classList.add("on");
  play.setAttribute("aria-label", t("inside.pause"));
  request();
}
function pause() {
  clearInterval(timer);
  timer = null;
  play.classList.remove("on");
  play.setAttribute("aria-label", t("inside.play"));
}
root.addEventListener("keydown", (event) => {
  if (!data || event.target === veil) return;
  if (event.key === " " && event.target.tagName !== "BUTTON") {
    event.preventDefault();
    timer ? pause() : start();
  }
  const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (move && event.target !== scrub && !event.target.closest(".picker")) {
    event.preventDefault();
    pause();
    go(step + move);
  }
});

/* ---- what to look at ---- */
let tiles = [],
  edge = null;
/* The three panels of every step as one film, drawn off screen: a GIF, or what the browser
   records. */
async function film(kind) {
  if (!data || working.textContent) return;
  pause();
  const back = step,
    { width, height } = panels[0].canvas,
    wide = 256,
    high = Math.round((wide * height) / width),
    gap = 8,
    low = 26,
    sheet = h("canvas", { width: 3 * wide + 2 * gap, height: high + low }),
    pen = sheet.getContext("2d", { willReadFrequently: kind === "gif" });
  const frame = (k) => {
    step = k;
    paint();
    pen.fillStyle = "#16191d";
    pen.fillRect(0, 0, sheet.width, sheet.height);
    pen.font = "14px system-ui, sans-serif";
    pen.fillStyle = "#fff";
    pen.textBaseline = "middle";
    panels.forEach((p, i) => {
      pen.drawImage(p.canvas, i * (wide + gap), 0, wide, high);
      pen.fillText(
        `${p.title.textContent}${i ? "" : ` · ${said(layer().label)}`}`,
        i * (wide + gap) + 6,
        high + low / 2,
        wide - 60,
      );
    });
    pen.textAlign = "right";
    pen.fillText(`${k + 1}/${data.steps}`, sheet.width - 6, high + low / 2);
    pen.textAlign = "left";
  };
  const name = `${said(layer().label).replace(/[^\w-]+/g, "-")}-seed${data.seed ?? ""}`,
    tell = (k) => {
      working.textContent = t("inside.filming", { k: k + 1, n: data.steps });
    };
  try {
    if (kind === "gif") {
      const frames = [];
      for (let k = 0; k < data.steps; k++) {
        frame(k);
        frames.push(pen.getImageData(0, 0, sheet.width, sheet.height).data);
        tell(k);
        if (k % 3 === 0) await new Promise((done) => setTimeout(done));
      }
      save(`${name}.gif`, window.SPF.gif(frames, sheet.width, sheet.height, 14));
    } else {
      const stream = sheet.captureStream(),
        recorder = new MediaRecorder(stream, { mimeType: videoKind, videoBitsPerSecond: 3e6 }),
        parts = [];
      recorder.ondataavailable = (event) => {
        if (event.data.size) parts.push(event.data);
      };
      const ended = new Promise((done) => {
        recorder.onstop = done;
      });
      frame(0);
      recorder.start();
      for (let k = 0; k < data.steps; k++) {
        frame(k);
        tell(k);
        await new Promise((done) => setTimeout(done, k === data.steps - 1 ? 700 : 140));
      }
      recorder.stop();
      await ended;
      save(`${name}.${videoEnding}`, new Blob(parts, { type: videoKind }));
    }
  } finally {
    working.textContent = "";
    step = back;
    request();
  }
}
function choose(key) {
  what = key;
  root.querySelectorAll("[data-layer]").forEach((b) => {
    const on = b.dataset.layer === key;
    b.setAttribute(b.getAttribute("role") === "radio" ? "aria-checked" : "aria-pressed", on);
    if (b.getAttribute("role") === "radio")
      b.tabIndex =
        on ||
        (b === picker.querySelector("[role=radio]") &&
          !picker.querySelector(`[data-layer="${CSS.escape(key)}"]`))
          ? 0
          : -1;
  });
  const now = layer();
  explain.textContent = t(`inside.about.${now.about || now.kind}`, { what: said(now.label) });
  request();
}
picker.addEventListener("keydown", (event) => {
  const move = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!move) return;
  event.preventDefault();
  const all = [...picker.querySelectorAll("[role=radio]")],
    next = all[(all.indexOf(document.activeElement) + move + all.length) % all.length];
  next.focus();
  choose(next.dataset.layer);
});
function build() {
  const option = (l) =>
    h(
      "button",
      {
        type: "button",
        role: "radio",
        class: `word ${l.about}`,
        "data-layer": l.key,
        onclick: () => choose(l.key),
      },
      said(l.label),
    );
  const inText = data.layers.filter((l) => l.kind === "phrase"),
    others = data.layers.filter((l) => l.pick),
    beside = data.layers.filter((l) => l.kind === "apart");
  picker.replaceChildren(
    h(
      "span",
      { class: "group", role: "none" },
      h("span", { class: "group-name" }, t("inside.words")),
      inText.map(option),
      beside.map(option),
    ),
    h(
      "span",
      { class: "group", role: "none" },
      h("span", { class: "group-name" }, t("inside.maps")),
      others.map(option),
    ),
  );
  grain.replaceChildren(
    ...["all", ...sides].map((s) =>
      h("option", { value: s, selected: s === side }, s === "all" ? t("inside.all") : named(s)),
    ),
  );
  tiles = [];
  const canvas = (size, index, phrase = null) => {
    const [rows, columns] = sizeOf("chain"),
      height = Math.round((size * rows) / columns),
      node = h("canvas", { width: size, height, "aria-hidden": "true" });
    tiles.push({ pen: node.getContext("2d"), index, phrase });
    return node;
  };
  chain.replaceChildren(
    ...data.chain.flatMap((link) =>
      [
        link.result ? h("span", { class: "operator" }, "→") : null,
        link.weight == null
          ? null
          : h(
              "span",
              { class: "operator" },
              h("span", {}, `− ${link.weight.toFixed(2)} ×`),
              canvas(56, null, link.map),
              h("em", {}, said(link.label)),
              h("span", {}, "="),
            ),
        h(
          "button",
          {
            type: "button",
            class: "tile",
            "data-layer": link.key,
            "aria-pressed": "false",
            "aria-label":
              link.weight == null ? said(link.label) : t("inside.left", { what: said(link.label) }),
            onclick: () => choose(link.key),
          },
          canvas(96, link.index),
          h("span", {}, link.weight == null ? said(link.label) : ""),
        ),
      ].filter(Boolean),
    ),
  );
}

/* Maps are made when somebody looks here. */
const want = () => {
  if (window.SPF.asked && root.offsetParent) document.dispatchEvent(new CustomEvent("spf:look"));
};
new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && want()).observe(root);

/* The data is held by the page (trace.js); this view comes and goes with its tab. */
function update() {
  if (!element.isConnected) {
    document.removeEventListener("spf:trace", update);
    pause();
    return;
  }
  pause();
  const { trace, asked } = window.SPF;
  if (!trace) {
    data = null;
    empty.textContent = asked ? said(asked.status) || t("inside.asked") : t("inside.empty");
    root.replaceChildren(empty);
    if (!asked?.failed) want();
    return;
  }
  ({ data, blob } = trace);
  frames = {};
  for (const [role, uris] of Object.entries(data.frames)) {
    frames[role] = uris.map((uri) => {
      const image = new Image();
      image.onload = () => shaped(image);
      image.src = uri;
      return image;
    });
  }
  edge = data.outline ? new Path2D(data.outline.path) : null;
  region = data.outline ? regionOf(data.outline) : null;
  spot = looks = apart = asking = null;
  wordStatus.textContent = "";
  chosenAt.clear();
  exactBox.hidden = !edge;
  sides = Object.keys(data.scales)
    .map(Number)
    .sort((a, b) => a - b);
  if (side !== "all" && !sides.includes(side)) side = "all";
  scrub.max = data.steps - 1;
  step = Math.min(data.steps - 1, Math.round(data.steps * 0.6));
  if (!root.contains(shell)) root.replaceChildren(shell);
  const top = region ? best() : null;
  if (top) ({ side, step } = top);
  build();
  choose(top?.key || data.start);
}
document.addEventListener("spf:trace", update);
watch("value", () => answered(props.value));
update();
