/** create, inspect, list and delete branch. */
import { invalidInput } from '../../core/errors.js';
import {
  CreateBranchRequest,
  DeleteBranchRequest,
  InspectBranchRequest,
  ListBranchRequest,
} from '../../proto/generated/pfs.js';
import type { Call } from '../grammar/command.js';
import { fromSlashForm, parseBranchRef } from '../grammar/refs.js';
import { BRANCH_HEADER, branchBlock, branchRow } from '../render/pfs.js';
import { printList, rawJson } from './output.js';

const CONDITIONS = ['trigger-cron', 'trigger-size', 'trigger-commits', 'trigger-all'];

export async function createBranch(call: Call): Promise<void> {
  const { session, args, flags } = call;
  const ref = parseBranchRef(args[0] ?? '');
  const head = flags.text('head');
  const provenance = flags.list('provenance').map((text) => {
    const branch = parseBranchRef(fromSlashForm(text));
    return { repo: { name: branch.repo }, name: branch.id };
  });
  const trigger = triggerOf(call);
  if (trigger && provenance.length > 0) {
    throw invalidInput('cannot use provenance and triggers on the same branch');
  }
  const client = await session.client();
  const request = CreateBranchRequest.fromPartial({
    branch: { repo: { name: ref.repo }, name: ref.id },
    ...(head === '' ? {} : { head: { repo: { name: ref.repo }, id: head } }),
    provenance,
    ...(trigger ? { trigger } : {}),
  });
  await client.unary(client.pfs.createBranch, request);
}

function triggerOf({ flags }: Call) {
  if (!flags.given('trigger')) {
    const lone = CONDITIONS.find((name) => flags.given(name));
    if (lone)
      throw invalidInput(
        `trigger condition specified without a branch to trigger on, specify a branch with --trigger (got --${lone})`,
      );
    return undefined;
  }
  return {
    branch: flags.text('trigger'),
    all: flags.bool('trigger-all'),
    cronSpec: flags.text('trigger-cron'),
    size: flags.text('trigger-size'),
    commits: flags.number('trigger-commits'),
  };
}

export async function inspectBranch({ session, args, flags }: Call): Promise<void> {
  const ref = parseBranchRef(args[0] ?? '');
  const client = await session.client();
  const info = await client.unary(
    client.pfs.inspectBranch,
    InspectBranchRequest.fromPartial({ branch: { repo: { name: ref.repo }, name: ref.id } }),
  );
  session.out(flags.bool('raw') ? rawJson(info, 'pfs.BranchInfo') : branchBlock(info));
}

export async function listBranch(call: Call): Promise<void> {
  const client = await call.session.client();
  const { branchInfo } = await client.unary(
    client.pfs.listBranch,
    ListBranchRequest.fromPartial({ repo: { name: call.args[0] ?? '' } }),
  );
  await printList(call, branchInfo, {
    type: 'pfs.BranchInfo',
    header: BRANCH_HEADER,
    row: branchRow,
  });
}

export async function deleteBranch({ session, args, flags }: Call): Promise<void> {
  const ref = parseBranchRef(args[0] ?? '');
  const client = await session.client();
  const request = DeleteBranchRequest.fromPartial({
    branch: { repo: { name: ref.repo }, name: ref.id },
    force: flags.bool('force'),
  });
  await client.unary(client.pfs.deleteBranch, request);
}
