// The page around this one: TensorBoard's theme, and the event that its data were reloaded.

/** Follows TensorBoard's theme, now and when it changes. */
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
    return null; // a page of another origin, which is not accessible
  }
}

/** Calls back whenever TensorBoard has reloaded its data, by its button or by itself. */
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
