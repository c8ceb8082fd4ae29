/**
 * What a pipeline request must satisfy. The first failing check wins and its text is what clients
 * match on, so order and words here are part of the v1 API. Checks that need other records (does
 * the input repo exist, cycles) are made by versioning inside the creating transaction.
 */
import { posix } from 'node:path';
import { parseCron } from '../../core/cron.js';
import { invalidInput, messageOf } from '../../core/errors.js';
import type { Duration } from '../../proto/generated/google/protobuf/duration.js';
import type {
  CreatePipelineRequest,
  CronInput,
  Egress,
  GitInput,
  Input,
  PFSInput,
  PipelineInfo,
  SecretMount,
  Service,
  Spout,
} from '../../proto/generated/pps.js';
import { compileGlob } from '../../storage/glob.js';
import { refusedUrl } from '../egress/destination.js';
import { checkGitBranch, refusedCloneUrl } from '../git/remote.js';
import { childrenOf, kindsOf, visit, type CompositeKind } from './inputs.js';

const NAME = /^[a-zA-Z0-9_-]+$/;
const NAME_CHARS_MAX = 63;
const REPROCESS = ['', 'until_success', 'every_job'];
const SERVICE_TYPES = ['ClusterIP', 'LoadBalancer', 'NodePort'];
/** Largest magnitude a google.protobuf.Duration may have. */
const DURATION_SECONDS_MAX = 315_576_000_000;

/** Checks that need nothing but the request, before defaults. Throws INVALID_INPUT. */
export function checkRequest(request: CreatePipelineRequest): void {
  if (!request.pipeline) fail('invalid pipeline spec: request.Pipeline cannot be nil');
  const name = request.pipeline.name;
  if (name === '') fail('invalid pipeline spec: request.Pipeline.Name cannot be empty');
  if (!NAME.test(name)) {
    fail(
      `invalid pipeline name: name (${name}) invalid: ` +
        'only alphanumeric characters, underscores, and dashes are allowed',
    );
  }
  if (name.length > NAME_CHARS_MAX) {
    fail(
      `pipeline name is ${name.length} characters long, ` +
        `but must have at most ${NAME_CHARS_MAX}: "${name}"`,
    );
  }
  // Everything else is in the commit, and was checked when that was made.
  if (request.specCommit) return;
  if (request.tfJob) fail('embedding TFJobs in pipelines is not supported yet');
  if (request.s3Out && (request.service || request.spout)) {
    fail('s3 output is not supported in spouts or services');
  }
  if (request.s3Out && request.enableStats) {
    fail("stats are not supported for pipelines that output via Pachyderm's S3 gateway");
  }
  if (!request.transform) fail('pipeline must specify a transform');
  if (!REPROCESS.includes(request.reprocessSpec)) {
    fail("invalid pipeline spec: ReprocessSpec must be one of 'until_success' or 'every_job'");
  }
}

/**
 * Checks of the pipeline as it would be stored, after defaults. `given` is the request: some rules
 * only hold for what the user wrote. Throws INVALID_INPUT.
 */
export function checkPipeline(info: PipelineInfo, given: CreatePipelineRequest): void {
  const name = info.pipeline?.name ?? '';
  if (!/^[a-zA-Z0-9]/.test(name)) {
    fail('pipeline names must start with an alphanumeric character');
  }
  if (!info.transform?.image) {
    fail('invalid transform: pipeline transform must contain an image');
  }
  if (given.transform?.build) {
    fail(
      'transform.build needs the files of its directory, which only the command line has: ' +
        "use 'tusk create pipeline -f SPEC'",
    );
  }
  checkSecrets(info.transform.secrets);
  checkInput(info.input);
  checkParallelism(given);
  if (given.hashtreeSpec && given.hashtreeSpec.constant === 0) {
    fail('invalid pipeline spec: HashtreeSpec.Constant must be > 0');
  }
  checkEgress(info.egress);
  checkQuantity(info.cacheSize);
  checkDuration('datum_timeout', info.datumTimeout);
  checkDuration('job_timeout', info.jobTimeout);
  checkNumbers(info);
  checkJson('malformed PodSpec', info.podSpec);
  checkJson('malformed PodPatch', info.podPatch);
  checkService(info.service);
  checkSpout(info.spout, info);
}

/** Throws INVALID_INPUT when an input tree breaks a rule; children first, left to right. */
export function checkInput(input: Input | undefined): void {
  if (!input) return;
  checkNames(new Set(), input);
  for (const node of visit(input)) {
    if (node.pfs) checkPfs(node.pfs);
    if (node.cron) checkCron(node.cron);
    if (node.git) checkGit(node.git);
    const kinds = kindsOf(node);
    if (kinds.length > 1) fail('multiple input types set');
    if (kinds.length === 0) fail('no input set');
    const kind = kinds[0];
    if (kind === 'join' || kind === 'group' || kind === 'union') checkNoS3(kind, node);
  }
}

/** Names are unique, except that the branches of one union may repeat each other's. */
function checkNames(taken: Set<string>, input: Input): void {
  const name = input.pfs?.name ?? input.cron?.name ?? input.git?.name;
  if (name !== undefined && name !== '') {
    if (taken.has(name)) fail(`name "${name}" was used more than once`);
    taken.add(name);
  }
  for (const child of [...input.cross, ...input.join, ...input.group]) checkNames(taken, child);
  const inUnion = new Set<string>();
  for (const child of input.union) {
    const branch = new Set(taken);
    checkNames(branch, child);
    for (const one of branch) inUnion.add(one);
  }
  for (const one of inUnion) taken.add(one);
}

function checkPfs(pfs: PFSInput): void {
  if (pfs.name === '') fail('input must specify a name');
  if (pfs.name === 'out') {
    fail(
      'input cannot be named "out", as pachyderm already creates /pfs/out to collect job output',
    );
  }
  checkMountName(pfs.name);
  if (pfs.repo === '') fail('input must specify a repo');
  if (pfs.branch === '') fail('input must specify a branch');
  if (pfs.glob === '') fail('input must specify a glob');
  if (pfs.s3) checkS3(pfs);
  try {
    compileGlob(pfs.glob);
  } catch (error) {
    const why = messageOf(error);
    const text = why.startsWith('invalid glob') ? why : `invalid glob "${pfs.glob}": ${why}`;
    fail(`${text} (glob of input "${pfs.name}": expected a path pattern such as /* or /dir/*.csv)`);
  }
}

/** An input's name becomes a directory below /pfs and an environment variable. */
function checkMountName(name: string): void {
  if (name === '.' || name === '..' || /[/=\0]/.test(name)) {
    fail(`input name "${name}" cannot be the name of a directory in /pfs; use letters and digits`);
  }
}

function checkCron(cron: CronInput): void {
  try {
    parseCron(cron.spec);
  } catch (error) {
    fail(`error parsing cron-spec: ${messageOf(error)}`);
  }
  if (cron.name === '') fail('input must specify a name');
  checkMountName(cron.name);
}

function checkS3(pfs: PFSInput): void {
  if (pfs.glob !== '/') {
    fail(
      `inputs that set 's3' to 'true' must also set 'glob', to "/", as the S3 gateway is only ` +
        'able to expose data at the commit level',
    );
  }
  for (const [set, field] of [
    [pfs.lazy, 'lazy'],
    [pfs.emptyFiles, 'empty_files'],
  ] as const) {
    if (set) {
      fail(
        `input cannot specify both 's3' and '${field}', as 's3' requires input data to be ` +
          "accessed via Pachyderm's S3 gateway rather than the file system",
      );
    }
  }
}

function checkNoS3(kind: CompositeKind, node: Input): void {
  for (const child of childrenOf(node)) {
    for (const inner of visit(child)) {
      if (inner.pfs?.s3) fail(`S3 inputs in ${kind} expressions are not supported`);
    }
  }
}

function checkGit(git: GitInput): void {
  const why = refusedCloneUrl(git.url);
  if (why !== undefined) fail(why);
  if (git.name === '') fail('input must specify a name');
  checkMountName(git.name);
  checkGitBranch(git.branch);
  checkDuration('poll_interval', git.pollInterval);
}

function checkParallelism(given: CreatePipelineRequest): void {
  const spec = given.parallelismSpec;
  if (!spec) return;
  if (spec.coefficient < 0) fail('ParallelismSpec.Coefficient cannot be negative');
  if (spec.constant !== 0 && spec.coefficient !== 0) {
    fail(
      'contradictory parallelism strategies: must set at most one of ParallelismSpec.Constant ' +
        'and ParallelismSpec.Coefficient',
    );
  }
  if (given.service && spec.constant !== 1) {
    fail('services can only be run with a constant parallelism of 1');
  }
}

/** The grammar of Kubernetes quantities, which specs are written in. */
const QUANTITY = /^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$/;
const QUANTITY_PARTS = /^[+-]?(\d+\.?\d*|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?$/;

function checkQuantity(text: string): void {
  if (QUANTITY_PARTS.test(text)) return;
  const why = QUANTITY.test(text)
    ? "unable to parse quantity's suffix"
    : `quantities must match the regular expression '${QUANTITY.source}'`;
  fail(`could not parse cacheSize '${text}': ${why}`);
}

function checkDuration(field: string, duration: Duration | undefined): void {
  if (!duration) return;
  const { seconds, nanos } = duration;
  const shown = `seconds:${seconds} nanos:${nanos}`;
  if (Math.abs(seconds) > DURATION_SECONDS_MAX) fail(`duration: ${shown}: seconds out of range`);
  if (Math.abs(nanos) > 999_999_999) fail(`duration: ${shown}: nanos out of range`);
  if (seconds !== 0 && nanos !== 0 && seconds < 0 !== nanos < 0) {
    fail(`duration: ${shown}: seconds and nanos have different signs`);
  }
  if (seconds < 0 || nanos < 0) {
    fail(`invalid pipeline spec: ${field} cannot be negative; leave it out for no limit`);
  }
}

function checkNumbers(info: PipelineInfo): void {
  if (info.datumTries < 0) {
    fail('invalid pipeline spec: datum_tries cannot be negative; leave it out for 3 tries');
  }
  const chunk = info.chunkSpec;
  if (chunk && (chunk.number < 0 || chunk.sizeBytes < 0)) {
    fail('invalid pipeline spec: chunk_spec.number and chunk_spec.size_bytes cannot be negative');
  }
}

function checkJson(what: string, text: string): void {
  if (text === '') return;
  try {
    JSON.parse(text);
  } catch {
    fail(what);
  }
}

/** Old servers leave this to Kubernetes, which refuses the pod. */
function checkSecrets(secrets: readonly SecretMount[]): void {
  const wrong = (why: string): never => fail(`invalid transform: ${why}`);
  for (const { name, mountPath, envVar, key } of secrets) {
    if (name === '') wrong('a secret must specify a name');
    if (mountPath === '' && envVar === '') {
      wrong(`secret "${name}" must specify mount_path, or env_var and key`);
    }
    if ((envVar === '') !== (key === '')) {
      wrong(`secret "${name}" must specify both of env_var and key, or neither`);
    }
    if (/[=\0]/.test(envVar)) wrong(`secret "${name}": env_var "${envVar}" is no variable name`);
    if (mountPath !== '' && !isMountPath(mountPath)) {
      wrong(
        `secret "${name}": mount_path "${mountPath}" must be an absolute path outside ` +
          '/pfs, /proc, /dev and /sys',
      );
    }
  }
}

function isMountPath(path: string): boolean {
  const plain = path.startsWith('/') && !path.includes('\0') && posix.normalize(path) === path;
  return plain && path !== '/' && !/^\/(?:pfs|proc|dev|sys)(?:\/|$)/.test(path);
}

function checkEgress(egress: Egress | undefined): void {
  const why = egress && refusedUrl(egress.URL);
  if (why !== undefined) fail(`invalid pipeline spec: ${why}`);
}

function checkService(service: Service | undefined): void {
  if (service && !SERVICE_TYPES.includes(service.type)) {
    fail(`the following service type ${service.type} is not allowed`);
  }
}

function checkSpout(spout: Spout | undefined, info: PipelineInfo): void {
  if (!spout) return;
  if (info.enableStats) fail('spouts are not allowed to have a stats branch');
  const marker = spout.marker;
  if (marker !== '' && (!/^[ -~]+$/.test(marker) || /[*?[\]{}!()@+^]/.test(marker))) {
    fail(`the spout marker name must be a valid filename: ${marker}`);
  }
  if (marker === 'out') fail(`the spout marker name must be a valid filename: ${marker}`);
  checkService(spout.service);
  if (!spout.service && info.input) {
    fail('spout pipelines (without a service) must not have an input');
  }
}

function fail(message: string): never {
  throw invalidInput(message);
}
