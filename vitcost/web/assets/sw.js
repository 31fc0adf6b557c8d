// Keeps every file of the page, so that it works offline once it was loaded.
const CACHE = `vitcost ${registration.scope} {{DIGEST}}`;
const FILES = {{FILES}};
// digests of names without a formula, which are kept once such a name was asked
const LATER = {{LATER}};

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
  event.respondWith(answered(event.request));
});

async function answered(request) {
  const cache = await caches.open(CACHE);
  const found = await cache.match(request, { ignoreSearch: true });
  if (found) return found;
  const answer = await fetch(request);
  if (answer.ok && LATER.includes(request.url.split("/").pop())) {
    await cache.put(request, answer.clone());
  }
  return answer;
}
