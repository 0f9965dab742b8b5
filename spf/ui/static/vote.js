/* The blind vote: original above, two unnamed portraits, three questions; then who was who and how
   the votes stand. */
const { t, said, h } = window.SPF;
const root = element.querySelector(".spf-vote");
const QUESTIONS = ["keeps", "shows", "nicer"],
  ANSWERS = ["left", "same", "right"];
let data = {},
  answers = {};

const picture = (src, text, name) =>
  h(
    "figure",
    { "data-side": name },
    h("div", { class: "frame" }, src ? h("img", { src, alt: text }) : null),
    h("figcaption", {}, h("b", {}, text)),
  );
const percent = (value) => `${Math.round(100 * value)}%`;
function question(name) {
  const buttons = ANSWERS.map((answer) =>
    h(
      "button",
      {
        type: "button",
        class: "seg",
        role: "radio",
        "aria-checked": "false",
        "data-answer": answer,
        tabindex: answer === "left" ? "0" : "-1",
        onclick: () => choose(answer),
      },
      t(`vote.${answer}`),
    ),
  );
  const group = h(
    "div",
    {
      class: "segments",
      role: "radiogroup",
      "aria-labelledby": `vote-${name}`,
      "data-question": name,
    },
    buttons,
  );
  const choose = (answer) => {
    answers[name] = answer;
    buttons.forEach((b) => {
      const on = b.dataset.answer === answer;
      b.setAttribute("aria-checked", on);
      b.tabIndex = on ? 0 : -1;
    });
    send.disabled = QUESTIONS.some((one) => !answers[one]);
  };
  group.addEventListener("keydown", (event) => {
    const move = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!move) return;
    event.preventDefault();
    const next = buttons[(buttons.indexOf(document.activeElement) + move + 3) % 3];
    next.focus();
    choose(next.dataset.answer);
  });
  return h(
    "div",
    { class: "question" },
    h("span", { id: `vote-${name}` }, t(`vote.${name}`, { target: data.target || "" })),
    group,
  );
}
const send = h(
  "button",
  {
    type: "button",
    class: "plain strong",
    onclick: () => {
      send.disabled = true;
      trigger("answer", { ballot: data.ballot, answers });
    },
  },
  t("vote.send"),
);
const ask = (text) =>
  h(
    "button",
    {
      type: "button",
      class: "plain strong next",
      onclick: (event) => {
        event.currentTarget.disabled = true;
        trigger("ask");
      },
    },
    text,
  );

function tally(value) {
  if (!value?.rows.length) return h("p", { class: "muted" }, t("vote.nobody"));
  const methods = [...new Set(value.rows.map((r) => r.method))];
  const row = (method, name) => value.rows.find((r) => r.method === method && r.question === name);
  return h(
    "div",
    { class: "tally" },
    h("h3", {}, t("vote.tally", { n: value.count })),
    h("p", { class: "muted" }, t("vote.tally.about")),
    value.questions.map((name) =>
      h(
        "div",
        { class: "tally-question" },
        h("b", {}, t(`vote.short.${name}`)),
        methods.map((method) => {
          const { share, low, high, won, lost, same } = row(method, name);
          return h(
            "div",
            { class: "tally-row", "data-method": method },
            h("span", {}, method),
            h(
              "span",
              {
                class: "bar",
                role: "img",
                "aria-label":
                  share == null
                    ? t("vote.undecided")
                    : `${percent(share)}, ${percent(low)} – ${percent(high)}`,
              },
              share == null
                ? null
                : h("i", { style: `left:${100 * low}%;width:${100 * (high - low)}%` }),
              share == null ? null : h("b", { style: `left:${100 * share}%` }),
            ),
            h(
              "span",
              { class: "numbers" },
              share == null
                ? t("vote.undecided")
                : `${percent(share)} (${percent(low)} – ${percent(high)})`,
            ),
            h("span", { class: "muted numbers" }, t("vote.counts", { won, lost, same })),
          );
        }),
      ),
    ),
  );
}

function update(value) {
  const before = data;
  data = value || { phase: "start" };
  root.dataset.phase = data.phase;
  if (data.phase === "start") {
    root.replaceChildren(
      h(
        "div",
        { class: "vote-start" },
        h("h2", {}, t("vote.title")),
        h("p", { class: "lead" }, t("vote.about")),
        h(
          "div",
          { class: "actions" },
          ask(t("vote.begin")),
          data.tally
            ? null
            : h(
                "button",
                { type: "button", class: "plain", onclick: () => trigger("tally") },
                t("vote.see"),
              ),
        ),
      ),
      data.tally ? tally(data.tally) : "",
    );
    return;
  }
  if (data.phase === "drawing") {
    root.replaceChildren(
      h("p", { class: "lead", role: "status" }, said(data.status)),
      h(
        "div",
        {
          class: "progress",
          role: "progressbar",
          "aria-valuenow": Math.round(100 * (data.progress || 0)),
        },
        h("i", { style: `width:${100 * (data.progress || 0)}%` }),
      ),
    );
    return;
  }
  if (data.phase === "over") {
    root.replaceChildren(
      h("p", { class: "lead", role: "status" }, said(data.status)),
      tally(data.tally),
    );
    return;
  }
  if (data.phase === "asking") {
    answers = {};
    send.disabled = true;
    root.replaceChildren(
      h(
        "div",
        { class: "vote-texts" },
        h("p", {}, h("span", { class: "muted" }, `${t("field.base")}: `), data.base),
        h("p", {}, h("span", { class: "muted" }, `${t("vote.asked")}: `), h("b", {}, data.target)),
      ),
      h(
        "div",
        { class: "vote-pictures" },
        picture(data.original, t("role.original"), "original"),
        picture(data.left, t("vote.left"), "left"),
        picture(data.right, t("vote.right"), "right"),
      ),
      h("div", { class: "questions" }, QUESTIONS.map(question)),
      h("div", { class: "actions" }, send),
    );
    if (before.phase && before.phase !== "start")
      root.querySelector(".questions button").focus({ preventScroll: true });
    return;
  }
  const known = data.revealed,
    names = root.querySelectorAll("figure b");
  if (known && names.length === 3) {
    // the pictures stay on screen while their names are told
    names[1].textContent = `${t("vote.left")}: ${known.left}`;
    names[2].textContent = `${t("vote.right")}: ${known.right}`;
  }
  const pictures = root.querySelector(".vote-pictures");
  root.replaceChildren(
    ...[
      pictures,
      h("p", { class: "lead", role: "status" }, known ? t("vote.thanks") : said(data.status)),
      h("div", { class: "actions" }, ask(t("vote.next"))),
      tally(data.tally),
    ].filter(Boolean),
  );
  root.querySelector(".next").focus({ preventScroll: true });
}
watch("value", () => update(props.value));
update(props.value);
