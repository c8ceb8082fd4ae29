/**
 * A spec with `transform.build` as the two pipelines it stands for: `NAME_build` makes code out of
 * the files that the command line uploads, and the pipeline itself reads both.
 */
import { invalidInput } from '../../core/errors.js';
import { CreatePipelineRequest, type Input, type PFSInput } from '../../proto/generated/pps.js';
import { BUILDERS, OWN, type Builder } from './scripts.js';

export const SOURCE_BRANCH = 'source';
const BUILD_BRANCH = 'build';

export interface BuiltPipeline {
  /** The repo of the source, and name of the pipeline that builds. */
  readonly buildName: string;
  readonly build: CreatePipelineRequest;
  /** As the user wrote it, with the code as inputs. */
  readonly pipeline: CreatePipelineRequest;
}

/** Throws INVALID_INPUT for what can not be built. */
export function expandBuild(spec: CreatePipelineRequest): BuiltPipeline {
  const { transform, input } = spec;
  const name = spec.pipeline?.name ?? '';
  const { language = '', image: buildImage = '' } = transform?.build ?? {};
  if (!transform || !input) {
    throw invalidInput(
      `pipeline ${name}: transform.build needs an input: its code is rebuilt and run for datums`,
    );
  }
  needFreeNames(name, input);
  const buildName = `${name}_build`;
  const own = language === '' && buildImage !== '';
  const builder = builderOf(name, language);
  const image = buildImage || transform.image || builder.image;
  const { env, secrets, user, imagePullSecrets } = transform;
  const source = codeInput(buildName, SOURCE_BRANCH);
  const build = CreatePipelineRequest.fromPartial({
    pipeline: { name: buildName },
    description: `Builds the code of pipeline ${name}.`,
    transform: {
      ...{ image, env, secrets, user, imagePullSecrets },
      ...(own ? { cmd: ['sh', './build.sh'] } : { cmd: ['sh', '-e'], stdin: [...builder.script] }),
    },
    input: { pfs: source },
    outputBranch: BUILD_BRANCH,
    ...(spec.schedulingSpec ? { schedulingSpec: spec.schedulingSpec } : {}),
  });
  const pipeline = CreatePipelineRequest.fromPartial({
    ...spec,
    transform: {
      ...transform,
      image,
      build: undefined,
      cmd: transform.cmd.length > 0 ? transform.cmd : ['sh', '/pfs/build/run.sh'],
    },
    input: { cross: [{ pfs: source }, { pfs: codeInput(buildName, BUILD_BRANCH) }, input] },
  });
  return { buildName, build, pipeline };
}

function builderOf(name: string, language: string): Builder {
  const builder = language === '' ? OWN : BUILDERS.get(language);
  if (builder) return builder;
  throw invalidInput(
    `pipeline ${name}: transform.build.language "${language}" is not known; ` +
      `use one of ${[...BUILDERS.keys()].join(', ')}, or leave it out and bring a build.sh`,
  );
}

/** The input named like its branch. */
function codeInput(repo: string, branch: string): PFSInput {
  const input = { pfs: { name: branch, repo, branch, glob: '/' } };
  return CreatePipelineRequest.fromPartial({ input }).input?.pfs as PFSInput;
}

function needFreeNames(name: string, input: Input): void {
  const { pfs, cron, git, cross, union, join, group } = input;
  const own = pfs ? pfs.name || pfs.repo : (cron?.name ?? git?.name ?? '');
  if (own === SOURCE_BRANCH || own === BUILD_BRANCH) {
    throw invalidInput(
      `pipeline ${name}: transform.build adds inputs named "source" and "build"; ` +
        `give the input "${own}" another name`,
    );
  }
  for (const child of [...cross, ...union, ...join, ...group]) needFreeNames(name, child);
}
