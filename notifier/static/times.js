// Shows "3 minutes ago" instead of a date, which remains as the tooltip.
const EVERY = 10_000;
const UNITS = [["year", 31_536_000], ["month", 2_592_000], ["day", 86_400], ["hour", 3600], ["minute", 60]];
const words = new Intl.RelativeTimeFormat("en", { numeric: "always" });

export function ago(moment, now = Date.now()) {
  const seconds = Math.max(0, (now - moment) / 1000);
  const [unit, length] = UNITS.find(([, length]) => seconds >= length) ?? ["second", 1];
  if (unit === "second" && seconds < 5) return "just now";
  return words.format(-Math.floor(seconds / length), unit);
}

export function updateTimes() {
  for (const time of document.querySelectorAll("time[data-relative]")) {
    if (!time.title) time.title = time.textContent;
    const text = ago(Date.parse(time.dateTime));
    if (time.textContent !== text) time.textContent = text;
  }
}

export function showTimes() {
  updateTimes();
  setInterval(updateTimes, EVERY);
}
