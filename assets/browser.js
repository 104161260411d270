const TYPED_IN = "textarea, select, [contenteditable=true], input:not([type=checkbox], [type=radio], [type=range], [type=button])"
const KEPT = `mesoscope draft ${location.pathname}` // users of one portal differ in the path
const RETRY_MS = 1000

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
  const begin = () => {
    const shown = window.Bokeh?.documents[0]
    if (!shown?.is_idle) { setTimeout(begin, 50); return }
    tell()
    const kept = takeKept()
    if (kept) { model.send_msg({kept}) }
    // Alone: that of panel-material-ui 0.16 throws, and Bokeh then calls no other.
    shown._document_callbacks.set("connection_lost", [waitForServer])
  }
  begin()
  media.addEventListener("change", tell)
  document.addEventListener("keydown", press)
  model.on("kept", () => keep(model.kept))
  model.on("remove", () => {
    media.removeEventListener("change", tell)
    document.removeEventListener("keydown", press)
  })
}

// A browser that blocks storage throws at every access.
function keep(text) {
  try { text ? sessionStorage.setItem(KEPT, text) : sessionStorage.removeItem(KEPT) } catch { /* nothing is kept */ }
}

function takeKept() {
  try {
    const kept = sessionStorage.getItem(KEPT)
    sessionStorage.removeItem(KEPT) // what the server accepts comes back from it
    return kept
  } catch { return null }
}

// The session ended with its server, or with its websocket: a new one takes its place, by the same link.
function waitForServer() {
  if (document.getElementById("connection-lost")) { return }
  const bar = document.createElement("div")
  bar.id = "connection-lost"
  bar.setAttribute("role", "alert")
  bar.textContent = "Connection lost; trying again…"
  for (const one of document.body.children) { one.inert = true }
  document.body.append(bar)
  const script = document.querySelector("script[src*='static/']").src
  const ask = () => fetch(script, {method: "HEAD", cache: "no-store"}).then(
    answer => answer.ok ? location.reload() : setTimeout(ask, RETRY_MS),
    () => setTimeout(ask, RETRY_MS),
  )
  ask()
}
