// The facts above the maps, put in place without a new layout of the page.
for (const [at, title] of titles.entries()) {
  const fact = facts.data.fact[at]
  const view = Bokeh.index.find_one(title)
  const place = view && view.shadow_el.querySelector("span")
  if (place) { place.textContent = fact }
  const holder = document.createElement("div")
  holder.innerHTML = title.text
  holder.querySelector("span").textContent = fact
  title.setv({text: holder.innerHTML}, {silent: true})
}
