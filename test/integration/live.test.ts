/** Services and spouts on a real stack: what is served, what is committed, and what outlives what. */
import { execFileSync } from 'node:child_process';
import { createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import {
  CreatePipelineRequest,
  DeletePipelineRequest,
  JobState,
  ListPipelineRequest,
  PipelineState,
  StartPipelineRequest,
  StopPipelineRequest,
  type PipelineInfo,
  type PipelineInfos,
} from '../../proto/generated/pps.js';
import { freePort } from '../support/free-port.js';
import { sharedStack } from '../support/shared.js';
import type { Stack } from '../support/stack.js';
import { answers, textOf as text } from '../support/http-text.js';
import { until } from '../support/until.js';

let stack: Stack;
let http = '';

sharedStack({ workers: 1, config: { httpListen: '127.0.0.1:0' } }, (made) => {
  stack = made;
  http = `http://127.0.0.1:${stack.ready.httpPort}`;
});

/** A small HTTP server: says its pid, echoes what is posted, serves files of its input. */
const SERVER = `
import http.server, os, sys
class H(http.server.SimpleHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        if self.path == '/pid':
            body = str(os.getpid()).encode() + b' ' + os.environ['PACH_JOB_ID'].encode()
            self.send_response(200); self.send_header('Content-Length', str(len(body))); self.end_headers()
            self.wfile.write(body)
        elif self.path == '/die': os._exit(3)
        else: super().do_GET()
    def do_POST(self):
        left = int(self.headers['Content-Length'])
        self.send_response(200); self.send_header('Content-Length', str(left))
        self.send_header('X-Path', self.path); self.end_headers()
        while left > 0:
            part = self.rfile.read(min(left, 65536)); left -= len(part); self.wfile.write(part)
os.chdir(sys.argv[1])
print('serving', sys.argv[1], flush=True)
http.server.ThreadingHTTPServer(('0.0.0.0', int(sys.argv[2])), H).serve_forever()
`;

async function createService(name: string, o: { glob?: string; repo?: string } = {}) {
  const { glob = '/', repo = `${name}-in` } = o;
  const [internal, external] = [await freePort(), await freePort()];
  await create({
    pipeline: { name },
    transform: { cmd: ['python3', '-c', SERVER, `/pfs/${repo}`, String(internal)] },
    input: { pfs: { repo, glob } },
    service: { internalPort: internal, externalPort: external },
  });
  return { internal, external, url: `http://127.0.0.1:${external}` };
}

const create = (request: object): Promise<void> =>
  stack.client.createPipeline(CreatePipelineRequest.fromPartial(request));

async function pipeline(name: string): Promise<PipelineInfo> {
  const request = ListPipelineRequest.fromPartial({ pipeline: { name } });
  const { pps } = stack.client;
  const list = await stack.client.call<ListPipelineRequest, PipelineInfos>(
    pps.listPipeline.bind(pps),
    request,
  );
  return list.pipelineInfo[0] as PipelineInfo;
}

async function stopPipeline(name: string): Promise<void> {
  const { pps } = stack.client;
  const request = StopPipelineRequest.fromPartial({ pipeline: { name } });
  await stack.client.call(pps.stopPipeline.bind(pps), request);
}

async function deletePipeline(name: string): Promise<void> {
  const { pps } = stack.client;
  const request = DeletePipelineRequest.fromPartial({ pipeline: { name } });
  await stack.client.call(pps.deletePipeline.bind(pps), request);
}

const silent = (url: string) =>
  until(`${url} is closed`, async () => (await text(url)) === undefined, 60_000);

describe('a service', () => {
  it('serves the newest input, and its jobs succeed when the next one takes over', async () => {
    await stack.client.createRepo('web-in');
    await stack.client.put('web-in', { '/a': 'one' });
    const { url, external, internal } = await createService('web');
    await answers(`${url}/a`, 'one');
    const [job] = await stack.client.jobs('web');
    expect(job?.state).toBe(JobState.JOB_RUNNING);
    const [pid = '', id] = ((await text(`${url}/pid`)) ?? '').split(' ');
    expect(id).toBe(job?.job?.id);

    await stack.client.put('web-in', { '/b': 'two' });
    await answers(`${url}/b`, 'two');
    const first = await stack.client.ended('web', 1);
    expect(first.state).toBe(JobState.JOB_SUCCESS);
    const second = await until('the second job runs', async () => {
      const [, next] = await stack.client.jobs('web');
      return next?.state === JobState.JOB_RUNNING && next;
    });
    expect(((await text(`${url}/pid`)) ?? '').split(' ')[1]).toBe(second.job?.id);
    expect(pid).not.toBe('');
    const [, older = ''] = await stack.client.commits('web');
    const inspected = await stack.tusk(['inspect', 'commit', `web@${older}`]);
    expect(inspected.stdout).toMatch(/Size: 0B/);

    const info = await pipeline('web');
    expect(info.state).toBe(PipelineState.PIPELINE_RUNNING);
    expect(info.service).toMatchObject({
      ip: '127.0.0.1',
      externalPort: external,
      internalPort: internal,
      type: 'NodePort',
    });
    const logs = await until('the log is stored', async () => {
      const { stdout } = await stack.tusk(['logs', '-p', 'web']);
      return stdout.includes('serving /pfs/web-in') && stdout;
    });
    expect(logs).toContain('serving');
  });

  it('is reached through the HTTP API, both ways', async () => {
    expect(await text(`${http}/v1/pps/services/web/a`)).toBe('one');
    const body = Buffer.alloc(3_000_000, 'x');
    const posted = await fetch(`${http}/v1/pps/services/web/deep/path?q=1`, {
      method: 'POST',
      body,
    });
    expect(posted.headers.get('x-path')).toBe('/deep/path?q=1');
    expect(Buffer.from(await posted.arrayBuffer()).equals(body)).toBe(true);
    expect((await fetch(`${http}/v1/pps/services/web/none`)).status).toBe(404);
    const missing = await fetch(`${http}/v1/pps/services/nobody/`);
    expect(missing.status).toBe(404);
    expect(await missing.text()).toContain('pipeline "nobody" not found');
  });

  it('is started again when its process ends', async () => {
    const { service } = await pipeline('web');
    const url = `http://127.0.0.1:${service?.externalPort}`;
    const before = await text(`${url}/pid`);
    await fetch(`${url}/die`).catch(() => undefined);
    const after = await until('another process answers', async () => {
      const now = await text(`${url}/pid`);
      return now !== undefined && now;
    });
    expect(after.split(' ')[1]).toBe(before?.split(' ')[1]);
  });

  it('is started again with the same inputs when its datum is restarted', async () => {
    const { service } = await pipeline('web');
    const url = `http://127.0.0.1:${service?.externalPort}`;
    const jobs = await stack.client.jobs('web');
    const job = jobs.find(({ state }) => state === JobState.JOB_RUNNING);
    const id = job?.job?.id ?? '';
    for (const filter of ['/', '']) {
      // A pid of the sandbox can be the same after a restart, the time of start can not.
      const before = processStart('web-in');
      await stack.tusk(['restart', 'datum', id, filter]);
      await until('another process runs', () => ![before, ''].includes(processStart('web-in')));
      await answers(`${url}/a`, 'one');
    }
    expect(((await text(`${url}/pid`)) ?? '').split(' ')[1]).toBe(id);
    await until('the log says why', async () => {
      const { stdout } = await stack.tusk(['logs', '-p', 'web', '--raw']);
      return stdout.split('restart datum asked for it').length === 3;
    });
    const now = (await stack.client.jobs('web')).find((one) => one.job?.id === id);
    expect(now).toMatchObject({ state: JobState.JOB_RUNNING, restart: job?.restart });
    const missed = await stack.tusk(['restart', 'datum', id, '/none'], { check: false });
    expect(missed.stderr).toContain(
      `datum matching filter [/none] could not be found for jobID ${id}`,
    );
  });

  it('outlives the coordinator', async () => {
    const { service } = await pipeline('web');
    const url = `http://127.0.0.1:${service?.externalPort}`;
    // A pid of the sandbox can be the same after a restart, the time of start can not.
    const started = processStart('web-in');
    await stack.killCoordinator();
    await stack.restartCoordinator();
    await answers(`${url}/a`, 'one');
    http = `http://127.0.0.1:${stack.ready.httpPort}`;
    await until(
      'the worker is back',
      async () => (await text(`${http}/v1/pps/services/web/a`)) === 'one',
    );
    expect(processStart('web-in')).toBe(started);
  });

  it('ends when the pipeline is stopped, comes back when it is started, ends when it is deleted', async () => {
    const { service } = await pipeline('web');
    const url = `http://127.0.0.1:${service?.externalPort}`;
    await stopPipeline('web');
    await silent(`${url}/a`);
    await until('no process is left', () => processStart('web-in') === '');
    const refused = await fetch(`${http}/v1/pps/services/web/a`);
    expect(refused.status).toBe(503);
    expect(await refused.text()).toContain('service web is stopped');
    const { pps } = stack.client;
    const start = StartPipelineRequest.fromPartial({ pipeline: { name: 'web' } });
    await stack.client.call(pps.startPipeline.bind(pps), start);
    await answers(`${url}/a`, 'one');
    await deletePipeline('web');
    await silent(`${url}/a`);
    await until('no process is left', () => processStart('web-in') === '');
  });

  it('needs a single datum, and says so', async () => {
    await stack.client.createRepo('many');
    await stack.client.put('many', { '/a': '1', '/b': '2' });
    await createService('many-web', { glob: '/*', repo: 'many' });
    const job = await until('the job has a reason', async () => {
      const [one] = await stack.client.jobs('many-web');
      return one?.reason !== '' && one;
    });
    expect(job.reason).toContain('services must have a single datum');
    expect(job.state).toBe(JobState.JOB_RUNNING);
    await deletePipeline('many-web');
  });

  it('can not be a spout as well', async () => {
    const service = { internalPort: 1, externalPort: 1 };
    await create({
      ...{ pipeline: { name: 'both' }, transform: { cmd: ['true'] } },
      ...{ service, spout: { service } },
    });
    const failed = await until('the pipeline has failed', async () => {
      const info = await pipeline('both');
      return info.state === PipelineState.PIPELINE_FAILURE && info;
    });
    expect(failed.reason).toMatch(
      /^could not generate RC options: only one of pipeline\.service or pipeline\.spout can be set/,
    );
    await deletePipeline('both');
  });

  it('says which port is taken', async () => {
    await stack.client.createRepo('busy');
    await stack.client.put('busy', { '/a': '1' });
    const blocker = createServer();
    const port = await freePort();
    await new Promise<void>((resolve) => blocker.listen(port, '0.0.0.0', resolve));
    try {
      await create({
        pipeline: { name: 'blocked' },
        transform: { cmd: ['sleep', '1000'] },
        input: { pfs: { repo: 'busy', glob: '/' } },
        service: { internalPort: await freePort(), externalPort: port },
      });
      const info = await until('the pipeline has a reason', async () => {
        const now = await pipeline('blocked');
        return now.reason !== '' && now.state === PipelineState.PIPELINE_CRASHING && now;
      });
      expect(info.reason).toContain(`external port ${port}`);
      const refused = await fetch(`${http}/v1/pps/services/blocked/`);
      expect(refused.status).toBe(503);
    } finally {
      await new Promise<void>((resolve) => blocker.close(() => resolve()));
    }
    await until(
      'it runs once the port is free',
      async () => {
        const { state } = await pipeline('blocked');
        return state === PipelineState.PIPELINE_RUNNING;
      },
      60_000,
    );
    const silentOne = await fetch(`${http}/v1/pps/services/blocked/`);
    expect(silentOne.status).toBe(502);
    await deletePipeline('blocked');
  });
});

/** What tells one life of a process from another; empty when none has the text in its command. */
function processStart(mark: string): string {
  const list = execFileSync('ps', ['-eo', 'lstart,pid,args'], { encoding: 'utf8' });
  return list
    .split('\n')
    .filter((line) => line.includes('ThreadingHTTPServer') || line.includes('/pfs/'))
    .filter((line) => line.includes(`/pfs/${mark}`))
    .join('\n');
}

const spout = (name: string, script: readonly string[], more: object = {}): Promise<void> =>
  create({ pipeline: { name }, transform: { cmd: ['sh'], stdin: script }, spout: {}, ...more });

const has = (name: string, files: Readonly<Record<string, string>>) =>
  until(
    `${name} has ${JSON.stringify(files)}`,
    async () => {
      const now = await stack.client.files(name, 'master');
      return JSON.stringify(now) === JSON.stringify(files) && now;
    },
    60_000,
  );

const WAIT = 'while :; do sleep 1; done';

describe('a spout', () => {
  it('makes a commit of every archive, which starts jobs downstream', async () => {
    await spout('drip', [
      'cd /tmp; mkdir d; echo one > a; echo deep > d/b; tar cf - a d > /pfs/out',
      'echo two > a; tar cf - a > /pfs/out',
      WAIT,
    ]);
    await create({
      pipeline: { name: 'after-drip' },
      transform: { cmd: ['sh'], stdin: ['cat /pfs/drip/a > /pfs/out/a'] },
      input: { pfs: { repo: 'drip', glob: '/' } },
    });
    await has('drip', { '/a': 'one\ntwo\n', '/d/b': 'deep\n' });
    expect(await stack.client.commits('drip')).toHaveLength(2);
    expect(await stack.client.jobs('drip')).toEqual([]);
    await has('after-drip', { '/a': 'one\ntwo\n' });
    const { stdout } = await stack.tusk(['inspect', 'commit', 'drip@master']);
    expect(stdout).toMatch(/Provenance: {2}__spec__@[0-9a-f]{32} \(drip\)/);
    const fsck = await stack.tusk(['fsck']);
    expect(fsck.stdout).toContain('No errors found');
  });

  it('overwrites when told to, and ends a commit at the end marker of an open pipe', async () => {
    await spout(
      'over',
      [
        'cd /tmp; exec 3> /pfs/out',
        'echo one > a; tar cf - a >&3; echo two > a; tar cf - a >&3',
        WAIT,
      ],
      { spout: { overwrite: true } },
    );
    await has('over', { '/a': 'two\n' });
    expect(await stack.client.commits('over')).toHaveLength(2);
  });

  it('finds its marker when it starts again', async () => {
    await spout(
      'counter',
      [
        'cd /tmp; n=$(cat /pfs/at 2>/dev/null || echo 0); n=$((n + 1)); [ $n -le 3 ] || sleep 1000',
        'echo $n > at; echo line $n > log; tar cf - at log > /pfs/out',
      ],
      { spout: { marker: 'at' } },
    );
    await has('counter', { '/log': 'line 1\nline 2\nline 3\n' });
    expect(await stack.client.files('counter', 'marker')).toEqual({ '/at': '3\n' });
  });

  it('shows nothing of a broken archive, says why, and starts anew', async () => {
    await spout('broken', [
      'cd /tmp; head -c 100000 /dev/urandom > a; tar cf t a; head -c 50000 t > /pfs/out; sleep 1000',
    ]);
    const info = await until('the pipeline has a reason', async () => {
      const now = await pipeline('broken');
      return now.reason !== '' && now;
    });
    expect(info.reason).toContain('no tar stream');
    expect(await stack.client.commits('broken')).toEqual([]);
    await deletePipeline('broken');
  });

  it('may put files with pachctl instead', async () => {
    await spout('putter', [
      'for i in 1 2 3; do echo $i | pachctl put file $PPS_PIPELINE_NAME@master:/n || exit 1; done',
      WAIT,
    ]);
    await has('putter', { '/n': '1\n2\n3\n' });
    const { stdout } = await stack.tusk(['inspect', 'commit', 'putter@master']);
    expect(stdout).toContain('__spec__@');
  });

  it('runs other code after an update, and none after a stop', async () => {
    const update = (word: string, more: object = {}) =>
      spout('changing', ['cd /tmp', `echo ${word} > ${word}; tar cf - ${word} > /pfs/out`, WAIT], {
        update: true,
        ...more,
      });
    await update('first');
    await has('changing', { '/first': 'first\n' });
    await update('second');
    await has('changing', { '/first': 'first\n', '/second': 'second\n' });
    await update('third', { reprocess: true });
    await has('changing', { '/third': 'third\n' });
    await stopPipeline('changing');
    await until('it is paused', async () => {
      const { state } = await pipeline('changing');
      return state === PipelineState.PIPELINE_PAUSED;
    });
    const { stdout } = await stack.tusk(['logs', '-p', 'changing', '--raw']);
    expect(stdout).toContain('became commit');
  });
});
