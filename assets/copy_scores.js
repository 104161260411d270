const text = texts.data.text[which], label = button.label
const done = () => { button.label = 'copied'; setTimeout(() => { button.label = label }, 1500) }
if (navigator.clipboard) { navigator.clipboard.writeText(text).then(done) }
