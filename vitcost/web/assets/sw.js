// Keeps every file of the page, so that it works offline once it was loaded.
const CACHE = `vitcost ${registration.scope} {{DIGEST}}`;
const FILES = {{FILES}};

addEventListener("install", event => {
  event.waitUntil(caches.open(CACHE).then(cache => cache.addAll(FILES)).then(() => skipWaiting()));
});

addEventListener("activate", event => {
  const own = `vitcost ${registration.scope} `;
  event.waitUntil(
    caches.keys()
      .then(names => Promise.all(names.filter(name => name.startsWith(own) && name !== CACHE)
        .map(name => caches.delete(name))))
      .then(() => clients.claim()));
});

addEventListener("fetch", event => {
  if (event.request.method !== "GET") return;
  event.respondWith(
    caches.open(CACHE).then(cache => cache.match(event.request, { ignoreSearch: true }))
      .then(found => found || fetch(event.request)));
});
