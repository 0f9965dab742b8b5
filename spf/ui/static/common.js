/* Shared by the page's own components: texts, DOM helper, colour maps, small file formats, and
   what becomes of a run. */
(() => {
  const stored = (key) => {
    try {
      return localStorage.getItem(key);
    } catch {
      return null;
    }
  };
  const store = (key, value) => {
    try {
      localStorage.setItem(key, value);
    } catch {
      /* private window */
    }
  };

  // Gradio's own translations follow navigator.language, so the choice has to be in place before
  // Gradio starts.
  const tables = window.SPF_TEXTS;
  const asked = new URLSearchParams(location.search).get("lang") || stored("spf-lang");
  if (asked in tables) {
    Object.defineProperty(navigator, "language", { get: () => tables[asked]["language.code"] });
  }
  const spoken = (navigator.language || "en").toLowerCase();
  const lang = Object.keys(tables).find((code) => spoken.startsWith(code)) || "en";
  const texts = { ...tables.en, ...tables[lang] };
  document.documentElement.lang = texts["language.code"];

  const fill = (text, values = {}) =>
    text.replace(/\{(\w+)\}/g, (all, key) => (key in values ? values[key] : all));
  const t = (key, values) => fill(texts[key] ?? key, values);
  /* A text made by the server arrives in every language. */
  const said = (both) =>
    both == null ? "" : typeof both === "string" ? both : (both[lang] ?? both.en ?? "");

  /* What becomes of the run that was asked for last, also where Gradio shows nothing of it: its
     place in the queue, a refusal, a lost connection. Its waiting then always ends. */
  const tell = (name, detail) => document.dispatchEvent(new CustomEvent(name, { detail }));
  const ended = (status) => {
    asking = false;
    tell("spf:ended", { status: status || t("status.lost") });
  };
  let asking = false,
    event = null;
  document.addEventListener("spf:pending", () => {
    asking = true;
    event = null;
  });
  document.addEventListener("spf:done", () => {
    asking = false;
  });
  const heard = (message) => {
    if (!event || message.event_id !== event) return;
    if (message.msg === "estimation" && message.rank > 0)
      tell("spf:place", { n: message.rank + 1, s: Math.ceil(message.rank_eta || 0) });
    if (message.msg === "process_completed") {
      event = null;
      if (!message.success) ended(message.output?.error);
    }
  };
  const listen = async (stream) => {
    let left = "";
    try {
      const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        const lines = (left + part.value).split("\n");
        left = lines.pop();
        for (const line of lines) if (line.startsWith("data:")) heard(JSON.parse(line.slice(5)));
      }
    } catch {
      /* told below */
    }
    if (event) {
      event = null;
      ended();
    }
  };
  /* The queue's own words; for a 503 Gradio would show English ones of its own. */
  const refused = async (answer) => {
    const { detail } = await answer
      .clone()
      .json()
      .catch(() => ({}));
    if (!detail?.en) return answer;
    return new Response(JSON.stringify({ detail: said(detail) }), { status: 429 });
  };
  const plain = window.fetch.bind(window);
  window.fetch = async (input, options) => {
    const path = new URL(input?.url ?? input, location.href).pathname;
    const first = asking && path.endsWith("/run/predict"), // whether it is there
      joins = asking && path.endsWith("/queue/join"),
      streams = path.endsWith("/queue/data");
    if (joins) asking = false;
    let answer;
    try {
      answer = await plain(input, options);
    } catch (error) {
      if (first || joins || (streams && event)) ended();
      throw error;
    }
    if (first && !answer.ok) ended();
    if (answer.status === 503 && path.endsWith("/queue/join")) answer = await refused(answer);
    if (joins) {
      const told = await answer
        .clone()
        .json()
        .catch(() => ({}));
      if (answer.ok) event = told.event_id;
      else ended(typeof told.detail === "string" ? told.detail : null);
    }
    if (!streams || !answer.body) return answer;
    const [mine, theirs] = answer.body.tee();
    listen(mine);
    const { status, statusText, headers } = answer;
    return new Response(theirs, { status, statusText, headers });
  };

  const h = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) {
      if (value == null || value === false) continue;
      if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
      else if (key === "class") node.className = value;
      else node.setAttribute(key, value === true ? "" : value);
    }
    node.append(...children.flat().filter((c) => c != null && c !== false));
    return node;
  };

  const bytes = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const dataBytes = (uri) => bytes(uri.slice(uri.indexOf(",") + 1));

  const unzip = async (base64) => {
    const stream = new Blob([bytes(base64)]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  };

  // 256 colours through a few stops; both maps rise evenly in lightness, so they also read in grey.
  const ramp = (stops) => {
    const out = new Uint8Array(256 * 3);
    for (let i = 0; i < 256; i++) {
      const x = (i / 255) * (stops.length - 1),
        k = Math.min(Math.floor(x), stops.length - 2),
        f = x - k;
      for (let c = 0; c < 3; c++)
        out[i * 3 + c] = Math.round(stops[k][c] * (1 - f) + stops[k + 1][c] * f);
    }
    return out;
  };
  const heat = ramp([
    [24, 15, 61],
    [92, 22, 109],
    [165, 44, 96],
    [225, 89, 57],
    [251, 155, 6],
    [250, 252, 160],
  ]);
  const change = ramp([
    [196, 78, 36],
    [226, 150, 112],
    [128, 128, 128],
    [86, 176, 166],
    [15, 120, 112],
  ]);

  /* Draws one map [h, w] of values from 0 to 255, smoothly enlarged, over whatever the canvas
     shows. Signed maps are centred on 128. */
  const small = document.createElement("canvas");
  const drawMap = (
    context,
    map,
    [rows, columns],
    { opacity = 1, signed = false, veil = true } = {},
  ) => {
    small.width = columns;
    small.height = rows;
    const pen = small.getContext("2d"),
      image = pen.createImageData(columns, rows),
      colours = signed ? change : heat;
    for (let i = 0; i < rows * columns; i++) {
      const v = Math.max(0, Math.min(255, Math.round(map[i]))),
        weight = signed ? Math.abs(v - 128) / 127 : v / 255;
      image.data[i * 4] = colours[v * 3];
      image.data[i * 4 + 1] = colours[v * 3 + 1];
      image.data[i * 4 + 2] = colours[v * 3 + 2];
      image.data[i * 4 + 3] = veil
        ? Math.round(255 * opacity * Math.min(1, 0.25 + 0.95 * weight))
        : 255;
    }
    pen.putImageData(image, 0, 0);
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "low"; // bilinear is what a map wants
    context.drawImage(small, 0, 0, context.canvas.width, context.canvas.height);
  };

  const crcTable = Array.from({ length: 256 }, (_, n) => {
    for (let k = 0; k < 8; k++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
    return n >>> 0;
  });
  const crc32 = (data) => {
    let crc = 0xffffffff;
    for (const byte of data) crc = (crc >>> 8) ^ crcTable[(crc ^ byte) & 255];
    return (crc ^ 0xffffffff) >>> 0;
  };

  /* A ZIP without compression of {name: Uint8Array}; an .npz is the same with .npy files in it. */
  const zip = (files) => {
    const text = new TextEncoder(),
      parts = [],
      directory = [];
    let offset = 0;
    for (const [name, data] of Object.entries(files)) {
      const title = text.encode(name),
        head = new DataView(new ArrayBuffer(30)),
        entry = new DataView(new ArrayBuffer(46));
      const fields = [
        [20, 2],
        [0x0800, 2],
        [0, 2],
        [0, 2],
        [33, 2],
        [crc32(data), 4],
        [data.length, 4],
        [data.length, 4],
        [title.length, 2],
        [0, 2],
      ];
      const put = (view, at) => {
        for (const [v, n] of fields) {
          n === 2 ? view.setUint16(at, v, true) : view.setUint32(at, v, true);
          at += n;
        }
      };
      head.setUint32(0, 0x04034b50, true);
      put(head, 4);
      entry.setUint32(0, 0x02014b50, true);
      entry.setUint16(4, 20, true);
      put(entry, 6);
      entry.setUint32(42, offset, true);
      parts.push(new Uint8Array(head.buffer), title, data);
      directory.push(new Uint8Array(entry.buffer), title);
      offset += 30 + title.length + data.length;
    }
    const size = directory.reduce((sum, part) => sum + part.length, 0),
      end = new DataView(new ArrayBuffer(22)),
      n = directory.length / 2;
    end.setUint32(0, 0x06054b50, true);
    end.setUint16(8, n, true);
    end.setUint16(10, n, true);
    end.setUint32(12, size, true);
    end.setUint32(16, offset, true);
    return new Blob([...parts, ...directory, new Uint8Array(end.buffer)], {
      type: "application/zip",
    });
  };
  const npy = (data, shape) => {
    let head = `{'descr': '|u1', 'fortran_order': False, 'shape': (${shape.join(", ")},), }`;
    head += `${" ".repeat(63 - ((10 + head.length) % 64))}\n`;
    const out = new Uint8Array(10 + head.length + data.length);
    out.set([0x93, 78, 85, 77, 80, 89, 1, 0, head.length & 255, head.length >> 8]);
    out.set(new TextEncoder().encode(head), 10);
    out.set(data, 10 + head.length);
    return out;
  };
  /* A GIF of RGBA frames of one size, each shown for `pause` hundredths of a second: 255 colours
     by median cut, then LZW. */
  const gif = (frames, width, height, pause) => {
    const counts = new Uint32Array(32768),
      at = (d, i) => ((d[i] >> 3) << 10) | ((d[i + 1] >> 3) << 5) | (d[i + 2] >> 3);
    for (const d of frames) for (let i = 0; i < d.length; i += 16) counts[at(d, i)]++;
    const part = (c, k) => (c >> (10 - 5 * k)) & 31;
    const box = (colours) => {
      let widest = 0,
        span = -1,
        n = 0;
      for (const c of colours) n += counts[c];
      for (let k = 0; k < 3; k++) {
        let low = 31,
          high = 0;
        for (const c of colours) {
          const v = part(c, k);
          if (v < low) low = v;
          if (v > high) high = v;
        }
        if (high - low > span) {
          span = high - low;
          widest = k;
        }
      }
      return { colours, n, widest, span };
    };
    const used = [];
    for (let c = 0; c < 32768; c++) if (counts[c]) used.push(c);
    const boxes = [box(used)];
    while (boxes.length < 256) {
      let pick = -1,
        most = 0;
      boxes.forEach((b, i) => {
        const weight = b.span * Math.sqrt(b.n);
        if (b.colours.length > 1 && weight > most) {
          most = weight;
          pick = i;
        }
      });
      if (pick < 0) break;
      const { colours, n, widest } = boxes[pick];
      colours.sort((a, b) => part(a, widest) - part(b, widest));
      let half = 0,
        cut = 0;
      while (cut < colours.length - 1 && half < n / 2) half += counts[colours[cut++]];
      boxes.splice(
        pick,
        1,
        box(colours.slice(0, Math.max(1, cut))),
        box(colours.slice(Math.max(1, cut))),
      );
    }
    const palette = new Uint8Array(768),
      index = new Int16Array(32768).fill(-1);
    boxes.forEach((b, i) => {
      const sum = [0, 0, 0];
      for (const c of b.colours) {
        index[c] = i;
        for (let k = 0; k < 3; k++) sum[k] += counts[c] * part(c, k);
      }
      for (let k = 0; k < 3; k++) palette[i * 3 + k] = Math.round(((sum[k] / b.n) * 255) / 31);
    });
    const nearest = (c) => {
      // a colour that the sample of pixels missed
      let best = 0,
        far = Infinity;
      for (let i = 0; i < boxes.length; i++) {
        let d = 0;
        for (let k = 0; k < 3; k++) d += ((part(c, k) * 255) / 31 - palette[i * 3 + k]) ** 2;
        if (d < far) {
          far = d;
          best = i;
        }
      }
      index[c] = best;
      return best;
    };
    const out = [],
      word = (v) => out.push(v & 255, v >> 8),
      text = (s) => {
        for (const c of s) out.push(c.charCodeAt(0));
      };
    text("GIF89a");
    word(width);
    word(height);
    out.push(0xf7, 0, 0);
    for (const v of palette) out.push(v);
    out.push(0x21, 0xff, 11);
    text("NETSCAPE2.0");
    out.push(3, 1, 0, 0, 0);
    frames.forEach((d, number) => {
      out.push(0x21, 0xf9, 4, 0);
      word(number === frames.length - 1 ? 100 : pause);
      out.push(0, 0);
      out.push(0x2c);
      word(0);
      word(0);
      word(width);
      word(height);
      out.push(0, 8);
      let bits = 9,
        next = 258,
        hold = 0,
        held = 0,
        block = [],
        table = new Map();
      const flush = () => {
        if (block.length) {
          out.push(block.length);
          for (const v of block) out.push(v);
          block = [];
        }
      };
      const emit = (code) => {
        hold |= code << held;
        held += bits;
        while (held >= 8) {
          block.push(hold & 255);
          hold >>>= 8;
          held -= 8;
          if (block.length === 255) flush();
        }
      };
      emit(256);
      let run = -1;
      for (let i = 0; i < d.length; i += 4) {
        const c = at(d, i),
          v = index[c] < 0 ? nearest(c) : index[c];
        if (run < 0) {
          run = v;
          continue;
        }
        const key = run * 256 + v,
          code = table.get(key);
        if (code !== undefined) {
          run = code;
          continue;
        }
        emit(run);
        if (next < 4096) {
          if (next === 1 << bits) bits++;
          table.set(key, next++);
        } else {
          emit(256);
          bits = 9;
          next = 258;
          table = new Map();
        }
        run = v;
      }
      emit(run);
      if (next === 1 << bits && bits < 12) bits++;
      emit(257);
      if (held) block.push(hold & 255);
      flush();
      out.push(0);
    });
    out.push(0x3b);
    return new Blob([new Uint8Array(out)], { type: "image/gif" });
  };
  const save = (name, blob) => {
    const url = URL.createObjectURL(blob),
      link = h("a", { href: url, download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  };

  /* The settings that we wrote into a PNG (text chunk "spf"), or null. */
  const readSettings = async (file) => {
    const data = new Uint8Array(await file.arrayBuffer()),
      view = new DataView(data.buffer);
    if (data.length < 16 || view.getUint32(0) !== 0x89504e47) return null;
    for (let at = 8; at + 12 <= data.length; ) {
      const length = view.getUint32(at),
        kind = String.fromCharCode(...data.subarray(at + 4, at + 8));
      const body = data.subarray(at + 8, at + 8 + length),
        zero = body.indexOf(0);
      if (
        (kind === "tEXt" || kind === "iTXt") &&
        new TextDecoder().decode(body.subarray(0, zero)) === "spf"
      ) {
        try {
          return JSON.parse(
            new TextDecoder().decode(body.subarray(zero + (kind === "iTXt" ? 5 : 1))),
          );
        } catch {
          return null;
        }
      }
      at += 12 + length;
    }
    return null;
  };

  /* Both colour schemes are Gradio's; the button only overrides what the system asks for. */
  const setDark = (dark) => {
    document.body.classList.toggle("dark", dark);
    store("spf-dark", dark ? "1" : "0");
  };
  const keepDark = () => {
    const wish = new URLSearchParams(location.search).get("__theme") ? null : stored("spf-dark");
    if (wish != null) document.body.classList.toggle("dark", wish === "1");
  };

  const button = (id) => document.querySelector(`#${id}`);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      button("generate")?.click();
    }
    if (event.key === "Escape" && !document.querySelector("dialog[open]")) button("stop")?.click();
  });

  /* Presses Generate as soon as `ready()`: fields that were filled by the server take a moment.
     never: what is done where they do not come. */
  const press = (ready, never = () => {}, patience = 5000) => {
    const began = Date.now(),
      wait = setInterval(() => {
        const there = ready(),
          late = Date.now() - began > patience;
        if (there || late) clearInterval(wait);
        if (there) setTimeout(() => document.querySelector("#generate")?.click(), 80);
        else if (late) never();
      }, 40);
  };
  /* Where a text is written. */
  const field = (name) => document.querySelector(`#${name} textarea, #${name} input`);
  const namedValue = (name, value) => texts[`value.${name}.${value}`] ?? value;

  /* A small JPEG of the middle square of a picture. */
  const thumbnail = (src, side) =>
    new Promise((done) => {
      const image = new Image();
      image.onload = () => {
        const canvas = h("canvas", { width: side, height: side });
        const { naturalWidth: w, naturalHeight: hgt } = image,
          least = Math.min(w, hgt),
          from = [(w - least) / 2, (hgt - least) / 2, least, least];
        canvas.getContext("2d").drawImage(image, ...from, 0, 0, side, side);
        done(canvas.toDataURL("image/jpeg", 0.8));
      };
      image.onerror = () => done("");
      image.src = src || "";
    });

  window.SPF = {
    thumbnail,
    press,
    field,
    namedValue,
    lang,
    t,
    said,
    h,
    bytes,
    dataBytes,
    unzip,
    drawMap,
    gif,
    zip,
    npy,
    save,
    readSettings,
    setDark,
    keepDark,
    stored,
    store,
  };
})();
