// Answers from the network, so that a new page is seen at once, and without one from what was kept.

self.onfetch = (event) => {
  if (event.request.method !== 'GET') return;
  event.respondWith(fetch(event.request).catch(async (error) => {
    const kept = await caches.match(event.request, {ignoreSearch: true, ignoreVary: true});
    if (!kept) throw error;
    return kept;
  }));
};
