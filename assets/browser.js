const TYPED_IN = "textarea, select, [contenteditable=true], input:not([type=checkbox], [type=radio], [type=range], [type=button])"

export function render({model}) {
  const media = window.matchMedia("(prefers-color-scheme: dark)")
  const tell = () => { model.prefers_dark = media.matches }
  const press = (event) => {
    const target = event.composedPath()[0]
    const typing = target instanceof Element && target.matches(TYPED_IN)
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !model.keys.includes(event.key)) { return }
    event.preventDefault()
    model.send_msg({key: event.key})
  }
  // What changes before all is drawn is lost on the page's frame.
  const begin = () => { window.Bokeh?.documents[0]?.is_idle ? tell() : setTimeout(begin, 50) }
  begin()
  media.addEventListener("change", tell)
  document.addEventListener("keydown", press)
  model.on("remove", () => {
    media.removeEventListener("change", tell)
    document.removeEventListener("keydown", press)
  })
}
