/** The environment of user code (docs/worker.md has the table). */
import type { JobSpec, WorkDatum } from '../queue/messages.js';
import { GIT_ENVIRONMENT } from './git-clone.js';

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export interface WorkerIdentity {
  readonly worker: string;
  /** Stands where old clients expect a Kubernetes namespace. */
  readonly namespace: string;
  /** Taken over from the worker's own environment: PATH, LANG, TZ … */
  readonly inherited: Readonly<Record<string, string>>;
}

/** What the environment takes from elsewhere than spec and datum. */
export interface EnvironmentExtras {
  /** ENV of the image; it takes the place of the worker's own variables. */
  readonly image?: Readonly<Record<string, string>>;
  /** Variables of the image table where the host stands for an image. */
  readonly host?: Readonly<Record<string, string>>;
  readonly home?: string;
  /** Variables about GPUs. */
  readonly gpu?: Readonly<Record<string, string>>;
  /** Variables that hold secrets. */
  readonly secrets?: Readonly<Record<string, string>>;
}

/** Variables of one datum; a later entry of the same name wins. */
export function datumEnvironment(
  spec: JobSpec,
  datum: WorkDatum,
  identity: WorkerIdentity,
  extras: EnvironmentExtras = {},
): Record<string, string> {
  return { ...pipelineEnvironment(spec, identity, extras), ...ownEnvironment(spec, datum) };
}

/** The part that all datums of a pipeline share. */
export function pipelineEnvironment(
  spec: JobSpec,
  identity: WorkerIdentity,
  { image, host, home, gpu, secrets }: EnvironmentExtras = {},
): Record<string, string> {
  const env: Record<string, string> = {
    ...(image ? { PATH: DEFAULT_PATH, ...image } : { ...identity.inherited, ...host }),
    HOME: home ?? '/tmp',
    PPS_PIPELINE_NAME: spec.pipeline,
    ...(spec.git ? GIT_ENVIRONMENT : {}),
    ...secrets,
  };
  for (const [name, value] of Object.entries(spec.transform.env)) env[name] = expand(value, env);
  return Object.assign(env, gpu, {
    PPS_SPEC_COMMIT: spec.specCommit,
    PPS_PIPELINE_NAME: spec.pipeline,
    PPS_POD_NAME: identity.worker,
    PPS_NAMESPACE: identity.namespace,
    PACH_NAMESPACE: identity.namespace,
    PACH_IN_WORKER: 'true',
  });
}

/** The part that belongs to one datum, or to its job. */
export function ownEnvironment(spec: JobSpec, datum: WorkDatum): Record<string, string> {
  const env: Record<string, string> = {};
  for (const input of datum.inputs) {
    const whole = input.path === '/' || spec.git?.[input.name] !== undefined;
    // What is read through S3 has no place below /pfs.
    if (!input.s3) env[input.name] = `/pfs/${input.name}${whole ? '' : input.path}`;
    env[`${input.name}_COMMIT`] = input.commit;
  }
  env.PACH_JOB_ID = spec.job;
  env.PACH_OUTPUT_COMMIT_ID = spec.outputCommit;
  env.PACH_DATUM_ID = datum.id;
  return env;
}

/** `$(NAME)` becomes the variable set so far; unknown names stay; `$$(NAME)` is a literal. */
export function expand(text: string, env: Readonly<Record<string, string>>): string {
  return text.replace(/\$\$|\$\(([A-Za-z_][\w.-]*)\)/g, (whole, name: string | undefined) => {
    if (name === undefined) return '$';
    return env[name] ?? whole;
  });
}

/** Standard input of user code: the lines of the spec, each ended by a newline. */
export function stdinText(lines: readonly string[]): string {
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

/** A duration as old clients print it: `1.25s`, `310.5ms`, `1m2.5s`. */
export function durationText(ms: number): string {
  if (ms < 1) return `${Math.round(ms * 1000)}µs`;
  if (ms < 1000) return `${trim(ms)}ms`;
  const minutes = Math.floor(ms / 60_000);
  const seconds = `${trim((ms - minutes * 60_000) / 1000)}s`;
  if (minutes < 60) return minutes > 0 ? `${minutes}m${seconds}` : seconds;
  return `${Math.floor(minutes / 60)}h${minutes % 60}m${seconds}`;
}

function trim(value: number): string {
  return String(Number(value.toFixed(3)));
}
