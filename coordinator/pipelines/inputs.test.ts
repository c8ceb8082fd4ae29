import { describe, expect, it } from 'vitest';
import { Input } from '../../proto/generated/pps.js';
import { inputBranches, inputNames, sortInputs, withCommits, withInputDefaults } from './inputs.js';

const pfs = (name: string, more: object = {}): Input =>
  Input.fromPartial({ pfs: { name, repo: name, branch: 'master', glob: '/*', ...more } });

describe('inputs', () => {
  it('fills name and branch, and forgets a given commit', () => {
    const input = withInputDefaults(
      'p',
      0,
      Input.fromPartial({ pfs: { repo: 'r', glob: '/', commit: 'x' } }),
    );
    expect(input.pfs).toMatchObject({ name: 'r', branch: 'master', commit: '' });
  });

  it('numbers the branches of triggered inputs per repo', () => {
    const trigger = { branch: '', all: false, cronSpec: '', size: '', commits: 1 };
    const input = withInputDefaults(
      'p',
      0,
      Input.fromPartial({
        cross: [
          { pfs: { repo: 'r', name: 'a', trigger } },
          { pfs: { repo: 'r', name: 'b', trigger } },
          { pfs: { repo: 's', trigger } },
        ],
      }),
    );
    expect(input.cross.map((child) => child.pfs?.branch)).toEqual([
      'p-trigger-1',
      'p-trigger-2',
      'p-trigger-1',
    ]);
    expect(input.cross[0]?.pfs?.trigger?.branch).toBe('master');
  });

  it('fills cron and git names', () => {
    const cron = withInputDefaults('p', 42, Input.fromPartial({ cron: { name: 'tick' } }));
    expect(cron.cron).toMatchObject({ repo: 'p_tick', start: { seconds: 42, nanos: 0 } });
    const url = 'https://example.org/x/foo.bar.git';
    const git = withInputDefaults('p', 0, Input.fromPartial({ git: { url } }));
    expect(git.git).toMatchObject({ name: 'foo', branch: 'master' });
  });

  it('sorts composites by the name of their first child, innermost first', () => {
    const union = Input.fromPartial({ union: [pfs('b'), pfs('a')] });
    const sorted = sortInputs(Input.fromPartial({ cross: [pfs('c'), union] }));
    expect(sorted.cross.map((child) => child.pfs?.name)).toEqual([undefined, 'c']);
    expect(sorted.cross[0]?.union.map((child) => child.pfs?.name)).toEqual(['a', 'b']);
  });

  it('puts cron first, as its name counts as empty', () => {
    const cron = Input.fromPartial({ cron: { name: 'z' } });
    const sorted = sortInputs(Input.fromPartial({ cross: [pfs('a'), cron] }));
    expect(sorted.cross[0]?.cron?.name).toBe('z');
  });

  it('lists branches and names once', () => {
    const tree = Input.fromPartial({ union: [pfs('a'), pfs('a', { glob: '/x' }), pfs('b')] });
    expect(inputBranches(tree)).toEqual([
      { repo: 'a', branch: 'master' },
      { repo: 'b', branch: 'master' },
    ]);
    expect(inputNames(tree)).toEqual(['a', 'b']);
    expect(inputBranches(undefined)).toEqual([]);
  });

  it('fills the commits of a job', () => {
    const tree = Input.fromPartial({ cross: [pfs('a'), pfs('b')] });
    const filled = withCommits(tree, [{ repo: 'a', branch: 'master', commit: 'c1' }]);
    expect(filled.cross.map((child) => child.pfs?.commit)).toEqual(['c1', '']);
  });
});
