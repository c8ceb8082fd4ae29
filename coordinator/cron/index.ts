/** Cron inputs: the clock that makes commits, and ticks on request. */
export { ticking, type TickerDeps } from './ticker.js';
export { makeTick, noCron, tickName, type TickDeps } from './ticks.js';
