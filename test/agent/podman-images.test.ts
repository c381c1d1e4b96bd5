/** What a pull through podman leaves on the disk, against a stand-in of its REST socket. */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { PodmanHttp } from '../../agent/runtime/podman-http.ts';
import { pullImage } from '../../agent/runtime/podman-images.ts';

/** Answers a pull with `report` and knows where its images are; returns a client and the paths asked for. */
async function standIn(t: Test, report: object) {
  const folder = await mkdtemp(join(tmpdir(), 'pier-podman-images-'));
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const path = request.url ?? '';
    asked.push(path);
    const isInfo = path.endsWith('/info');
    const isPull = path.includes('/images/pull');
    const answer = isInfo ? { store: { graphRoot: folder } } : isPull ? report : { Id: 'abc' };
    request.resume().on('end', () => response.end(`${JSON.stringify(answer)}\n`));
  });
  await new Promise<void>((resolve) => server.listen(join(folder, 'socket'), resolve));
  const http = new PodmanHttp(join(folder, 'socket'));
  t.teardown(async () => {
    http.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await rm(folder, { recursive: true });
  });
  return { http, asked, folder };
}

t.test('a pull ends when its layers are on the disk', async (t) => {
  const { http, asked, folder } = await standIn(t, { stream: 'Copying blob abc' });
  const synced: string[] = [];
  const status = await pullImage(http, 'nginx', {
    signal: new AbortController().signal,
    sync: async (images) => {
      t.ok(
        asked.some((path) => path.includes('/images/pull')),
        'not before the pull',
      );
      synced.push(images);
    },
  });
  t.equal(status.id, 'abc');
  t.same(synced, [folder]);
});

t.test('a pull that failed syncs nothing', async (t) => {
  const { http } = await standIn(t, { error: 'manifest unknown' });
  const pull = pullImage(http, 'nginx', {
    signal: new AbortController().signal,
    sync: async () => {
      t.fail('synced');
    },
  });
  await t.rejects(pull, { message: 'manifest unknown' });
});
