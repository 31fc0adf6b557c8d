// Python runs here, so that the page takes what is typed while it computes.
import { loadPyodide } from "{{PYODIDE}}pyodide.mjs";

const FOLDER = "/home/pyodide";

async function start() {
  let started;
  const [python, pack] = await Promise.all([
    loadPyodide().then(found => {
      // of the page's own clock
      started = performance.timeOrigin + performance.now();
      return found;
    }),
    fetch("vitcost.pack").then(answer => {
      if (!answer.ok) throw new Error(`vitcost.pack: ${answer.status}`);
      return answer.arrayBuffer();
    }),
  ]);
  python.unpackArchive(new Uint8Array(pack), "gztar", { extractDir: FOLDER });
  python.FS.chdir(FOLDER);
  const module = python.pyimport("vitcost.web.answer");
  return { python, started, asked: module.asked_of, full: module.in_full, lacks: module.lacks };
}

// the digests that a question needs and that were not fetched yet
async function complete({ python, lacks }, question) {
  for (const [name, place] of JSON.parse(lacks(question))) {
    const answer = await fetch(name);
    if (!answer.ok) throw new Error(`${name}, which has this model, is not there: ${answer.status}`);
    python.FS.writeFile(place, new Uint8Array(await answer.arrayBuffer()));
  }
}

const ready = start();
ready.then(({ started }) => postMessage({ ready: true, started }), error => postMessage({ failed: String(error) }));

onmessage = async ({ data }) => {
  const { python, asked, full, lacks } = await ready;
  if (data.file) {
    python.FS.writeFile(`${FOLDER}/${data.file}`, new Uint8Array(data.bytes));
    postMessage({ id: data.id, written: data.file });
    return;
  }
  try {
    await complete({ python, lacks }, data.question);
  } catch (error) {
    postMessage({ id: data.id, failed: String(error) });
    return;
  }
  try {
    const began = performance.now();
    const text = (data.full ? full : asked)(data.question);
    const answer = data.full ? text : JSON.parse(text);
    postMessage({ id: data.id, answer, took: performance.now() - began });
  } catch (error) {
    // what Python raises it survives
    const fatal = error.constructor.name !== "PythonError";
    postMessage({ id: data.id, fatal, failed: String(error).trim().split("\n").pop() });
  }
};
