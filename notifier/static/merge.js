// Merges changes into an open page. Cards that stay are not touched: they keep their dividers,
// pictures and focus, and the visible part of the page does not move.

const sent = new Map(); // HTML by part, as sent by the server: scripts change it afterwards

export function remember(main) {
  for (const part of main.querySelectorAll("[data-part]")) sent.set(part.dataset.part, part.innerHTML);
}

/** Merges and returns the number of new images. */
export function merge(main, fresh) {
  const anchor = topmost(main);
  const before = anchor?.getBoundingClientRect().top;
  const focused = document.activeElement?.id;
  let added = 0;
  for (const part of fresh.querySelectorAll("[data-part]")) {
    const name = part.dataset.part;
    if (name === "list" && main.dataset.live !== "true") continue;
    const old = main.querySelector(`[data-part="${name}"]`);
    if (!old || sent.get(name) === part.innerHTML) continue;
    sent.set(name, part.innerHTML);
    if (name === "list") added = mergeList(old, part);
    else old.replaceChildren(...part.childNodes);
  }
  if (main.dataset.live !== "true") {
    const news = document.getElementById("news");
    if (news) news.hidden = fresh.dataset.newest === main.dataset.newest;
  }
  if (focused && document.activeElement?.id !== focused) document.getElementById(focused)?.focus({ preventScroll: true });
  if (anchor?.isConnected) {
    const moved = anchor.getBoundingClientRect().top - before;
    if (moved && scrollY > 0) scrollBy({ top: moved, behavior: "instant" });
  }
  return added;
}

/** The first visible card: it must not move. */
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
  let added = 0;
  const order = [...wanted.children].map(card => {
    const same = known.get(card.dataset.key);
    if (same?.dataset.version === card.dataset.version) return same;
    if (!same) added += 1;
    card.classList.add("fresh");
    return card;
  });
  for (const card of known.values()) {
    // A card with the focus stays, although it is no longer on this page.
    if (!order.includes(card) && !card.contains(document.activeElement)) card.remove();
  }
  let next = cards.firstElementChild;
  for (const card of order) {
    if (card === next) next = next.nextElementSibling;
    else cards.insertBefore(card, next);
  }
  old.querySelector(".pager")?.remove();
  const pager = fresh.querySelector(".pager");
  if (pager) old.append(pager);
  return added;
}
