/** Finds this machine's GPUs. */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';

const ASK_MS = 10_000;

/**
 * Ids of the GPUs, numbered as nvidia-smi does; from the device files where it is missing. Empty
 * when there are none.
 */
export function findGpus(): string[] {
  const devices = readdirSync('/dev')
    .flatMap((name) => /^nvidia(\d+)$/.exec(name)?.[1] ?? [])
    .sort((a, b) => Number(a) - Number(b));
  if (devices.length === 0) return [];
  const options = { encoding: 'utf8', timeout: ASK_MS } as const;
  const asked = spawnSync('nvidia-smi', ['--query-gpu=index', '--format=csv,noheader'], options);
  const ids = asked.status === 0 ? asked.stdout.split('\n').map((line) => line.trim()) : [];
  const known = ids.filter((id) => /^\d+$/.test(id));
  return known.length > 0 ? known : devices;
}

/** Device files every CUDA program opens; CUDA_VISIBLE_DEVICES says which GPU it uses. */
export function gpuDevices(): string[] {
  return readdirSync('/dev')
    .filter((name) => name.startsWith('nvidia') || name === 'dri')
    .map((name) => `/dev/${name}`);
}

/** What a datum is told about GPUs; nothing on a worker without any. */
export function gpuEnvironment(
  granted: readonly string[],
  all: readonly string[],
): Record<string, string> {
  if (all.length === 0) return {};
  return {
    // The numbers of nvidia-smi, which are ours.
    CUDA_DEVICE_ORDER: 'PCI_BUS_ID',
    CUDA_VISIBLE_DEVICES: granted.join(','),
    NVIDIA_VISIBLE_DEVICES: granted.length > 0 ? granted.join(',') : 'void',
  };
}
