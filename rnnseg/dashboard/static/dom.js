// Elements. All texts become text nodes: names of runs and classes are never parsed as HTML.

const SVG = 'http://www.w3.org/2000/svg';

/** Sets attributes and listeners (`onclick`, ...) of an element and appends its children. */
function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, '');
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

/** Makes an HTML element: `html('p', {class: 'note'}, 'text', ...)`. */
export function html(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Makes an SVG element, likewise. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Makes a `select` of texts; calls `onchoice(index)`. */
export function choice(texts, selected, attributes, onchoice) {
  const options = texts.map((text, index) =>
    html('option', {value: index, selected: index === selected}, text));
  return html('select', {...attributes, onchange: (event) => onchoice(+event.target.value)},
    ...options);
}

/** Makes a named group of radio buttons; calls `onchoice(key)`. */
export function radios(label, texts, selected, onchoice) {
  const buttons = Object.entries(texts).map(([key, text]) => html('label', {},
    html('input', {
      type: 'radio', name: label, value: key, checked: key === selected,
      onchange: () => onchoice(key),
    }), text));
  return html('fieldset', {class: 'radios'}, html('legend', {}, label), ...buttons);
}
