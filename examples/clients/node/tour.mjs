// Repos, a put, a pipeline, its job and its output, with the .proto files read at run time.
import { fileURLToPath } from 'node:url';
import { credentials, loadPackageDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const PROTO = process.env.TUSK_PROTO ?? fileURLToPath(new URL('../../../proto', import.meta.url));
const ADDRESS = process.env.PACHD_ADDRESS ?? '127.0.0.1:30650';
const MESSAGE_BYTES = 20 * 1024 * 1024;
const REPO = 'node_words';
const PIPELINE = 'node_count';

const { pfs, pps } = loadPackageDefinition(
  loadSync(['pfs.proto', 'pps.proto'], {
    includeDirs: [PROTO],
    keepCase: true,
    longs: Number,
    enums: String,
    defaults: true,
  }),
);
const options = {
  'grpc.max_receive_message_length': MESSAGE_BYTES,
  'grpc.max_send_message_length': MESSAGE_BYTES,
};
const files = new pfs.API(ADDRESS, credentials.createInsecure(), options);
const pipelines = new pps.API(ADDRESS, credentials.createInsecure(), options);

/** A unary call as a promise. */
function call(client, method, request) {
  return new Promise((resolve, reject) => {
    client[method](request, (error, reply) => (error ? reject(error) : resolve(reply)));
  });
}

/** Puts files in one stream: one commit, visible together when the call answers. */
function putFiles(commit, contents) {
  return new Promise((resolve, reject) => {
    const stream = files.PutFile((error) => (error ? reject(error) : resolve()));
    for (const [path, text] of Object.entries(contents)) {
      stream.write({ file: { commit, path }, value: Buffer.from(text) });
    }
    stream.end();
  });
}

async function getFile(commit, path) {
  const parts = [];
  for await (const part of files.GetFile({ file: { commit, path } })) parts.push(part.value);
  return Buffer.concat(parts).toString();
}

// What an earlier run left.
await call(pipelines, 'DeletePipeline', { pipeline: { name: PIPELINE }, force: true });
await call(files, 'DeleteRepo', { repo: { name: REPO }, force: true });

const head = { repo: { name: REPO }, id: 'master' };
await call(files, 'CreateRepo', { repo: { name: REPO } });
await putFiles(head, { '/a.txt': 'one two three\n', '/b.txt': 'four five\n' });

await call(pipelines, 'CreatePipeline', {
  pipeline: { name: PIPELINE },
  transform: { cmd: ['sh', '-c', `wc -w < $${REPO} > /pfs/out/$(basename $${REPO})`] },
  input: { pfs: { repo: REPO, glob: '/*' } },
});

for await (const job of pipelines.FlushJob({ commits: [head] })) {
  console.log(job.state, `${job.data_processed}/${job.data_total}`);
}

const output = { repo: { name: PIPELINE }, id: 'master' };
for await (const info of files.ListFileStream({ file: { commit: output, path: '/' } })) {
  console.log(info.file.path, (await getFile(output, info.file.path)).trim());
}
files.close();
pipelines.close();
