// The place under the pointer, at most every 60 ms; none when it leaves the map.
const now = performance.now()
const rest = 60 - (now - (pointer.tags[0] ?? 0))
clearTimeout(pointer.tags[1])
const tell = () => {
  pointer.tags[0] = performance.now()
  const left = cb_obj.event_name === "mouseleave"
  pointer.data = left ? {x: [], y: []} : {x: [cb_obj.x], y: [cb_obj.y]}
}
if (rest <= 0) { tell() } else { pointer.tags[1] = setTimeout(tell, rest) }
