// The worker that segments, so that the page stays at hand meanwhile. It is a classic one, since
// LiteRT.js loads its own script by importScripts, which modules do not have.

const engine = import('./engine.js');
engine.catch((error) => postMessage({kind: 'broken', message: error.message}));

self.onmessage = async ({data}) => (await engine).handle(data);
