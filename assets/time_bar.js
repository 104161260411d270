// One time control: step, slide, play, type a date. Asks for one step at a time: the next one once it is shown.
const STEP_MS = 125, PATIENCE_MS = 3000

const icon = path => `<svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true"><path fill="currentColor" d="${path}"/></svg>`
const BACK = icon("M15.4 7.4 14 6l-6 6 6 6 1.4-1.4L10.8 12z")
const FORWARD = icon("M8.6 16.6 10 18l6-6-6-6-1.4 1.4L13.2 12z")
const PLAY = icon("M8 5v14l11-7z")
const PAUSE = icon("M6 19h4V5H6zm8-14v14h4V5z")

export function render({ model, el }) {
  const bar = document.createElement("div")
  bar.className = "bar"
  bar.innerHTML = `
    <button type="button" class="back" aria-label="One step back" title="One step back (←)">${BACK}</button>
    <button type="button" class="play" aria-label="Play" title="Play (space)">${PLAY}</button>
    <button type="button" class="forward" aria-label="One step forward" title="One step forward (→)">${FORWARD}</button>
    <input type="range" class="slider" min="0" step="1" aria-label="Time step">
    <input type="text" class="date" aria-label="Date and time" placeholder="2019-03-14 06:00" spellcheck="false">
    <output class="count"></output>`
  const [back, play, forward, slider, date, count] = bar.children
  let wanted = model.step, asked = null, askedAt = 0, timer = null, patience = null

  const ask = () => {
    if (asked !== null || wanted === model.step) { return }
    asked = wanted
    askedAt = performance.now()
    patience = setTimeout(shown, PATIENCE_MS)
    model.step = asked
  }
  const shown = () => {
    clearTimeout(patience)
    asked = null
    ask()
    if (model.playing) {
      clearTimeout(timer)
      const rest = STEP_MS - (performance.now() - askedAt)
      requestAnimationFrame(() => { timer = setTimeout(() => go((wanted + 1) % Math.max(model.steps, 1)), Math.max(rest - 16, 0)) })
    }
  }
  const go = step => {
    wanted = Math.min(Math.max(step, 0), Math.max(model.steps - 1, 0))
    slider.value = wanted
    ask()
  }
  const draw = () => {
    const last = Math.max(model.steps - 1, 0)
    slider.max = Math.max(last, 1)
    slider.disabled = date.disabled = play.disabled = last === 0
    if (asked === null) { wanted = model.step }
    slider.value = wanted
    slider.setAttribute("aria-valuetext", model.label)
    if (bar.getRootNode().activeElement !== date || model.message === "") { date.value = model.label }
    date.classList.toggle("wrong", model.message !== "")
    count.textContent = model.message || (model.steps ? `${model.step + 1} of ${model.steps}` : "")
    back.disabled = wanted === 0
    forward.disabled = wanted >= last
  }
  const drawPlay = () => {
    play.innerHTML = model.playing ? PAUSE : PLAY
    play.setAttribute("aria-pressed", model.playing)
    clearTimeout(timer)
    if (model.playing) { go((wanted + 1) % Math.max(model.steps, 1)) }
  }
  const typed = event => {
    if (event.type === "keydown" && event.key !== "Enter") { return }
    if (date.value !== model.label) { model.typed = date.value }
  }
  const key = event => {
    const at = event.composedPath()[0]
    const isTyping = at.matches && at.matches("input, textarea, select, [contenteditable], [role=slider], [role=tab], [role=listbox]")
    if (isTyping || event.ctrlKey || event.altKey || event.metaKey || el.offsetParent === null) { return }
    const last = model.steps - 1
    const steps = { ArrowLeft: wanted - 1, ArrowRight: wanted + 1, Home: 0, End: last, PageUp: wanted - 10, PageDown: wanted + 10 }
    if (event.key in steps) { go(steps[event.key]); event.preventDefault() }
    if (event.key === " " && !(at.matches && at.matches("button"))) { model.playing = !model.playing; event.preventDefault() }
  }
  back.onclick = () => go(wanted - 1)
  forward.onclick = () => go(wanted + 1)
  play.onclick = () => { model.playing = !model.playing }
  slider.oninput = () => go(Number(slider.value))
  date.onchange = date.onkeydown = typed
  document.addEventListener("keydown", key)
  model.on(["step", "steps", "label", "message"], draw)
  model.on("playing", drawPlay)
  model.on("shown", shown)
  model.on("remove", () => { document.removeEventListener("keydown", key); clearTimeout(timer); clearTimeout(patience) })
  draw()
  return bar
}
