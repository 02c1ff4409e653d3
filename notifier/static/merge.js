// Puts what is new into a page that somebody is looking at: cards that stay are not touched, so
// their dividers, pictures and focus stay, and what is being read does not move.

const sent = new Map(); // by part: the HTML as the server sent it, since the page changes it

export function remember(main) {
  for (const part of main.querySelectorAll("[data-part]")) sent.set(part.dataset.part, part.innerHTML);
}

/** Merges and returns how many images are new. */
export function merge(main, fresh) {
  const anchor = topmost(main);
  const before = anchor?.getBoundingClientRect().top;
  const focused = document.activeElement?.id;
  let arrived = 0;
  for (const part of fresh.querySelectorAll("[data-part]")) {
    const name = part.dataset.part;
    if (name === "list" && main.dataset.lives !== "true") continue;
    const old = main.querySelector(`[data-part="${name}"]`);
    if (!old || sent.get(name) === part.innerHTML) continue;
    sent.set(name, part.innerHTML);
    if (name === "list") arrived = mergeList(old, part);
    else old.replaceChildren(...part.childNodes);
  }
  if (main.dataset.lives !== "true") {
    const news = document.getElementById("news");
    if (news) news.hidden = fresh.dataset.newest === main.dataset.newest;
  }
  if (focused && document.activeElement?.id !== focused) document.getElementById(focused)?.focus({ preventScroll: true });
  if (anchor?.isConnected) {
    const moved = anchor.getBoundingClientRect().top - before;
    if (moved && scrollY > 0) scrollBy({ top: moved, behavior: "instant" });
  }
  return arrived;
}

/** The first card that can be seen: what must stay where it is. */
function topmost(main) {
  return [...main.querySelectorAll(".cards > li")].find(card => card.getBoundingClientRect().bottom > 0);
}

function mergeList(old, fresh) {
  const [cards, wanted] = [old.querySelector(".cards"), fresh.querySelector(".cards")];
  if (!cards || !wanted) {
    old.replaceChildren(...fresh.childNodes);
    return wanted ? old.querySelectorAll(".cards > li").length : 0;
  }
  const known = new Map([...cards.children].map(card => [card.dataset.key, card]));
  let arrived = 0;
  const order = [...wanted.children].map(card => {
    const same = known.get(card.dataset.key);
    if (same?.dataset.version === card.dataset.version) return same;
    if (!same) arrived += 1;
    card.classList.add("fresh");
    return card;
  });
  for (const card of known.values()) {
    // Whoever is in a card that drops off the page may finish there.
    if (!order.includes(card) && !card.contains(document.activeElement)) card.remove();
  }
  let place = cards.firstElementChild;
  for (const card of order) {
    if (card === place) place = place.nextElementSibling;
    else cards.insertBefore(card, place);
  }
  old.querySelector(".pager")?.remove();
  const pager = fresh.querySelector(".pager");
  if (pager) old.append(pager);
  return arrived;
}
