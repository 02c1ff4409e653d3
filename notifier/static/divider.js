// The range input is dragged, focused and read out; the line and the clipping follow it.

export function divide(input) {
  const percent = Number(input.value);
  input.closest(".compare, .viewer").style.setProperty("--at", `${percent}%`);
  input.setAttribute("aria-valuetext", `${percent} %`);
}

export function watchDividers() {
  addEventListener("input", event => {
    if (event.target.matches?.(".divider")) divide(event.target);
  });
  // Error events of pictures do not bubble, so they are captured.
  addEventListener("error", event => mark(event.target, true), true);
  addEventListener("load", event => mark(event.target, false), true);
  for (const picture of document.querySelectorAll(".frame img")) {
    if (picture.complete && picture.currentSrc && !picture.naturalWidth) mark(picture, true);
  }
  addEventListener("click", event => {
    const button = event.target.closest?.(".sides button");
    if (button) choose(button);
  });
}

function mark(picture, failed) {
  const frame = picture.closest?.(".frame");
  if (!frame || picture.tagName !== "IMG") return;
  picture.classList.toggle("missing", failed);
  frame.querySelector(".unavailable").hidden = !frame.querySelector("img.missing");
}

/** Chooses the picture to compare the result with, on the page of an image. */
function choose(button) {
  const frame = document.querySelector(`.compare[data-key="${button.parentElement.dataset.for}"]`);
  const picture = frame.querySelector("img.over");
  const { label, kind, src } = button.dataset;
  picture.src = src;
  picture.alt = `${frame.querySelector(".under").alt.replace(/, upscaled$/, "")}, ${label.toLowerCase()}`;
  picture.classList.toggle("pixels", kind === "low");
  frame.querySelector(".tag.left").textContent = label;
  for (const other of button.parentElement.children) other.setAttribute("aria-pressed", other === button);
}
