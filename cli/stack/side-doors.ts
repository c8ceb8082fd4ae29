/**
 * The ports beside gRPC that a stack opens: S3 gateway, HTTP API and git webhook. Each has a usual place. When it
 * is taken and nobody asked for it, the door opens elsewhere; a place asked for that is taken is an
 * error.
 */
import { readFileSync } from 'node:fs';
import { invalidInput } from '../../core/errors.js';
import type { Call } from '../grammar/command.js';
import { claimPort, freePort } from './ports.js';

interface Door {
  /** In stack.json. */
  readonly name: string;
  /** What people read. */
  readonly label: string;
  readonly flag: string;
  /** The coordinator's setting, and where it says which port it took. */
  readonly setting: string;
  readonly told: string;
}

const DOORS: readonly Door[] = [
  {
    name: 's3',
    label: 'S3 gateway',
    flag: 's3-gateway-port',
    setting: 's3Listen',
    told: 's3Port',
  },
  { name: 'http', label: 'HTTP files', flag: 'http-port', setting: 'httpListen', told: 'httpPort' },
  {
    name: 'webhook',
    label: 'git webhook',
    flag: 'webhook-port',
    setting: 'webhookListen',
    told: 'webhookPort',
  },
];

export interface DoorWish {
  readonly door: Door;
  readonly port: number;
  /** A person chose this port. */
  readonly asked: boolean;
}

/** The ports that the flags of `tusk up` name. Throws INVALID_INPUT. */
export function doorWishes({ flags }: Call): DoorWish[] {
  return DOORS.map((door) => {
    const port = flags.number(door.flag);
    if (port > 65_535) throw invalidInput(`--${door.flag} must be at most 65535, got ${port}`);
    return { door, port, asked: flags.given(door.flag) };
  });
}

/** The flags to repeat for the process that does the work. */
export function doorFlags(wishes: readonly DoorWish[]): string[] {
  return wishes
    .filter(({ asked }) => asked)
    .flatMap(({ door, port }) => [`--${door.flag}`, String(port)]);
}

/** Settings of the coordinator. Throws STATE_CONFLICT when a port asked for is taken. */
export async function doorSettings(
  host: string,
  wishes: readonly DoorWish[],
): Promise<Record<string, unknown>> {
  const settings: Record<string, unknown> = {};
  for (const { door, port, asked } of wishes) {
    const claimed = asked
      ? await claimPort(host, port, door.flag)
      : await claimPort(host, port).catch(() => freePort(host));
    settings[door.setting] = `${host}:${claimed}`;
  }
  // Between now and then somebody else may be quicker.
  const free = wishes.filter(({ asked, port }) => !asked || port === 0);
  const giveWay = free.map(({ door }) => door.setting);
  return { ...settings, giveWay };
}

/** The ports in use by name, as the coordinator told them; empty before it answers. */
export function openDoors(readyFile: string): Record<string, number> {
  try {
    const told = JSON.parse(readFileSync(readyFile, 'utf8')) as Record<string, unknown>;
    return Object.fromEntries(
      DOORS.flatMap((door) => {
        const port = told[door.told];
        return typeof port === 'number' ? [[door.name, port]] : [];
      }),
    );
  } catch {
    return {};
  }
}

/** `S3 gateway http://127.0.0.1:30600, …` for people. */
export function doorsText(host: string, ports: Readonly<Record<string, number>>): string {
  return DOORS.flatMap(({ name, label }) => {
    const port = ports[name];
    return port === undefined ? [] : [`${label} at http://${host}:${port}`];
  }).join(', ');
}
