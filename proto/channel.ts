/**
 * Channel limits that both sides share. HTTP/2 flow-control windows of 64 KiB would cap a client
 * 10 ms away at 4 MiB/s (measured); these let one stream fill a fast link.
 */
import { credentials, type ChannelCredentials, type ChannelOptions } from '@grpc/grpc-js';

/** v1 clients send and accept messages of up to 20 MiB. */
export const MESSAGE_BYTES_MAX = 20 * 1024 * 1024;
/** Bytes one stream may have in flight before its receiver answers. */
export const WINDOW_BYTES = 16 * 1024 * 1024;

/** Options for every client of ours. */
export const CLIENT_OPTIONS: ChannelOptions = {
  'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
  'grpc.max_send_message_length': MESSAGE_BYTES_MAX,
  'grpc-node.flow_control_window': WINDOW_BYTES,
  // A dead peer is noticed within half a minute even when no call is active.
  'grpc.keepalive_time_ms': 20_000,
  'grpc.keepalive_timeout_ms': 10_000,
  // Proxies of the environment are for the internet, not for a server next door.
  'grpc.enable_http_proxy': 0,
};

export function insecure(): ChannelCredentials {
  return credentials.createInsecure();
}
