/**
 * Makes the image of docs/examples/hello.yaml on the board itself: Debian's static busybox, its httpd and one CGI
 * script that names the pod. No registry is needed.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export const DEMO_IMAGE = 'localhost/pier-hello:1';

const APPLETS = [
  'sh',
  'httpd',
  'hostname',
  'cat',
  'echo',
  'sleep',
  'wget',
  'nc',
  'env',
  'ls',
  'date',
  'kill',
  'true',
  'false',
  'id',
  'ps',
  'ip',
  'dd',
  'head',
  'tail',
  'printf',
  'mkdir',
  'rm',
  'touch',
  'test',
  'grep',
  'wc',
  'nslookup',
  // For kubectl cp.
  'tar',
  'sha256sum',
];

// The first process of a container gets no default signal handling, so the shell passes SIGTERM on.
const START = `#!/bin/sh
httpd -f -p 8080 -h /www &
child=$!
trap 'kill $child' TERM INT
echo "serving on port 8080 as $(hostname)"
wait $child
`;

const PAGE = `#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
echo "Hello from $(hostname)"
`;

/** Runs podman with these arguments where the image is wanted; resolves with what it printed. */
export type Podman = (args: readonly string[]) => Promise<unknown>;

export const localPodman: Podman = (args) => run('podman', [...args]);

/** True when the image had to be made. Throws an Error that says what to install when busybox is missing. */
export async function ensureDemoImage(podman: Podman): Promise<boolean> {
  const present = await podman(['image', 'exists', DEMO_IMAGE]).then(
    () => true,
    () => false,
  );
  if (present) return false;
  const directory = await mkdtemp(join(tmpdir(), 'pier-image-'));
  try {
    const root = join(directory, 'root');
    const tar = join(directory, 'image.tar');
    await writeRootFilesystem(root);
    const owner = ['--numeric-owner', '--owner=0', '--group=0'];
    await run('tar', [...owner, '-C', root, '-cf', tar, '.']);
    const changes = ['--change', 'CMD=["/start"]', '--change', 'EXPOSE=8080'];
    await podman(['import', ...changes, tar, DEMO_IMAGE]);
    return true;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function writeRootFilesystem(root: string): Promise<void> {
  const busybox = ['/bin/busybox', '/usr/bin/busybox'].find(existsSync);
  if (busybox === undefined) {
    throw new Error('busybox is missing: sudo apt-get install busybox-static');
  }
  await mkdir(join(root, 'bin'), { recursive: true });
  await mkdir(join(root, 'www/cgi-bin'), { recursive: true });
  await mkdir(join(root, 'tmp'));
  await mkdir(join(root, 'etc'));
  await copyFile(busybox, join(root, 'bin/busybox'));
  await chmod(join(root, 'bin/busybox'), 0o755);
  for (const applet of APPLETS) await symlink('busybox', join(root, 'bin', applet));
  await writeFile(join(root, 'etc/passwd'), 'root:x:0:0:root:/:/bin/sh\n');
  await writeFile(join(root, 'start'), START, { mode: 0o755 });
  // Busybox's httpd runs this for "/" when there is no index.html.
  await writeFile(join(root, 'www/cgi-bin/index.cgi'), PAGE, { mode: 0o755 });
  await chmod(join(root, 'tmp'), 0o1777);
}
