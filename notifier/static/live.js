// Keeps a page up to date: at once when the server says that something changed, and from time to
// time in any case. What cannot be reached is told, and tried again.
import { merge, remember } from "./merge.js";
import { ago, tellTimes } from "./times.js";

const AT_MOST_EVERY = 300; // ms between two refreshes, when changes come thick and fast
const FIRST_RETRY = 2000, LAST_RETRY = 30_000;
const at = id => document.getElementById(id);
const state = { number: "", updated: Date.now(), refreshing: false, again: false, failures: 0, live: false };
let stream = null, reconnect = 0, retry = 0, every = 0;

export function stayLive() {
  const main = at("main");
  if (!main?.dataset.refreshSeconds) return;
  remember(main);
  state.number = main.dataset.number;
  every = Number(main.dataset.refreshSeconds) * 1000;
  listen();
  setInterval(refresh, every); // the net under the stream
  setInterval(tellUpdated, 1000);
  tellUpdated();
  // A browser gives a site few connections: pages that nobody sees hold none.
  document.addEventListener("visibilitychange", () => (document.hidden ? hangUp() : listen()));
  addEventListener("pagehide", hangUp);
  addEventListener("pageshow", event => { if (event.persisted) listen(); });
  addEventListener("online", refresh);
}

function listen() {
  if (stream || !("EventSource" in window)) return;
  clearTimeout(reconnect);
  stream = new EventSource("/events");
  stream.addEventListener("open", () => { state.live = true; tellUpdated(); });
  stream.addEventListener("change", event => { if (event.data !== state.number) refresh(); });
  stream.addEventListener("error", () => {
    state.live = false;
    tellUpdated();
    if (stream?.readyState !== EventSource.CLOSED) { refresh(); return; } // it tries again by itself
    stream = null; // refused: as many pages are open as the server can tell
    reconnect = setTimeout(listen, Math.min(every, LAST_RETRY));
    refresh();
  });
}

function hangUp() {
  clearTimeout(reconnect);
  stream?.close();
  stream = null;
  state.live = false;
}

async function refresh() {
  if (state.refreshing) { state.again = true; return; }
  state.refreshing = true;
  clearTimeout(retry);
  at("main").setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(location.pathname + location.search, {
      headers: { "X-Fragment": "1", "Accept": "text/html" }, cache: "no-store",
    });
    if (!answer.ok) throw new Refused(answer.status);
    if (answer.redirected) throw new Refused(401); // to the login
    show(await answer.text());
    state.failures = 0;
    tellTrouble("");
  } catch (error) {
    if (!(error instanceof Refused || error instanceof TypeError)) console.error(error);
    state.failures += 1;
    tellTrouble(error instanceof Refused ? error.told : "The gallery cannot be reached.");
    retry = setTimeout(refresh, Math.min(FIRST_RETRY * 2 ** (state.failures - 1), LAST_RETRY));
  } finally {
    at("main").removeAttribute("aria-busy");
    setTimeout(() => {
      state.refreshing = false;
      if (!state.again) return;
      state.again = false;
      refresh();
    }, AT_MOST_EVERY);
  }
}

class Refused extends Error {
  constructor(status) {
    super(`the server answered ${status}`);
    this.told = status === 401 ? "The login has ended; reload the page to log in again."
      : "The gallery has trouble reaching its database or storage.";
  }
}

function show(text) {
  const fresh = parsed(text).querySelector("main");
  if (!fresh) throw new Refused(200);
  const arrived = merge(at("main"), fresh);
  state.number = fresh.dataset.number;
  state.updated = Date.now();
  if (arrived) at("told").textContent = arrived === 1 ? "One new image" : `${arrived} new images`;
  tellTimes();
  tellUpdated();
}

// The server's own pages, which escape what they show: no script runs that the policy would not let.
const policy = window.trustedTypes?.createPolicy("own-pages", { createHTML: text => text });
function parsed(text) {
  return new DOMParser().parseFromString(policy ? policy.createHTML(text) : text, "text/html");
}

function tellUpdated() {
  const line = at("updated");
  if (!line) return;
  line.hidden = false;
  line.classList.toggle("live", state.live && !state.failures);
  const told = `${state.live && !state.failures ? "Live, updated" : "Updated"} ${ago(state.updated)}`;
  if (line.textContent !== told) line.textContent = told;
}

function tellTrouble(reason) {
  const banner = at("banner");
  if (!reason) { banner.replaceChildren(); return; }
  const when = new Date(state.updated).toLocaleTimeString("en-GB");
  const told = `${reason} Shown is what there was at ${when}; trying again.`;
  if (banner.textContent === told) return;
  const line = document.createElement("p");
  line.textContent = told;
  banner.replaceChildren(line);
}
