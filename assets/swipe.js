upper.styles = {...upper.styles, 'clip-path': `inset(0 0 0 ${cb_obj.value}%)`}
edge.styles = {...edge.styles, left: `${cb_obj.value}%`}
