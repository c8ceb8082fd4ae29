/** Git inputs: pushes become commits, by webhook or by looking now and then. */
export { polling, type PollerDeps } from './poller.js';
export { webhookApi, type WebhookDeps } from './webhook.js';
