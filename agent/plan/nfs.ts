/** How an NFS volume is mounted (nfs(5)). Pure. */

export interface NfsExport {
  readonly server: string;
  /** Absolute, on the server. */
  readonly path: string;
  readonly readOnly?: boolean | undefined;
  /** Of the PersistentVolume: they go before ours. */
  readonly mountOptions?: readonly string[] | undefined;
}

export interface NfsMount {
  /** As mount(8) wants it. */
  readonly source: string;
  /** As after `-o`. */
  readonly options: string;
}

/**
 * A server that does not answer gives an error after a minute, instead of programs (the engine's, too) that wait for
 * ever; who wants that says `hard`. What cannot be mounted is tried again by the agent, not by mount.nfs.
 */
const DEFAULTS = ['soft', 'timeo=100', 'retrans=2', 'retry=0'];
const HARDNESS = ['soft', 'softerr', 'hard'];

export function nfsMount({ server, path, readOnly, mountOptions = [] }: NfsExport): NfsMount {
  const own = mountOptions.flatMap((text) => text.split(',')).filter((text) => text !== '');
  const named = new Set(own.map(optionName));
  const options = [...DEFAULTS.filter((text) => !named.has(optionName(text))), ...own];
  if (readOnly === true) options.push('ro');
  // An address of IPv6: no name has a colon.
  const host = server.includes(':') ? `[${server}]` : server;
  return { source: `${host}:${path}`, options: options.join(',') };
}

/** `timeo` of `timeo=100`; soft and hard are two values of one option. */
function optionName(option: string): string {
  const [name = ''] = option.split('=');
  return HARDNESS.includes(name) ? 'hard' : name;
}
