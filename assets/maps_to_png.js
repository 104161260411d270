const pictures = maps.map(map => Bokeh.index.find_one(map).export('png', true).canvas)
const strip = Bokeh.index.find_one(bar).export('png', true).canvas
const px = window.devicePixelRatio, [w, h] = [pictures[0].width, pictures[0].height]
const [gap, head] = [12 * px, 28 * px]
const rows = Math.ceil(maps.length / columns), wide = Math.min(columns, maps.length)
const sheet = document.createElement('canvas')
sheet.width = wide * (w + gap) + gap + strip.width
sheet.height = Math.max(rows * (h + head), strip.height + head) + gap
const pen = sheet.getContext('2d'), look = getComputedStyle(document.body)
pen.fillStyle = look.backgroundColor; pen.fillRect(0, 0, sheet.width, sheet.height)
pen.fillStyle = look.color; pen.font = `600 ${13 * px}px ` + look.fontFamily
pictures.forEach((picture, i) => {
  const x = gap + (i % columns) * (w + gap), y = Math.floor(i / columns) * (h + head)
  pen.fillText(names[i], x, y + 19 * px, w); pen.drawImage(picture, x, y + head)
})
pen.drawImage(strip, gap + wide * (w + gap), head)
const link = document.createElement('a')
link.download = 'maps.png'; link.href = sheet.toDataURL('image/png'); link.click()
