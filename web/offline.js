// Keeps the page and all that it needs in the browser, so that it opens without a network, too.

/** Stores the files that page and worker have loaded; `urls` are the worker's. */
export async function keep(urls) {
  if (!navigator.serviceWorker) return; // browsers have it for pages from https or this machine
  await navigator.serviceWorker.register('service_worker.js');
  const own = performance.getEntriesByType('resource').map((entry) => entry.name);
  const all = new Set([location.href, ...own, ...urls].map((url) => new URL(url)).filter((url) =>
    url.origin === location.origin).map((url) => url.origin + url.pathname));
  const cache = await caches.open('rnnseg');
  await cache.addAll([...all]);
  document.documentElement.dataset.kept = 'true';
}
