// Keeps a page up to date: at once when the server announces a change, and periodically in any case.
// Errors are shown, and retried.
import { merge, remember } from "./merge.js";
import { ago, updateTimes } from "./times.js";

const MIN_INTERVAL = 300; // ms between two refreshes
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
  setInterval(refresh, every); // in case the stream misses something
  setInterval(showUpdated, 1000);
  showUpdated();
  // Browsers limit connections per site: hidden pages close theirs.
  document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : listen()));
  addEventListener("pagehide", disconnect);
  addEventListener("pageshow", event => { if (event.persisted) listen(); });
  addEventListener("online", refresh);
}

function listen() {
  if (stream || !("EventSource" in window)) return;
  clearTimeout(reconnect);
  stream = new EventSource("/events");
  stream.addEventListener("open", () => { state.live = true; showUpdated(); });
  stream.addEventListener("change", event => { if (event.data !== state.number) refresh(); });
  stream.addEventListener("error", () => {
    state.live = false;
    showUpdated();
    if (stream?.readyState !== EventSource.CLOSED) { refresh(); return; } // the browser reconnects
    stream = null; // refused: the server has no free stream
    reconnect = setTimeout(listen, Math.min(every, LAST_RETRY));
    refresh();
  });
}

function disconnect() {
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
    const response = await fetch(location.pathname + location.search, {
      headers: { "X-Fragment": "1", "Accept": "text/html" }, cache: "no-store",
    });
    if (!response.ok) throw new Refused(response.status);
    if (response.redirected) throw new Refused(401); // to the login
    show(await response.text());
    state.failures = 0;
    showError("");
  } catch (error) {
    if (!(error instanceof Refused || error instanceof TypeError)) console.error(error);
    state.failures += 1;
    showError(error instanceof Refused ? error.text : "The gallery cannot be reached.");
    retry = setTimeout(refresh, Math.min(FIRST_RETRY * 2 ** (state.failures - 1), LAST_RETRY));
  } finally {
    at("main").removeAttribute("aria-busy");
    setTimeout(() => {
      state.refreshing = false;
      if (!state.again) return;
      state.again = false;
      refresh();
    }, MIN_INTERVAL);
  }
}

class Refused extends Error {
  constructor(status) {
    super(`the server responded with ${status}`);
    this.text = status === 401 ? "The login has expired; reload the page to log in again."
      : "The gallery has trouble reaching its database or storage.";
  }
}

function show(text) {
  const fresh = parsed(text).querySelector("main");
  if (!fresh) throw new Refused(200);
  const added = merge(at("main"), fresh);
  state.number = fresh.dataset.number;
  state.updated = Date.now();
  if (added) at("announcement").textContent = added === 1 ? "One new image" : `${added} new images`;
  updateTimes();
  showUpdated();
}

// These are pages of this server, which escape their content; the policy blocks any other script.
const policy = window.trustedTypes?.createPolicy("own-pages", { createHTML: text => text });
function parsed(text) {
  return new DOMParser().parseFromString(policy ? policy.createHTML(text) : text, "text/html");
}

function showUpdated() {
  const line = at("updated");
  if (!line) return;
  line.hidden = false;
  line.classList.toggle("live", state.live && !state.failures);
  const text = `${state.live && !state.failures ? "Live, updated" : "Updated"} ${ago(state.updated)}`;
  if (line.textContent !== text) line.textContent = text;
}

function showError(reason) {
  const banner = at("banner");
  if (!reason) { banner.replaceChildren(); return; }
  const when = new Date(state.updated).toLocaleTimeString("en-GB");
  const text = `${reason} Showing the state of ${when}; retrying.`;
  if (banner.textContent === text) return;
  const line = document.createElement("p");
  line.textContent = text;
  banner.replaceChildren(line);
}
