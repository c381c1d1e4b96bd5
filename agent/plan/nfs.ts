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
  /** Where the server takes connections; absent where it is not asked by TCP. */
  readonly server?: { readonly host: string; readonly port: number };
}

/**
 * All else as the kernel has it, which is what Kubernetes does: a server that does not answer is waited for. After a time-out (`soft`)
 * a write that the page cache had taken is lost, and few programs look at the error that tells of it (nfs(5)); who can bear that says
 * so. What cannot be mounted is tried again by the agent, not by mount.nfs.
 */
const DEFAULTS = ['retry=0'];
/** nfs(5), "port". */
const PORT = 2049;

export function nfsMount({ server, path, readOnly, mountOptions = [] }: NfsExport): NfsMount {
  const own = mountOptions.flatMap((text) => text.split(',')).filter((text) => text !== '');
  const named = new Map(own.map(nameAndValue));
  const options = DEFAULTS.filter((text) => !named.has(nameAndValue(text)[0]));
  options.push(...own);
  if (readOnly === true) options.push('ro');
  // An address of IPv6: no name has a colon.
  const host = server.includes(':') ? `[${server}]` : server;
  const isTcp =
    !named.has('udp') && !named.has('rdma') && /^(tcp|$)/.test(named.get('proto') ?? '');
  // 0 asks the server's portmapper, which is not done here.
  const port = Number(named.get('port') ?? PORT) || PORT;
  return {
    source: `${host}:${path}`,
    options: options.join(','),
    ...(isTcp ? { server: { host: server, port } } : {}),
  };
}

/** Of `timeo=100`; an option without a value has an empty one. */
function nameAndValue(option: string): [name: string, value: string] {
  const [name = '', value = ''] = option.split('=');
  return [name, value];
}
