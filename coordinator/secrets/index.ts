/** Secrets: kept sealed, given to the workers that need them. */
export { Box, openBox } from './box.js';
export { Secrets, type SecretRecord, type SecretValues } from './secrets.js';
export { handOutSecrets, type HandOutDeps } from './hand-out.js';
