/** Copying outputs to where a pipeline's spec says. */
export { egressWanted, runEgress, type EgressDeps, type Outgoing } from './egress.js';
export { refusedUrl } from './destination.js';
