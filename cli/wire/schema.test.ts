import { join } from 'node:path';
import protobuf from 'protobufjs';
import { describe, expect, it } from 'vitest';
import { JobInfo, JobState } from '../../proto/generated/pps.js';
import { FileInfo, FileType } from '../../proto/generated/pfs.js';
import { schema } from './schema.js';
import { CAMEL, jsonText, SNAKE, toJson } from './to-json.js';

const PROTO = join(import.meta.dirname, '../../proto');
const SHORT: Record<string, string> = {
  'google.protobuf.Timestamp': 'time',
  'google.protobuf.Duration': 'duration',
};

async function protoRoot(): Promise<protobuf.Root> {
  const root = new protobuf.Root();
  root.resolvePath = (_from, to) =>
    to.startsWith('google/') ? null : join(PROTO, to.split('/').at(-1) as string);
  const files = ['pfs', 'pps', 'transaction', 'versionpb', 'admin', 'tusk'];
  await root.load(
    files.map((name) => `${name}.proto`),
    { keepCase: true },
  );
  root.resolveAll();
  return root;
}

describe('schema', () => {
  it('agrees with the .proto files', async () => {
    const root = await protoRoot();
    for (const message of schema().messages.values()) {
      const type = root.lookupType(message.name);
      const real = type.fieldsArray.map((field) => {
        const name = field.resolvedType?.fullName.slice(1) ?? field.type;
        return {
          name: field.name,
          type: SHORT[name] ?? name,
          repeated: field.repeated,
          mapKey: field instanceof protobuf.MapField ? field.keyType : undefined,
        };
      });
      const ours = message.fields.map(({ name, type: fieldType, repeated, mapKey }) => ({
        name,
        type: fieldType,
        repeated,
        mapKey,
      }));
      expect(ours, message.name).toEqual(real);
    }
    for (const enumeration of schema().enums.values()) {
      const real = root.lookupEnum(enumeration.name).values;
      expect(Object.fromEntries(enumeration.numbers), enumeration.name).toEqual(real);
    }
  });

  it('knows every type it names', () => {
    const scalars = new Set(
      'string bool bytes int32 int64 uint32 uint64 float double time duration'.split(' '),
    );
    for (const { name, fields } of schema().messages.values()) {
      for (const field of fields) {
        const known =
          scalars.has(field.type) ||
          schema().messages.has(field.type) ||
          schema().enums.has(field.type);
        expect(known, `${name}.${field.name}: ${field.type}`).toBe(true);
      }
    }
  });
});

describe('toJson', () => {
  it('prints files in camelCase with quoted sizes', () => {
    const info = FileInfo.fromPartial({
      file: { path: '/a&b', commit: { repo: { name: 'r' }, id: 'x' } },
      fileType: FileType.FILE,
      sizeBytes: 3,
      hash: Buffer.from('hi'),
      committed: { seconds: 1, nanos: 5_000_000 },
    });
    expect(jsonText(toJson(info, 'pfs.FileInfo', CAMEL))).toBe(
      `{
  "file": {
    "commit": {
      "repo": {
        "name": "r"
      },
      "id": "x"
    },
    "path": "/a\\u0026b"
  },
  "fileType": "FILE",
  "sizeBytes": "3",
  "hash": "aGk=",
  "committed": "1970-01-01T00:00:01.005Z"
}
`,
    );
  });

  it('prints jobs in snake_case', () => {
    const info = JobInfo.fromPartial({
      job: { id: 'j' },
      state: JobState.JOB_SUCCESS,
      dataProcessed: 2,
      resourceRequests: { cpu: Math.fround(0.1) },
      stats: { downloadTime: { seconds: 2, nanos: 500_000_000 } },
    });
    expect(toJson(info, 'pps.JobInfo', SNAKE)).toEqual({
      job: { id: 'j' },
      state: 'JOB_SUCCESS',
      data_processed: '2',
      resource_requests: { cpu: 0.1 },
      stats: { download_time: '2.500s' },
    });
  });
});
