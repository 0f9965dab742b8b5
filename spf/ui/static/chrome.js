/* The top line: name, what the model is doing, language and colour scheme. */
const { t, said, h, lang, store, setDark, keepDark } = window.SPF;
const root = element.querySelector(".spf-chrome");
const state = h("span", { class: "state", role: "status" }, h("i"), h("span"));
/* A button for each other language. */
const others = Object.entries(window.SPF_TEXTS).filter(([code]) => code !== lang);
const languages = others.map(([code, texts]) =>
  h(
    "button",
    { type: "button", class: "plain", lang: code, onclick: () => speak(code) },
    texts.language,
  ),
);
function speak(code) {
  store("spf-lang", code);
  const url = new URL(location.href);
  url.searchParams.delete("lang");
  location.href = url.href;
  location.reload();
}
const scheme = h("button", {
  type: "button",
  class: "icon scheme",
  "aria-label": t("scheme"),
  title: t("scheme"),
  onclick: () => setDark(!document.body.classList.contains("dark")),
});
root.replaceChildren(
  h("div", { class: "brand" }, h("h1", {}, "SPF-Portrait Studio"), h("p", {}, t("tagline"))),
  h("div", { class: "tools" }, state, languages, scheme),
);
function update(value) {
  state.dataset.state = value?.state || "loading";
  state.lastChild.textContent = said(value?.text);
}
keepDark();
watch("value", () => update(props.value));
update(props.value);
