// Runs on every page: dividers, the zoom, times, and live updates.
import { watchDividers } from "./divider.js";
import { stayLive } from "./live.js";
import { showTimes } from "./times.js";
import { watchZooms } from "./viewer.js";

stayLive(); // first: it remembers the HTML as sent, before the lines below change it
watchDividers();
watchZooms();
showTimes();
