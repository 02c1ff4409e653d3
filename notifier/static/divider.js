// The range input is what is dragged, focused and read out; the rest follows it.

export function divide(input) {
  const percent = Number(input.value);
  input.closest(".compare, .viewer").style.setProperty("--at", `${percent}%`);
  input.setAttribute("aria-valuetext", `${percent} %`);
}

export function watchDividers() {
  addEventListener("input", event => {
    if (event.target.matches?.(".divider")) divide(event.target);
  });
  // Errors of pictures do not bubble, so they are caught on their way down.
  addEventListener("error", event => tell(event.target, true), true);
  addEventListener("load", event => tell(event.target, false), true);
  for (const picture of document.querySelectorAll(".frame img")) {
    if (picture.complete && picture.currentSrc && !picture.naturalWidth) tell(picture, true);
  }
  addEventListener("click", event => {
    const button = event.target.closest?.(".sides button");
    if (button) choose(button);
  });
}

function tell(picture, lost) {
  const frame = picture.closest?.(".frame");
  if (!frame || picture.tagName !== "IMG") return;
  picture.classList.toggle("missing", lost);
  frame.querySelector(".lost").hidden = !frame.querySelector("img.missing");
}

/** Which picture the result is compared with, on the page of an image. */
function choose(button) {
  const frame = document.querySelector(`.compare[data-key="${button.parentElement.dataset.for}"]`);
  const picture = frame.querySelector("img.over");
  const { label, kind, src } = button.dataset;
  picture.src = src;
  picture.alt = `${frame.querySelector(".under").alt.replace(/, super-resolved$/, "")}, ${label.toLowerCase()}`;
  picture.classList.toggle("pixels", kind === "low");
  frame.querySelector(".tag.left").textContent = label;
  for (const other of button.parentElement.children) other.setAttribute("aria-pressed", other === button);
}
