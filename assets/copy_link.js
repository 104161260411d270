const done = () => { button.label = 'copied'; setTimeout(() => { button.label = 'link' }, 1500) }
if (navigator.clipboard) { navigator.clipboard.writeText(window.location.href).then(done) }
