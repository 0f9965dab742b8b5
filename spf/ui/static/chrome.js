/* The top line: name, what the model is doing, language and colour scheme. */
const { t, said, h, lang, store, setDark, keepDark } = window.SPF;
const root = element.querySelector(".spf-chrome");
const state = h("span", { class: "state", role: "status" }, h("i"), h("span"));
const language = h("button", { type: "button", class: "plain", lang: lang === "zh" ? "en" : "zh", onclick: () => {
  store("spf-lang", lang === "zh" ? "en" : "zh");
  const url = new URL(location.href); url.searchParams.delete("lang"); location.href = url.href; location.reload();
} }, lang === "zh" ? "English" : "中文");
const scheme = h("button", { type: "button", class: "icon scheme", "aria-label": t("scheme"), title: t("scheme"), onclick: () => setDark(!document.body.classList.contains("dark")) });
root.replaceChildren(
  h("div", { class: "brand" }, h("h1", {}, "SPF-Portrait Studio"), h("p", {}, t("tagline"))),
  h("div", { class: "tools" }, state, language, scheme));
function update(value) {
  state.dataset.state = (value || {}).state || "loading";
  state.lastChild.textContent = said((value || {}).text);
}
keepDark();
watch("value", () => update(props.value));
update(props.value);
