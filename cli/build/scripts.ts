/**
 * What builds code of a language: scripts that read /pfs/source and leave /pfs/out/run.sh, which the
 * pipeline itself runs as /pfs/build/run.sh. They need nothing but the language's own tools.
 */

export interface Builder {
  /** For workers that run images; others use the tools of their host. */
  readonly image: string;
  readonly script: readonly string[];
}

const PYTHON: Builder = {
  image: 'python:3-slim',
  script: [
    'cd /pfs/source',
    '[ -f main.py ] || { echo "no main.py in the source directory" >&2; exit 1; }',
    'if [ -f requirements.txt ]; then',
    '  export PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1',
    // The interpreter itself: wrappers such as pyenv's want to note what was installed.
    "  python=$(python3 -c 'import sys; print(sys.executable)')",
    '  "$python" -m pip install -q --no-cache-dir --no-compile \\',
    '    -r requirements.txt --target /pfs/out/lib',
    'fi',
    "cat > /pfs/out/run.sh <<'END'",
    'export PYTHONPATH="/pfs/build/lib${PYTHONPATH:+:$PYTHONPATH}" PYTHONDONTWRITEBYTECODE=1',
    'exec python3 -u /pfs/source/main.py',
    'END',
  ],
};

const NODE: Builder = {
  image: 'node:22-slim',
  script: [
    'mkdir /pfs/out/app',
    'cp -R /pfs/source/. /pfs/out/app',
    'cd /pfs/out/app',
    'if [ -f package-lock.json ]; then npm ci --omit=dev --no-audit --no-fund',
    'elif [ -f package.json ]; then npm install --omit=dev --no-audit --no-fund --no-package-lock',
    'fi',
    'rm -rf node_modules/.bin node_modules/.package-lock.json',
    `node -e 'require.resolve("/pfs/out/app")' 2>/dev/null ||`,
    '  { echo "no index.js, and no \\"main\\" in package.json" >&2; exit 1; }',
    "echo 'exec node /pfs/build/app' > /pfs/out/run.sh",
  ],
};

const GO: Builder = {
  image: 'golang:1',
  script: [
    'export GOPATH=/tmp/go GOCACHE=/tmp/go-build GOFLAGS=-buildvcs=false',
    'cd /pfs/source',
    'go build -o /pfs/out/main .',
    // Files of a repo have no execute bit.
    "echo 'cp /pfs/build/main /tmp/main && chmod +x /tmp/main && exec /tmp/main' > /pfs/out/run.sh",
  ],
};

/** Without a language the source says itself how it is built, or has its run.sh ready. */
export const OWN: Builder = {
  image: '',
  script: [
    'cd /pfs/source',
    'if [ -f build.sh ]; then sh ./build.sh; fi',
    'if [ ! -f /pfs/out/run.sh ] && [ -f run.sh ]; then cp run.sh /pfs/out/run.sh; fi',
    '[ -f /pfs/out/run.sh ] ||',
    '  { echo "no run.sh in the source directory, and no build.sh that makes /pfs/out/run.sh" >&2; exit 1; }',
  ],
};

export const BUILDERS: ReadonlyMap<string, Builder> = new Map([
  ['go', GO],
  ['node', NODE],
  ['python', PYTHON],
]);
