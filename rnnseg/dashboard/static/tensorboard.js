// What the page around this one tells: TensorBoard's theme, and when it has reloaded its data.

/** Takes over TensorBoard's theme, now and when it changes. */
export function followTheme() {
  const outer = parentBody();
  const system = matchMedia('(prefers-color-scheme: dark)');
  const apply = () => document.documentElement.classList.toggle('dark',
    outer ? outer.classList.contains('dark-mode') : system.matches);
  if (outer) {
    new MutationObserver(apply).observe(outer, {attributes: true, attributeFilter: ['class']});
  } else {
    system.addEventListener('change', apply);
  }
  apply();
}

function parentBody() {
  try {
    return parent === window ? null : parent.document.body;
  } catch {
    return null; // a page from elsewhere, into which one cannot look
  }
}

/** Calls back whenever TensorBoard has reloaded, by its button or by itself. */
export function onReload(callback) {
  const {port1, port2} = new MessageChannel();
  port1.onmessage = ({data}) => {
    const message = JSON.parse(data);
    if (message.isReply) return;
    if (message.type === 'experimental.DataReloaded') callback();
    port1.postMessage(JSON.stringify({...message, payload: null, error: null, isReply: true}));
  };
  parent.postMessage('experimental.bootstrap', location.origin, [port2]);
}
