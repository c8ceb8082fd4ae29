/** Commands that run the servers themselves. */
import { flag, type Command } from '../grammar/command.js';

const DATA_DIR = flag.text('data-dir', 'where the stack keeps its data', {
  value: 'DIR',
  initial: '~/.tusk',
});

export const stackCommands: readonly Command[] = [
  {
    words: 'up',
    args: '',
    min: 0,
    max: 0,
    summary: 'start Tusk on this machine',
    details:
      'Starts etcd, nats-server, a coordinator and a worker on this machine, with their data under one\n' +
      'directory, and keeps them running: a part that dies is started again. Ctrl-C stops them all;\n' +
      "with --detach they run in the background until 'tusk down'. The data stays.",
    flags: [
      DATA_DIR,
      flag.uint('port', 'gRPC port (0 = any free one)', { initial: '30650' }),
      flag.uint('s3-gateway-port', 'port of the S3 gateway (0 = any free one)', {
        initial: '30600',
      }),
      flag.uint('http-port', 'port of the HTTP file API (0 = any free one)', { initial: '30652' }),
      flag.uint('webhook-port', 'port of the git webhook (0 = any free one)', { initial: '30655' }),
      flag.text('host', 'address to listen on; 0.0.0.0 lets other machines in', {
        value: 'ADDRESS',
        initial: '127.0.0.1',
      }),
      flag.uint('workers', 'datums run at once (default: the number of cores)'),
      flag.text('images', 'which images mean what here (JSON)', { value: 'FILE' }),
      flag.text('local-sources', 'directory that file:// git inputs and local:// urls may read', {
        value: 'DIR',
      }),
      flag.text('local-targets', 'directory that local:// egress may write', { value: 'DIR' }),
      flag.text('s3', 'keep the bytes in S3: s3://bucket/prefix?endpoint=http://host:port', {
        value: 'URL',
      }),
      flag.bool('detach', 'return when the stack answers, leave it running'),
    ],
    examples: [
      ['in the background', 'up --detach'],
      [
        'with its bytes in S3 (credentials in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)',
        "up --s3 's3://bucket/tusk?region=eu-west-1'",
      ],
    ],
    load: async () => (await import('../stack/up.js')).up,
  },
  {
    words: 'down',
    args: '',
    min: 0,
    max: 0,
    summary: "stop what 'tusk up' started",
    details: "Stops everything 'tusk up' started, in order. The data stays for the next start.",
    flags: [DATA_DIR],
    load: async () => (await import('../stack/down.js')).down,
  },
  {
    words: 'status',
    args: '',
    min: 0,
    max: 0,
    summary: 'show the parts of the running stack',
    flags: [DATA_DIR],
    load: async () => (await import('../stack/status.js')).status,
  },
  {
    words: 'coordinator',
    args: '',
    min: 0,
    max: 0,
    summary: 'run a coordinator by itself',
    flags: [flag.text('config', 'settings (JSON)', { value: 'FILE' })],
    load: async () => (await import('../stack/parts.js')).coordinator,
  },
  {
    words: 'worker',
    args: '',
    min: 0,
    max: 0,
    summary: 'run a worker by itself',
    examples: [['on another machine', 'worker --join coordinator-host:30650 --slots 8']],
    flags: [
      flag.text('join', 'coordinator to work for', { value: 'HOST:PORT' }),
      flag.uint('slots', 'datums run at once (default: the number of cores)'),
      flag.text('data-dir', 'where the worker keeps its cache', { value: 'DIR' }),
      flag.repeat('label', 'for scheduling_spec.node_selector; may be repeated', {
        value: 'KEY=VALUE',
      }),
      flag.text('gpus', 'GPUs to give to datums, like 0,1 (default: all there are; none)', {
        value: 'IDS',
      }),
      flag.text('gpu-share', 'datums that may use one GPU at once', { initial: '1' }),
      flag.text('metrics', 'serve metrics for Prometheus here', { value: '[HOST:]PORT' }),
      flag.text('cache-gib', 'size of the input cache', { initial: '10' }),
      flag.text('engine', 'what runs images: auto, podman, docker or none', { initial: 'auto' }),
      flag.text('images', 'which images mean what here (JSON)', { value: 'FILE' }),
      flag.text('isolation', 'bwrap, unshare or plain (default: the strongest that works)', {
        value: 'KIND',
      }),
      flag.text('log-file', 'write the log here', { value: 'FILE' }),
      flag.text('log-level', 'trace, debug, info, warn or error', { initial: 'info' }),
    ],
    load: async () => (await import('../stack/parts.js')).worker,
  },
];
