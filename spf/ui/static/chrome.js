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
const away = (key, href) => h("a", { href, target: "_blank", rel: "noopener" }, t(key));
const code = h("span");
/* A page of elsewhere, or an archive that this page gives. */
const given = (where) =>
  where.endsWith(".zip")
    ? h("a", { href: where, download: "" }, t("link.code"))
    : away("link.code", where);
const links = h(
  "nav",
  { "aria-label": t("links") },
  away("link.paper", "https://arxiv.org/abs/2504.00396"),
  code,
  away("link.licence", "https://www.apache.org/licenses/LICENSE-2.0"),
  h("button", { type: "button", onclick: () => trigger("tour") }, t("tab.tour")),
);
root.replaceChildren(
  h("div", { class: "brand" }, h("h1", {}, "SPF-Portrait Studio"), h("p", {}, t("tagline")), links),
  h("div", { class: "tools" }, state, languages, scheme),
);
/* A tab that is opened comes into sight, where the row of tabs scrolls. */
new MutationObserver(() => {
  const row = document.querySelector("#tabs [role=tablist]"),
    tab = row?.querySelector("[aria-selected=true]");
  if (!tab || row.scrollWidth <= row.clientWidth) return;
  const middle = tab.offsetLeft - row.offsetLeft - (row.clientWidth - tab.clientWidth) / 2;
  row.scrollTo({ left: middle, behavior: "smooth" });
}).observe(document.body, { subtree: true, attributeFilter: ["aria-selected"] });
function update(value) {
  state.dataset.state = value?.state || "loading";
  state.lastChild.textContent = said(value?.text);
  code.replaceChildren(value?.code ? given(value.code) : "");
}
keepDark();
watch("value", () => update(props.value));
update(props.value);
