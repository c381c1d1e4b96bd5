/**
 * The key that signs the tokens of service accounts: `<dir>/sa.key`, P-256, PEM, 0600. Made on the first start. Lost, all
 * tokens are worthless and clients get new ones; so a damaged file is refused, a missing one is made anew.
 */
import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createPrivateFile, ensurePrivateDirectory, narrowMode } from './private-file.ts';

/** A key that lives as long as the process: for tests and tools. */
export function makeServiceAccountKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
}

/** Throws an Error that names the file when it holds no P-256 key. */
export async function ensureServiceAccountKey(dir: string): Promise<KeyObject> {
  const path = join(dir, 'sa.key');
  const pem = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (pem !== undefined) {
    await narrowMode(path);
    return readKey(path, pem);
  }
  await ensurePrivateDirectory(dir);
  const key = makeServiceAccountKey();
  await createPrivateFile(path, String(key.export({ type: 'pkcs8', format: 'pem' })));
  return key;
}

function readKey(path: string, pem: string): KeyObject {
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch (cause) {
    throw new Error(unusable(path), { cause });
  }
  if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') throw new Error(unusable(path));
  return key;
}

function unusable(path: string): string {
  return (
    `${path} holds no P-256 private key: restore it from a backup, or remove it and start again; then all tokens ` +
    'of service accounts are made anew'
  );
}
