// The zoom: a dialog that shows both pictures pixel by pixel and moves them together.
import { divide } from "./divider.js";

const MAX_ZOOM = 32, STEP = 60;
const dialog = document.getElementById("viewer");
const part = selector => dialog.querySelector(selector);
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
// zoom: CSS pixels per pixel of the result; x, y: position of its corner in the stage.
const view = { zoom: 1, x: 0, y: 0, fit: true };
let shown = null, opener = null, stage, layers;
const fingers = new Map();

export function watchZooms() {
  if (!dialog) return;
  stage = part(".stage");
  layers = [part(".layer.left img"), part(".layer.right img")];
  addEventListener("click", event => {
    const button = event.target.closest?.("[data-viewer]");
    if (button) open(button);
  });
  part(".close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", closed);
  for (const button of dialog.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => zoomBy(button.dataset.zoom));
  }
  dialog.addEventListener("keydown", keys);
  stage.addEventListener("wheel", wheel, { passive: false });
  stage.addEventListener("pointerdown", down);
  for (const kind of ["pointermove", "pointerup", "pointercancel"]) stage.addEventListener(kind, move);
  stage.addEventListener("dblclick", event => zoomTo(view.zoom * 2, ...within(event)));
  new ResizeObserver(() => shown && layOut()).observe(stage);
}

function open(button) {
  shown = JSON.parse(button.dataset.viewer);
  opener = button;
  part("#viewer-name").textContent = shown.name;
  const [result, ...others] = shown.pictures;
  const sides = part("#viewer-sides");
  sides.replaceChildren(...others.map(other => {
    const choice = document.createElement("button");
    choice.type = "button";
    choice.textContent = other.label;
    choice.addEventListener("click", () => compareWith(other, choice));
    return choice;
  }));
  sides.hidden = others.length < 2;
  showStatus("");
  dialog.showModal();
  layers[1].alt = `${shown.name}, upscaled`;
  part(".tag.right").textContent = result.label;
  load(layers[1], result);
  for (const element of dialog.querySelectorAll(".tag.left, .line, .divider, .layer.left")) element.hidden = !others.length;
  // The divider starts where it is on the page.
  const divider = part(".divider");
  divider.value = others.length ? button.closest(".compare").querySelector(".divider").value : 0;
  divide(divider);
  if (others.length) compareWith(others[0], sides.firstElementChild);
  fit();
  stage.focus();
}

function closed() {
  shown = null;
  for (const layer of layers) {
    layer.removeAttribute("src");
    delete layer.dataset.wanted;
    delete layer.dataset.whole;
  }
  if (opener.isConnected) opener.focus({ preventScroll: true });
}

function compareWith(other, choice) {
  for (const button of choice.parentElement.children) button.setAttribute("aria-pressed", button === choice);
  layers[0].alt = `${shown.name}, ${other.label.toLowerCase()}`;
  part(".tag.left").textContent = other.label;
  load(layers[0], other);
}

/** Shows a thumbnail at once, and the full-size picture when it is loaded. */
async function load(layer, picture) {
  const thumb = [...opener.closest(".compare").querySelectorAll("img")].map(image => image.currentSrc)
    .find(url => url.includes(`/${picture.kind}?`));
  layer.src = shown.whole && thumb ? thumb : picture.thumb;
  layer.dataset.wanted = picture.full;
  delete layer.dataset.whole;
  layOut();
  if (!shown.whole) { showStatus("This picture is too large to show pixel by pixel; this is a smaller copy. The page of the image has the files."); return; }
  showStatus("Loading full-size pictures …");
  const whole = new Image();
  whole.src = picture.full;
  try {
    await whole.decode();
  } catch {
    if (layer.dataset.wanted === picture.full) showStatus(`${picture.label}: ${await reason(picture.full)}`);
    return;
  }
  if (!shown || layer.dataset.wanted !== picture.full) return; // closed, or another was chosen
  layer.src = picture.full;
  layer.dataset.whole = `${whole.naturalWidth} ${whole.naturalHeight}`;
  if (layers.every(other => !other.dataset.wanted || other.dataset.whole)) showStatus("");
  layOut();
}

async function reason(url) {
  try {
    const response = await fetch(url, { redirect: "manual", headers: { Accept: "application/problem+json" } });
    if (!response.ok && response.status) return (await response.json()).detail;
  } catch { /* not a response of this service */ }
  return "the full-size picture cannot be loaded now; this is a smaller copy";
}

function showStatus(text) {
  part("#viewer-status").textContent = text;
}

// ---- positions of the pictures

const fitZoom = () => Math.min(stage.clientWidth / shown.width, stage.clientHeight / shown.height);

function layOut() {
  if (view.fit) view.zoom = fitZoom();
  const spare = [stage.clientWidth - shown.width * view.zoom, stage.clientHeight - shown.height * view.zoom];
  // Smaller than the stage: centred. Larger: no gap at the edges.
  view.x = spare[0] >= 0 ? spare[0] / 2 : clamp(view.x, spare[0], 0);
  view.y = spare[1] >= 0 ? spare[1] / 2 : clamp(view.y, spare[1], 0);
  for (const layer of layers) {
    // An original may have pixels that were cropped before it was reduced; a thumbnail has not.
    const [width, height] = (layer.dataset.whole ?? `${shown.width} ${shown.height}`).split(" ").map(Number);
    layer.style.width = `${width * view.zoom}px`;
    layer.style.height = `${height * view.zoom}px`;
    layer.style.transform = `translate(${Math.round(view.x)}px, ${Math.round(view.y)}px)`;
    // These are not compared.
    layer.style.clipPath = `inset(0 ${(width - shown.width) * view.zoom}px ${(height - shown.height) * view.zoom}px 0)`;
  }
  stage.classList.toggle("pixels", view.zoom * devicePixelRatio >= 2);
  stage.classList.toggle("pannable", spare[0] < -1 || spare[1] < -1);
  for (const button of dialog.querySelectorAll("[data-zoom]")) {
    const wanted = button.dataset.zoom;
    if (wanted === "in" || wanted === "out") continue;
    const pressed = wanted === "fit" ? view.fit : !view.fit && Math.abs(view.zoom - wanted) < .01;
    button.setAttribute("aria-pressed", pressed);
  }
}

function fit() {
  view.fit = true;
  layOut();
}

function zoomTo(zoom, x = stage.clientWidth / 2, y = stage.clientHeight / 2) {
  const next = clamp(zoom, Math.min(fitZoom(), 1), MAX_ZOOM);
  view.x = x - (x - view.x) * next / view.zoom;
  view.y = y - (y - view.y) * next / view.zoom;
  view.zoom = next;
  view.fit = false;
  layOut();
}

function zoomBy(wanted) {
  if (wanted === "fit") fit();
  else if (wanted === "in") zoomTo(view.zoom * 2);
  else if (wanted === "out") zoomTo(view.zoom / 2);
  else zoomTo(Number(wanted));
}

function pan(x, y) {
  view.x += x;
  view.y += y;
  layOut();
}

// ---- keys, wheel, mouse and fingers

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || !shown) return;
  const zooms = { "+": "in", "=": "in", "-": "out", "0": "fit" };
  const moves = { ArrowLeft: [STEP, 0], ArrowRight: [-STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP] };
  if (zooms[event.key]) zoomBy(zooms[event.key]);
  else if (moves[event.key] && !event.target.matches(".divider")) pan(...moves[event.key]);
  else return;
  event.preventDefault();
}

function within(event) {
  const box = stage.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

function wheel(event) {
  event.preventDefault();
  const lines = event.deltaMode === 1 ? 20 : 1;
  zoomTo(view.zoom * Math.exp(-clamp(event.deltaY * lines, -240, 240) / 300), ...within(event));
}

function down(event) {
  if (event.target.matches(".divider") || (event.pointerType === "mouse" && event.button !== 0)) return;
  fingers.set(event.pointerId, within(event));
  stage.setPointerCapture(event.pointerId);
  stage.classList.add("dragging");
}

function move(event) {
  const before = fingers.get(event.pointerId);
  if (!before) return;
  if (event.type !== "pointermove") {
    fingers.delete(event.pointerId);
    if (!fingers.size) stage.classList.remove("dragging");
    return;
  }
  const now = within(event);
  const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
  fingers.set(event.pointerId, now);
  if (!other) { pan(now[0] - before[0], now[1] - before[1]); return; }
  const distance = point => Math.hypot(point[0] - other[0], point[1] - other[1]) || 1;
  zoomTo(view.zoom * distance(now) / distance(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
}
