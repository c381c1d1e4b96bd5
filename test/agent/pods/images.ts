/** Which images go when the disk is full. Imported by pods.test.ts. */
import { pino } from 'pino';
import t from 'tap';
import type { DiskSpace } from '../../../agent/host/metrics.ts';
import {
  bytesToFree,
  garbageImages,
  type ImageHistory,
} from '../../../agent/plan/image-garbage.ts';
import { ImageCollector } from '../../../agent/pods/image-collector.ts';
import type { HeldImage } from '../../../agent/runtime/image-store.ts';

const PERCENT = { highPercent: 85, lowPercent: 80 };
const LIMITS = { ...PERCENT, ageMinMs: 120_000, lookMs: 60_000 };

function held(name: string, more: Partial<HeldImage> = {}): HeldImage {
  const digests = [`registry.example/${name}@sha256:${name}`];
  return {
    id: name,
    tags: [`registry.example/${name}:1`],
    digests,
    sizeBytes: 10,
    pinned: false,
    ...more,
  };
}

t.test(
  'nothing is freed below the upper threshold, and down to the lower one above it',
  async (t) => {
    const limits = { ...PERCENT, ageMinMs: 0 };
    const table: [number, number][] = [
      [1000, 0],
      [151, 0],
      [150, 50],
      [0, 200],
    ];
    for (const [availableBytes, expected] of table) {
      t.equal(
        bytesToFree({ totalBytes: 1000, availableBytes }, limits),
        expected,
        `${availableBytes}`,
      );
    }
    t.equal(
      bytesToFree({ totalBytes: 0, availableBytes: 0 }, limits),
      0,
      'a disk that tells nothing',
    );
  },
);

t.test('the image that was used longest ago goes first, and only as many as needed', async (t) => {
  const ages: Record<string, ImageHistory> = {
    never: { firstSeenMs: 500 },
    neverOlder: { firstSeenMs: 400 },
    long: { firstSeenMs: 0, lastUsedMs: 1000 },
    lately: { firstSeenMs: 0, lastUsedMs: 9000 },
    new: { firstSeenMs: 299_000 },
  };
  const images = Object.keys(ages)
    .map((name) => held(name))
    .reverse();
  const chosen = (bytes: number): string[] =>
    garbageImages(
      images,
      { ids: new Set(), names: new Set() },
      (id) => ages[id] ?? { firstSeenMs: 0 },
      {
        bytes,
        nowMs: 300_000,
        ageMinMs: 120_000,
      },
    ).map(({ id }) => id);
  t.same(chosen(1), ['neverOlder']);
  t.same(chosen(25), ['neverOlder', 'never', 'long']);
  t.same(chosen(1000), ['neverOlder', 'never', 'long', 'lately'], 'a new one stays');
});

t.test('what cannot be had again or may be needed stays', async (t) => {
  const table: [string, HeldImage, boolean][] = [
    ['nobody needs it', held('x'), true],
    ['without a tag: a newer one has replaced it', held('x', { tags: [] }), true],
    ['a container uses it', held('used'), false],
    ['a pod names it', held('nginx', { tags: ['nginx:latest'] }), false],
    ['a pod names its digest', held('x', { digests: ['docker.io/library/y@sha256:1'] }), false],
    ['pinned with the engine', held('x', { pinned: true }), false],
    ['built on the board', held('x', { digests: [] }), false],
    ['made on the board with podman', held('x', { tags: ['localhost/x:1'] }), false],
  ];
  const inUse = {
    ids: new Set(['used']),
    names: new Set(['docker.io/library/nginx:latest', 'docker.io/library/y@sha256:1']),
  };
  for (const [name, image, goes] of table) {
    const history = () => ({ firstSeenMs: 0 });
    const chosen = garbageImages([image], inUse, history, { bytes: 1, nowMs: 1, ageMinMs: 0 });
    t.equal(chosen.length === 1, goes, name);
  }
});

t.test('a full disk is emptied once, what is missing is told once, and room ends it', async (t) => {
  let nowMs = 0;
  let images = ['used', 'old', 'busy', 'recent'].map((name) => held(name));
  let disk: DiskSpace = { totalBytes: 1000, availableBytes: 500 };
  let ids = new Set(['used', 'recent']);
  let listings = 0;
  const told: string[] = [];
  const collector = new ImageCollector({
    images: {
      folder: async () => '/images',
      list: async () => {
        listings++;
        return images;
      },
      remove: async ({ id }) => {
        if (id === 'busy') throw new Error('image is in use by a container');
        images = images.filter((image) => image.id !== id);
      },
    },
    clock: { monotonicMs: () => nowMs, wallMs: () => nowMs },
    log: pino({ level: 'silent' }),
    limits: LIMITS,
    diskSpace: async () => disk,
    inUse: () => ({ ids, names: new Set() }),
    onFull: (message) => told.push(message),
  });
  await collector.look();
  t.equal(listings, 0, 'with room the engine is not asked');
  ids = new Set(['used']);
  disk = { totalBytes: 1000, availableBytes: 145 };
  await collector.look();
  t.equal(images.length, 4, 'all are new to this agent');
  t.match(told, ['Attempted to free 55 bytes, but only found 0 bytes eligible to free.']);
  nowMs += LIMITS.ageMinMs;
  await collector.look();
  t.same(
    images.map(({ id }) => id),
    ['used', 'busy'],
    'all that may go have gone',
  );
  t.equal(told.length, 1, 'the same trouble is told once');
  disk = { totalBytes: 1000, availableBytes: 400 };
  await collector.look();
  disk = { totalBytes: 1000, availableBytes: 100 };
  await collector.look();
  t.equal(told.length, 2, 'new trouble is told again');
});
