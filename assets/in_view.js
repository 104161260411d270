// Lists the named parts that are in view, or would be with a little scrolling, and makes the stale ones faint.
const MARGIN = "400px 0px"

export function render({model}) {
  const names = new Map()
  const shown = new Set()
  let printing = false
  const report = () => { model.in_view = model.names.filter((name) => printing || shown.has(name)) }
  const observer = new IntersectionObserver((entries) => {
    for (const {target, isIntersecting} of entries) {
      isIntersecting ? shown.add(names.get(target)) : shown.delete(names.get(target))
    }
    report()
  }, {rootMargin: MARGIN, scrollMargin: MARGIN})
  const findAll = () => {
    const models = [...window.Bokeh.documents[0]._all_models.values()]
    const views = model.names.map((name) => {
      const found = models.find((one) => one.tags.includes(name))
      return found && window.Bokeh.index.find_one(found)
    })
    if (!views.every((view) => view?.el.isConnected)) { waiting = setTimeout(findAll, 20); return }
    for (const [at, view] of views.entries()) {
      names.set(view.el, model.names[at])
      observer.observe(view.el)
    }
    markStale()
  }
  const markStale = () => {
    for (const [el, name] of names) { el.classList.toggle("stale", model.stale.includes(name)) }
  }
  let waiting = setTimeout(findAll, 0)
  // What is printed is all of the page; what the server has not drawn by then is there the next time.
  const print = (event) => { printing = event.type === "beforeprint"; report() }
  window.addEventListener("beforeprint", print)
  window.addEventListener("afterprint", print)
  model.on("stale", markStale)
  model.on("remove", () => {
    clearTimeout(waiting)
    observer.disconnect()
    window.removeEventListener("beforeprint", print)
    window.removeEventListener("afterprint", print)
  })
}
