/** The sandbox and command of a duty: image, user, limits, as for datums (task.ts). */
import type { LiveSpec } from '../../queue/messages.js';
import type { Wait } from '../../storage/types.js';
import { datumEnvironment, stdinText, type EnvironmentExtras } from '../environment.js';
import { unheldLimits } from '../cgroups.js';
import { needsSu, notesOf, type RunImage } from '../images.js';
import type { Limits, Mount, RunCommand, SlotPlace } from '../spawner-protocol.js';
import { limitsOf, type TaskDeps } from '../task.js';
import { findUser, homeOf } from '../users.js';

export interface LiveBox {
  readonly image: RunImage;
  readonly user: RunCommand['user'];
  readonly extras: EnvironmentExtras;
  readonly limits: Limits;
  readonly mounts: readonly Mount[];
  /** Lines for the log. */
  readonly notes: readonly string[];
}

/** Throws ImageError, INVALID_INPUT for a user that is not there, what keeps secrets away. */
export async function findBox(
  deps: Pick<TaskDeps, 'images' | 'uid' | 'secrets' | 'boxes'>,
  spec: LiveSpec,
  wait: Wait,
): Promise<LiveBox> {
  const { transform } = spec.job;
  const image = await deps.images.resolve(transform.image, wait);
  const { rootfs } = image;
  const passwd = rootfs === undefined ? undefined : `${rootfs}/etc/passwd`;
  const found = findUser(transform.user || image.user, {
    uid: deps.uid,
    ...(passwd === undefined ? {} : { passwd }),
  });
  const user = found && rootfs !== undefined && needsSu(rootfs) ? { ...found, su: true } : found;
  const root =
    passwd === undefined ? { host: image.env } : { image: image.env, home: homeOf(passwd, user) };
  const { env, mounts } = await deps.secrets.fresh(spec.job, wait);
  const extras = { ...root, secrets: env };
  const limits = limitsOf(spec.job);
  const notes = notesOf(image, unheldLimits(deps.boxes.deps.cgroups, limits));
  return { image, user, extras, limits, mounts, notes };
}

/** Why there is no command, and what to do. */
export function nothingToRun({ job }: LiveSpec, { image }: LiveBox): string {
  const name = job.transform.image;
  const why =
    image.rootfs === undefined
      ? `workers run the commands of image ${name} on the host itself, which has no entrypoint`
      : `image ${name} has none`;
  return `nothing to run: no transform.cmd and no entrypoint (${why}); give transform.cmd`;
}

/** The part of a place that the box decides. */
export function placeOf(
  { image, limits }: LiveBox,
  { boxes }: Pick<TaskDeps, 'boxes'>,
): Partial<SlotPlace> {
  const { rootfs } = image;
  const { cgroups } = boxes.deps;
  const limited = Object.values(limits).some((one) => one !== undefined);
  return {
    ...(rootfs === undefined ? {} : { rootfs }),
    ...(limited ? { limits, ...(cgroups ? { cgroups } : {}) } : {}),
  };
}

/** `more`: variables that the spec may replace. */
export function commandOf(
  { identity }: Pick<TaskDeps, 'identity'>,
  spec: LiveSpec,
  { image, user, extras }: LiveBox,
  more: Readonly<Record<string, string>>,
): RunCommand {
  const { transform } = spec.job;
  const datum = spec.datum ?? { index: 0, id: '', tag: '', inputs: [] };
  const env = datumEnvironment(spec.job, datum, identity, extras);
  delete env['PACH_OUTPUT_COMMIT_ID'];
  delete env['PACH_DATUM_ID'];
  if (spec.kind === 'spout') env['PATH'] = `${env['PATH'] ?? ''}:/pachctl/bin`;
  return {
    argv: transform.cmd.length > 0 ? transform.cmd : image.entrypoint,
    env: { ...more, ...env },
    cwd: transform.workingDir || image.workingDir || '/',
    stdin: stdinText(transform.stdin),
    ...(user ? { user } : {}),
    timeoutMs: 0,
    endless: true,
  };
}
