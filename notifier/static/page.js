// What every page with pictures or figures runs: dividers, the zoom, times, and staying up to date.
import { watchDividers } from "./divider.js";
import { stayLive } from "./live.js";
import { showTimes } from "./times.js";
import { watchZooms } from "./viewer.js";

stayLive(); // first: it keeps what the server sent, before anything below changes it
watchDividers();
watchZooms();
showTimes();
